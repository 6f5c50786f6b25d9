"""In a job of one process the same cells pass their input on, without communication."""

import mindspore as ms
import numpy as np
import pytest

from scimind.parallel import process_group
from scimind.parallel.collectives import (
    AllGather,
    AllReduce,
    AllToAll,
    Broadcast,
    ReduceScatter,
    barrier,
)
from scimind.parallel.data_parallel import GradientReducer, buffer_ranges, largest

CELLS = [AllReduce, AllGather, AllToAll, Broadcast, ReduceScatter]


@pytest.fixture(autouse=True)
def outside_a_job(monkeypatch):
    monkeypatch.delenv("MS_ROLE", raising=False)


@pytest.mark.parametrize("make", CELLS)
def test_a_collective_over_one_rank_is_the_identity_in_both_modes(make):
    cell = make()
    x = ms.Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))

    @ms.jit
    def in_graph(x):
        return cell(x)

    with process_group():
        barrier()
        np.testing.assert_array_equal(cell(x).asnumpy(), x.asnumpy())
        np.testing.assert_array_equal(in_graph(x).asnumpy(), x.asnumpy())
        gradient = ms.grad(lambda x: (cell(x) * x).sum())(x)
    np.testing.assert_array_equal(gradient.asnumpy(), 2 * x.asnumpy())


def test_gradients_of_one_rank_pass_unchanged():
    gradients = (ms.Tensor(np.eye(2, dtype=np.float32)),)
    assert GradientReducer()(gradients)[0] is gradients[0]
    assert largest(7) == 7


def test_buffers_hold_every_gradient_once_of_one_type_within_the_limit():
    kinds = ["Float32", "Float32", "Float16", "Float32", "Float32", "Float32"]
    sizes = [10, 10, 10, 100, 10, 11]
    assert buffer_ranges(sizes, kinds, 80) == ((0, 2), (2, 3), (3, 4), (4, 5), (5, 6))
    assert buffer_ranges(sizes, kinds, 1 << 20) == ((0, 2), (2, 3), (3, 6))
    assert buffer_ranges(sizes, kinds, 1) == tuple((i, i + 1) for i in range(6))
    assert buffer_ranges([], [], 80) == ()


@pytest.mark.parametrize("wrong", [lambda: AllReduce("product"), lambda: ReduceScatter("max")])
def test_an_unknown_reduction_is_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="reduction"):
        wrong()


def test_a_root_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="outside the ranks"):
        Broadcast(1)

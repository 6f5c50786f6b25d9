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
from scimind.parallel.data_parallel import GradientReducer, _buffers

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
    parameter = ms.Parameter(ms.Tensor(np.ones((2, 2), np.float32)), name="p")
    gradients = (ms.Tensor(np.eye(2, dtype=np.float32)),)
    assert GradientReducer([parameter])(gradients)[0] is gradients[0]


def test_buffers_hold_every_gradient_once_of_one_type_within_the_limit():
    kinds = [("f32", 4), ("f16", 2), ("f32", 4), ("f32", 4), ("f16", 2), ("f32", 4)]
    sizes = [10, 10, 10, 100, 10, 1]
    buffers = _buffers(kinds, sizes, 80)
    assert sorted(i for members in buffers for i in members) == list(range(6))
    for members in buffers:
        assert len({kinds[i] for i in members}) == 1
        assert len(members) == 1 or sum(sizes[i] * kinds[i][1] for i in members) <= 80
    assert buffers == ((0, 2), (1, 4), (3,), (5,))


@pytest.mark.parametrize("wrong", [lambda: AllReduce("product"), lambda: ReduceScatter("max")])
def test_an_unknown_reduction_is_refused(wrong):
    with pytest.raises((ValueError, TypeError), match="reduction"):
        wrong()


def test_a_root_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="outside the ranks"):
        Broadcast(1)

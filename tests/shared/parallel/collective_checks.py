"""Run on every rank by test_collectives.py: each collective against NumPy, in both modes."""

import sys

import mindspore as ms
import numpy as np
from mindspore import nn

from scimind.parallel.collectives import (
    AllGather,
    AllReduce,
    AllToAll,
    Broadcast,
    ReduceScatter,
    all_gather,
    all_reduce,
    all_to_all,
    barrier,
    broadcast,
    reduce_scatter,
)
from scimind.parallel.data_parallel import GradientReducer, broadcast_parameters, largest
from scimind.parallel.group import process_group
from scimind.parallel.ranks import rank, world


def inputs(shape, dtype=np.float32):
    """What each rank holds; every rank can compute all of it."""
    generator = np.random.default_rng(5)
    return [(generator.normal(size=shape) * 10).astype(dtype) for _ in range(world())]


def chunk(x, axis):
    return np.split(x, world(), axis)[rank()]


def all_to_all_of(xs, split, concat):
    return np.concatenate([chunk(x, split) for x in xs], concat)


CASES = {
    "sum": (lambda: AllReduce(), lambda xs: sum(xs)),
    "mean": (lambda: AllReduce("mean"), lambda xs: sum(xs) / len(xs)),
    "max": (lambda: AllReduce("max"), lambda xs: np.max(xs, axis=0)),
    "min": (lambda: AllReduce("min"), lambda xs: np.min(xs, axis=0)),
    "gather 0": (lambda: AllGather(), lambda xs: np.concatenate(xs)),
    "gather 1": (lambda: AllGather(1), lambda xs: np.concatenate(xs, 1)),
    "broadcast 0": (lambda: Broadcast(), lambda xs: xs[0]),
    "broadcast 1": (lambda: Broadcast(1), lambda xs: xs[1]),
    "reduce-scatter": (lambda: ReduceScatter(), lambda xs: chunk(sum(xs), 0)),
    "reduce-scatter 1": (
        lambda: ReduceScatter("mean", 1), lambda xs: chunk(sum(xs) / len(xs), 1)
    ),
    "all-to-all": (lambda: AllToAll(), lambda xs: all_to_all_of(xs, 0, 0)),
    "all-to-all 0 1": (lambda: AllToAll(0, 1), lambda xs: all_to_all_of(xs, 0, 1)),
    "all-to-all 1 0": (lambda: AllToAll(1, 0), lambda xs: all_to_all_of(xs, 1, 0)),
}  # fmt: skip


class Weighted(nn.Cell):
    """sum(w * collective(x)), with another w on each rank."""

    def __init__(self, cell, weight):
        super().__init__()
        self.cell = cell
        self.weight = ms.Tensor(weight)

    def construct(self, x):
        return (self.cell(x) * self.weight).sum()


def numerical_gradient(reference, xs, weights):
    """Of the loss summed over ranks, with respect to this rank's input, by central differences."""
    x64 = [x.astype(np.float64) for x in xs]
    gradient = np.zeros_like(x64[0])
    for at in np.ndindex(gradient.shape):
        values = []
        for step in (1e-3, -1e-3):
            moved = [x.copy() for x in x64]
            moved[rank()][at] += step
            values.append(total_loss(reference, moved, weights))
        gradient[at] = (values[0] - values[1]) / 2e-3
    return gradient


def total_loss(reference, xs, weights):
    """The loss of all ranks: ``reference`` asks ``rank()``, so each rank is played in turn."""
    global rank
    true_rank, total = rank, 0.0
    for r in range(world()):
        rank = lambda r=r: r  # noqa: E731
        total += float((reference(xs) * weights[r]).sum())
    rank = true_rank
    return total


def check_values_and_gradients():
    xs = inputs((4, 6))
    for name, (make, reference) in CASES.items():
        cell, expected = make(), reference(xs)
        mine = ms.Tensor(xs[rank()])
        weights = [np.random.default_rng(r).normal(size=expected.shape).astype(np.float32)
                   for r in range(world())]  # fmt: skip
        loss = Weighted(cell, weights[rank()])
        gradient = numerical_gradient(reference, xs, weights)

        @ms.jit
        def in_graph(x, cell=cell):
            return cell(x)

        @ms.jit
        def gradient_in_graph(x, loss=loss):
            return ms.grad(loss)(x)

        # Two float32 additions: 1e-6 relative.
        np.testing.assert_allclose(cell(mine).asnumpy(), expected, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(in_graph(mine).asnumpy(), expected, rtol=1e-6, err_msg=name)
        # The losses are linear, or piecewise so, and central differences of them exact to rounding.
        np.testing.assert_allclose(
            ms.grad(loss)(mine).asnumpy(), gradient, rtol=1e-5, atol=1e-5, err_msg=name
        )
        np.testing.assert_allclose(
            gradient_in_graph(mine).asnumpy(), gradient, rtol=1e-5, atol=1e-5, err_msg=name
        )


def check_types_and_ranks_of_tensors():
    for dtype in (np.float16, np.int32, np.int8, np.uint8, np.bool_):
        xs = inputs((4, 2), dtype)
        mine = ms.Tensor(xs[rank()])
        got = all_gather(mine)
        assert got.dtype == mine.dtype
        np.testing.assert_array_equal(got.asnumpy(), np.concatenate(xs))
        np.testing.assert_array_equal(broadcast(mine, 1).asnumpy(), xs[1])
        np.testing.assert_array_equal(all_to_all(mine).asnumpy(), all_to_all_of(xs, 0, 0))
        if dtype != np.bool_:
            np.testing.assert_array_equal(all_reduce(mine, "max").asnumpy(), np.max(xs, axis=0))
            total = all_reduce(mine).asnumpy()
            assert total.dtype == dtype
            if dtype == np.int32:
                np.testing.assert_array_equal(total, sum(xs))
                np.testing.assert_array_equal(reduce_scatter(mine).asnumpy(), chunk(sum(xs), 0))
    large = ms.Tensor(np.int32([2**24 + 1 + rank(), -(2**31)]))
    assert all_gather(large).asnumpy().tolist()[:2] == [2**24 + 1, -(2**31)]
    half = ms.Tensor(np.float32([1.5, rank()])).astype(ms.bfloat16)
    total = all_reduce(half)
    assert total.dtype == ms.bfloat16
    assert total.astype(ms.float32).asnumpy().tolist() == [1.5 * world(), sum(range(world()))]
    scalar = ms.Tensor(np.float32(rank() + 1))
    assert float(all_reduce(scalar).asnumpy()) == sum(range(1, world() + 1))
    assert all_gather(scalar).asnumpy().tolist() == [r + 1 for r in range(world())]
    assert float(broadcast(scalar, 1).asnumpy()) == 2


def refuses(call, *arguments):
    try:
        call(*arguments)
    except TypeError:
        return True
    return False


def check_what_would_be_silently_wrong_is_refused():
    @ms.jit
    def gather_in_graph(x):
        return gather(x)

    gather = AllGather()
    for wide in (ms.Tensor([2**40]), ms.Tensor(np.array([1 / 3]))):
        assert refuses(all_gather, wide)
        assert refuses(broadcast, wide)
        assert refuses(all_reduce, wide)
        assert refuses(gather_in_graph, wide)
    assert refuses(all_reduce, ms.Tensor([1, 2], ms.int32), "mean")


def check_gradient_reducer():
    shapes = [(3, 4), (5,), (), (2, 2, 2), (7,)]
    per_rank = [inputs(shape) for shape in shapes]
    mine = tuple(ms.Tensor(xs[rank()]) for xs in per_rank)
    for fuse_bytes in (1, 80, 1 << 20):
        for reduction, scale in (("mean", 1 / world()), ("sum", 1.0)):
            reducer = GradientReducer(reduction=reduction, fuse_bytes=fuse_bytes)

            @ms.jit
            def in_graph(gradients, reducer=reducer):
                return reducer(gradients)

            for got in (reducer(mine), in_graph(mine)):
                for xs, value in zip(per_rank, got, strict=True):
                    assert value.shape == xs[0].shape
                    np.testing.assert_allclose(value.asnumpy(), sum(xs) * scale, rtol=1e-6)


def check_ranks_agree_on_the_largest():
    assert largest(3 + rank()) == 2 + world()


def check_parameters_are_made_equal():
    parameter = ms.Parameter(ms.Tensor(np.full((2, 3), rank(), np.float32)), name="p")
    broadcast_parameters([parameter])
    np.testing.assert_array_equal(parameter.asnumpy(), np.zeros((2, 3)))


if __name__ == "__main__":
    with process_group():
        check_values_and_gradients()
        check_types_and_ranks_of_tensors()
        check_what_would_be_silently_wrong_is_refused()
        check_gradient_reducer()
        check_parameters_are_made_equal()
        check_ranks_agree_on_the_largest()
        barrier()
        print(f"rank {rank()} of {world()}: all checks passed")
    sys.exit(0)

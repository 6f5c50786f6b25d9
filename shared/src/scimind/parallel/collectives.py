"""One interface to collectives, the same on Ascend (HCCL) and on the CPU backend.

Each is a cell: make it once, after ``process_group()`` has been entered, and call it in pynative
mode or inside ``ms.jit``. In a job of one process every cell returns what it is given, without
communication. All have gradients, those of the loss summed over the ranks.

MindSpore's CPU backend has three collectives (all-reduce by sum, all-gather, broadcast), for some
types, and no backward of all-gather; 64-bit values it cuts to 32 bits without a word, and an
all-gather of a scalar ends in a segmentation fault. What it lacks is composed here from what it
has, and the log says so once; 64-bit types are refused. Compositions move more data than native
ones: they are for tests and small runs.

All ranks must run collectives in the same order. Inside one ``ms.jit`` graph the order of two calls
that do not depend on each other is not defined: chain them with ``ops.depend``.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import mindspore as ms
from mindspore import nn, ops

from scimind.parallel.ranks import rank, world
from scimind.typing import Float, Shaped, Tensor

Reduction: TypeAlias = Literal["sum", "mean", "max", "min"]

_FLOATING = (ms.float32, ms.float16, ms.bfloat16, ms.float64)
# The types whose sum MindSpore's CPU all-reduce knows.
_CPU_ADDS = (ms.float32, ms.float16)

_log = logging.getLogger(__name__)


class AllReduce(nn.Cell):
    """Sum, mean, maximum or minimum over the ranks, of tensors of one shape and type.

    Args:
        reduction: ``"sum"``, ``"mean"``, ``"max"`` or ``"min"``; the mean is for floating point.
    """

    def __init__(self, reduction: Reduction = "sum") -> None:
        super().__init__()
        if reduction not in {"sum", "mean", "max", "min"}:
            raise ValueError(f"reduction {reduction!r} is not sum, mean, max or min")
        self.world = world()
        self.mean = reduction == "mean"
        self.maximum = reduction == "max"
        self.additive = reduction in {"sum", "mean"}
        self.cpu = _on_cpu()
        if self.world > 1:
            kinds = {"max": ops.ReduceOp.MAX, "min": ops.ReduceOp.MIN}
            self.reduce = ops.AllReduce(kinds.get(reduction, ops.ReduceOp.SUM))
            self.gather = _GatherRows()
            if self.cpu and not self.additive:
                _announce(f"all-reduce by {reduction}", "all-gather")

    def construct(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The reduction of every rank's ``x``, on every rank."""
        if self.mean and x.dtype not in _FLOATING:
            raise TypeError("the mean over ranks needs a floating-point tensor")
        if self.world == 1:
            return x
        if not self.cpu:
            total = self.reduce(x)
        else:
            moved = x.astype(_carrier(x.dtype))
            if self.additive and moved.dtype in _CPU_ADDS:
                total = self.reduce(moved)
            else:
                rows = self.gather(moved.reshape((1, *x.shape)))
                if self.additive:
                    total = rows.sum(axis=0)
                elif self.maximum:
                    total = rows.max(axis=0)
                else:
                    total = rows.min(axis=0)
        if self.mean:
            total = total / self.world
        return total.astype(x.dtype)


class AllGather(nn.Cell):
    """Concatenation of the ranks' tensors, in rank order.

    Args:
        axis: Axis to concatenate along; a scalar becomes a vector.
    """

    def __init__(self, axis: int = 0) -> None:
        super().__init__()
        self.world = world()
        self.axis = axis
        self.rows = _GatherRows()

    def construct(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """Every rank's ``x``, one after the other, on every rank."""
        if x.ndim == 0:
            x = x.reshape((1,))
        if self.world == 1:
            return x
        if self.axis == 0:
            return self.rows(x)
        return self.rows(x.swapaxes(0, self.axis)).swapaxes(0, self.axis)


class Broadcast(nn.Cell):
    """One rank's tensor, on every rank.

    Args:
        root: The rank whose tensor it is.
    """

    def __init__(self, root: int = 0) -> None:
        super().__init__()
        self.world = world()
        if not 0 <= root < self.world:
            raise ValueError(f"root {root} is outside the ranks 0..{self.world - 1}")
        self.is_root = float(rank() == root)
        if self.world > 1:
            self.broadcast = ops.Broadcast(root)
            self.reduce = AllReduce("sum")
            self.cpu = _on_cpu()

    def construct(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """``x`` of the root."""
        if self.world == 1:
            return x
        if self.cpu:
            carrier = _carrier(x.dtype)
            return (
                self.broadcast((x.astype(carrier).reshape((-1,)),))[0]
                .reshape(x.shape)
                .astype(x.dtype)
            )
        return self.broadcast((x,))[0]

    def bprop(self, x: Any, out: Any, gradient: Any) -> tuple[Any]:
        """The root receives the ranks' gradients summed, the others none."""
        if self.world == 1:
            return (gradient,)
        return (self.reduce(gradient) * self.is_root,)


class ReduceScatter(nn.Cell):
    """Reduction over the ranks of which each rank keeps its part.

    Args:
        reduction: ``"sum"`` or ``"mean"``.
        axis: Axis that is divided among the ranks; their number divides its length.
    """

    def __init__(self, reduction: Literal["sum", "mean"] = "sum", axis: int = 0) -> None:
        super().__init__()
        if reduction not in {"sum", "mean"}:
            raise ValueError(f"reduction {reduction!r} is not sum or mean")
        self.world = world()
        self.rank = rank()
        self.axis = axis
        self.mean = reduction == "mean"
        self.cpu = _on_cpu()
        if self.world > 1:
            self.reduce = AllReduce(reduction)
            self.scatter = ops.ReduceScatter()
            if self.cpu:
                _announce("reduce-scatter", "all-reduce")

    def construct(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """This rank's part of the reduction."""
        if self.world == 1:
            return x
        if self.cpu:
            return ops.chunk(self.reduce(x), self.world, self.axis)[self.rank]
        part = self.scatter(x.swapaxes(0, self.axis)).swapaxes(0, self.axis)
        return part / self.world if self.mean else part


class AllToAll(nn.Cell):
    """Every rank sends part ``r`` of its tensor to rank ``r``.

    Args:
        split_axis: Axis that is divided among the receivers; their number divides its length.
        concat_axis: Axis along which the received parts are concatenated, in rank order.
    """

    def __init__(self, split_axis: int = 0, concat_axis: int = 0) -> None:
        super().__init__()
        self.world = world()
        self.rank = rank()
        self.split_axis = split_axis
        self.concat_axis = concat_axis
        self.cpu = _on_cpu()
        if self.world > 1:
            self.rows = _GatherRows()
            self.exchange = ops.AlltoAll(self.world, split_axis, concat_axis)
            if self.cpu:
                _announce("all-to-all", "all-gather")

    def construct(self, x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
        """The parts that every rank sent to this one."""
        if self.world == 1:
            return x
        if not self.cpu:
            return self.exchange(x)
        everything = self.rows(x.reshape((1, *x.shape)))
        mine = ops.chunk(everything, self.world, self.split_axis + 1)[self.rank]
        return ops.cat(ops.unstack(mine, 0), self.concat_axis)


class _GatherRows(nn.Cell):
    """All-gather along the first axis, with the backward that the CPU backend lacks."""

    def __init__(self) -> None:
        super().__init__()
        self.world = world()
        self.rank = rank()
        self.cpu = _on_cpu()
        if self.world > 1:
            self.gather = ops.AllGather()
            self.reduce = ops.AllReduce()
            self.scatter = ops.ReduceScatter()

    def construct(self, x: Any) -> Any:
        if self.cpu:
            return self.gather(x.astype(_carrier(x.dtype))).astype(x.dtype)
        return self.gather(x)

    def bprop(self, x: Any, out: Any, gradient: Any) -> tuple[Any]:
        if not self.cpu:
            return (self.scatter(gradient),)
        moved = gradient.astype(_carrier(gradient.dtype))
        if moved.dtype in _CPU_ADDS:
            total = self.reduce(moved)
        else:
            total = self.gather(moved.reshape((1, *moved.shape))).sum(axis=0)
        return (ops.chunk(total.astype(gradient.dtype), self.world, 0)[self.rank],)


def all_reduce(x: Shaped[Tensor, "..."], reduction: Reduction = "sum") -> Shaped[Tensor, "..."]:
    """`AllReduce` as a function, for use outside ``ms.jit``."""
    return _made(AllReduce, reduction)(x)


def all_gather(x: Shaped[Tensor, "..."], axis: int = 0) -> Shaped[Tensor, "..."]:
    """`AllGather` as a function, for use outside ``ms.jit``."""
    return _made(AllGather, axis)(x)


def broadcast(x: Shaped[Tensor, "..."], root: int = 0) -> Shaped[Tensor, "..."]:
    """`Broadcast` as a function, for use outside ``ms.jit``."""
    return _made(Broadcast, root)(x)


def reduce_scatter(
    x: Shaped[Tensor, "..."], reduction: Literal["sum", "mean"] = "sum", axis: int = 0
) -> Shaped[Tensor, "..."]:
    """`ReduceScatter` as a function, for use outside ``ms.jit``."""
    return _made(ReduceScatter, reduction, axis)(x)


def all_to_all(
    x: Shaped[Tensor, "..."], split_axis: int = 0, concat_axis: int = 0
) -> Shaped[Tensor, "..."]:
    """`AllToAll` as a function, for use outside ``ms.jit``."""
    return _made(AllToAll, split_axis, concat_axis)(x)


def barrier() -> None:
    """Returns when every rank has called it."""
    if world() > 1:
        ones: Float[Tensor, "1"] = ops.ones((1,), ms.float32)
        all_reduce(ones).asnumpy()


@lru_cache
def _made(cell: type[nn.Cell], *arguments: Any) -> Any:
    return cell(*arguments)


def _on_cpu() -> bool:
    return str(ms.get_context("device_target")) == "CPU"


def _carrier(dtype: Any) -> Any:
    """The type in which the CPU backend moves values of a type without changing them."""
    if dtype in (ms.float32, ms.float16, ms.int32):
        return dtype
    if dtype == ms.bfloat16:
        return ms.float32
    if dtype in (ms.bool_, ms.int8, ms.int16, ms.uint8, ms.uint16):
        return ms.int32
    # The backend itself accepts these, and silently cuts them to 32 bits.
    raise TypeError("the CPU backend moves no 64-bit values; cast to float32 or int32 before")


@lru_cache
def _announce(missing: str, composed_from: str) -> None:
    if rank() == 0:
        _log.warning("the CPU backend has no %s: composed from %s", missing, composed_from)

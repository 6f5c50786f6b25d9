"""Data parallelism: each rank differentiates its part of the batch, gradients are averaged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import mindspore as ms
import numpy as np
from mindspore import Parameter, nn, ops

from scimind.parallel.collectives import AllReduce, all_reduce, broadcast
from scimind.parallel.ranks import world
from scimind.typing import Shaped, Tensor


def buffer_ranges(
    sizes: Sequence[int], kinds: Sequence[str], fuse_bytes: int
) -> tuple[tuple[int, int], ...]:
    """Consecutive tensors of one type that fit a buffer together.

    Args:
        sizes: Elements of each tensor.
        kinds: Type of each tensor, by a name that ends in its bits, such as ``Float32``.
        fuse_bytes: Largest buffer.

    Returns:
        ``(first, last + 1)`` of each buffer.
    """
    ranges: list[tuple[int, int]] = []
    held = 0
    for i, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        bits = re.search(r"\d+$", kind)
        needed = size * (int(bits.group()) // 8 if bits else 1)
        if ranges and kinds[ranges[-1][0]] == kind and held + needed <= fuse_bytes:
            ranges[-1] = (ranges[-1][0], i + 1)
            held += needed
        else:
            ranges.append((i, i + 1))
            held = needed
    return tuple(ranges)


# Evaluated while a graph is compiled.
_planned = ops.constexpr(buffer_ranges)


class GradientReducer(nn.Cell):
    """Averages (or sums) a tuple of tensors over the ranks, with few collectives.

    This is the ``reduce_gradients`` of ``scimind.train.make_train_step``. Tensors of one type are
    flattened and joined into buffers of at most ``fuse_bytes``, since a collective costs about as
    much as moving a megabyte however little it moves. The buffers are reduced one after the other,
    in the same order on every rank.

    With ``"mean"``, ranks that each average their loss over an equal number of terms train as one
    process that averages over all of them. Losses that sum, or divide by a global count, take
    ``"sum"``. In a job of one process the tensors pass unchanged.

    Args:
        reduction: ``"mean"`` or ``"sum"``.
        fuse_bytes: Largest buffer, unless one tensor alone is larger.
    """

    def __init__(
        self, *, reduction: Literal["mean", "sum"] = "mean", fuse_bytes: int = 32 << 20
    ) -> None:
        super().__init__()
        self.world = world()
        self.reduce = AllReduce(reduction)
        self.fuse_bytes = fuse_bytes

    def construct(self, tensors: tuple[Shaped[Tensor, "..."], ...]) -> tuple[Any, ...]:
        """The mean or sum of each tensor over the ranks.

        Args:
            tensors: Of the same shapes, types and order on every rank.
        """
        if self.world == 1:
            return tensors
        shapes: tuple[Any, ...] = ()
        sizes: tuple[Any, ...] = ()
        kinds: tuple[Any, ...] = ()
        for tensor in tensors:
            shapes = (*shapes, tensor.shape)
            sizes = (*sizes, tensor.size)
            kinds = (*kinds, str(tensor.dtype))
        reduced: tuple[Any, ...] = ()
        previous = None
        for first, last in _planned(sizes, kinds, self.fuse_bytes):
            parts: tuple[Any, ...] = ()
            for tensor in tensors[first:last]:
                parts = (*parts, tensor.reshape((-1,)))
            flat = ops.cat(parts)
            if previous is not None:
                # Independent collectives of one graph may run in another order on another rank.
                flat = ops.depend(flat, previous)
            flat = self.reduce(flat)
            previous = flat
            start = 0
            for i in range(first, last):
                reduced = (*reduced, flat[start : start + sizes[i]].reshape(shapes[i]))
                start += sizes[i]
        return reduced


def gradient_reducer(fuse_mb: int) -> GradientReducer | None:
    """The mean over the ranks with buffers of so many MB; None in a job of one process."""
    return GradientReducer(fuse_bytes=fuse_mb << 20) if world() > 1 else None


def largest(value: int) -> int:
    """Largest of a small integer over the ranks: how they agree to stop at the same step."""
    if world() == 1:
        return value
    return int(all_reduce(ms.Tensor(np.array([value], np.int32)), "max").asnumpy()[0])


def broadcast_parameters(parameters: Sequence[Parameter]) -> None:
    """Gives every rank the parameter values of rank 0, for networks whose start is not seeded."""
    if world() == 1:
        return
    for parameter in parameters:
        parameter.set_data(broadcast(parameter.value()))

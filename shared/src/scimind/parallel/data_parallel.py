"""Data parallelism: each rank differentiates its part of the batch, gradients are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from mindspore import Parameter, nn, ops

from scimind.parallel.collectives import AllReduce
from scimind.parallel.ranks import world
from scimind.typing import Shaped, Tensor


class GradientReducer(nn.Cell):
    """Averages (or sums) gradients over the ranks, with few collectives.

    Gradients of one type are flattened and joined into buffers of at most ``fuse_bytes``, since a
    collective costs about as much as moving a megabyte however little it moves. The buffers are
    reduced one after the other, in the order of the parameters, on every rank.

    With ``"mean"``, ranks that each average their loss over an equal number of terms train as one
    process that averages over all of them. Losses that sum, or divide by a global count, take
    ``"sum"``. In a job of one process the gradients pass unchanged.

    Args:
        parameters: The parameters whose gradients come, in their order.
        reduction: ``"mean"`` or ``"sum"``.
        fuse_bytes: Largest buffer, unless one gradient alone is larger.
    """

    def __init__(
        self,
        parameters: Sequence[Parameter],
        *,
        reduction: Literal["mean", "sum"] = "mean",
        fuse_bytes: int = 32 << 20,
    ) -> None:
        super().__init__()
        self.world = world()
        self.reduce = AllReduce(reduction)
        self.shapes = tuple(tuple(parameter.shape) for parameter in parameters)
        self.sizes = tuple(math.prod(shape) for shape in self.shapes)
        kinds = [(str(parameter.dtype), parameter.itemsize) for parameter in parameters]
        self.buffers = _buffers(kinds, self.sizes, fuse_bytes)

    def construct(self, gradients: tuple[Shaped[Tensor, "..."], ...]) -> tuple[Any, ...]:
        """The gradients of all ranks together.

        Args:
            gradients: One per parameter, of the parameter's shape.
        """
        if self.world == 1:
            return gradients
        reduced = [None] * len(self.shapes)
        previous = None
        for members in self.buffers:
            flat = ops.cat([gradients[i].reshape((-1,)) for i in members])
            if previous is not None:
                # Independent collectives of one graph may run in another order on another rank.
                flat = ops.depend(flat, previous)
            flat = self.reduce(flat)
            previous = flat
            start = 0
            for i in members:
                reduced[i] = flat[start : start + self.sizes[i]].reshape(self.shapes[i])
                start += self.sizes[i]
        return tuple(reduced)


def broadcast_parameters(parameters: Sequence[Parameter]) -> None:
    """Gives every rank the parameter values of rank 0, for networks whose start is not seeded."""
    from scimind.parallel.collectives import broadcast

    if world() == 1:
        return
    for parameter in parameters:
        parameter.set_data(broadcast(parameter.value()))


def _buffers(
    kinds: Sequence[tuple[str, int]], sizes: Sequence[int], fuse_bytes: int
) -> tuple[tuple[int, ...], ...]:
    open_buffers: dict[str, list[int]] = {}
    held: dict[str, int] = {}
    closed: list[tuple[int, ...]] = []
    for index, ((kind, itemsize), size) in enumerate(zip(kinds, sizes, strict=True)):
        if kind in open_buffers and held[kind] + size * itemsize > fuse_bytes:
            closed.append(tuple(open_buffers.pop(kind)))
        if kind not in open_buffers:
            open_buffers[kind], held[kind] = [], 0
        open_buffers[kind].append(index)
        held[kind] += size * itemsize
    closed.extend(tuple(members) for members in open_buffers.values())
    return tuple(sorted(closed))

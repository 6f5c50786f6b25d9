"""Repetition along axes of length 1."""

from __future__ import annotations

from typing import Any

from mindspore import ops

from scimind.ops.registry import register


@register("spread", name="plain")
def spread(x: Any, shape: tuple[int, ...]) -> Any:
    """``x`` broadcast to ``shape``."""
    return ops.broadcast_to(x, shape)


@register("spread", name="cpu/tile", device="cpu", priority=1)
def _tile(x: Any, shape: tuple[int, ...]) -> Any:
    """The same by copying; faster than ``broadcast_to`` on the CPU for a trailing axis."""
    counts: tuple[int, ...] = ()
    for axis in range(len(shape)):
        counts = (*counts, shape[axis] if x.shape[axis] == 1 else 1)
    return ops.tile(x, counts)

"""Rotary position embedding."""

from __future__ import annotations

from typing import Any

from mindspore import ops

from scimind.ops.registry import register


@register("rope", name="plain")
def rope(x: Any, cos: Any, sin: Any) -> Any:
    """Rotate the pairs (i, i + dim/2) of the last axis by the angles in ``cos`` and ``sin``."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    return ops.cat((first * cos - second * sin, second * cos + first * sin), -1)

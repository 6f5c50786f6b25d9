"""Masks by position."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.typing import Bool, Tensor


def position_mask(
    queries: int, keys: int, causal: bool, window: int | None
) -> Bool[Tensor, "1 1 query key"]:
    """True where a query may attend by position; the last query is aligned with the last key."""
    row = ops.arange(0, queries).reshape((1, 1, queries, 1)) + (keys - queries)
    column = ops.arange(0, keys).reshape((1, 1, 1, keys))
    distance = row - column
    allowed = ops.ones_like(distance).astype(mstype.bool_)
    if causal:
        allowed = distance >= 0
    if window is not None:
        allowed = ops.logical_and(allowed, ops.abs(distance) < window)
    return allowed

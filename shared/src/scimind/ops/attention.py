"""Scaled dot-product attention."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.registry import FUNCTIONS, choose, compute_dtype
from scimind.typing import Bool, Float, Tensor


def attention(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group key dim"],
    value: Float[Tensor, "batch group key width"],
    mask: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
) -> Float[Tensor, "batch head query width"]:
    """``softmax(scale query keyᵀ + bias) value`` over the permitted keys.

    A query without any permitted key gets zeros. With mixed precision the products are computed
    in half precision, bias and softmax in single; the result has the dtype of the query.

    Args:
        query: Queries.
        key: Keys; ``head`` is a multiple of ``group``, and head h uses group h group / head.
        value: Values.
        mask: True where a query may attend to a key; 4-D, each axis of full size or 1.
        bias: Added to the logits; 4-D, each axis of full size or 1. Differentiable.
        causal: Query i attends only to keys up to its own position; the last query is aligned
            with the last key, so a block of new queries can follow cached keys.
        window: Attend only to keys fewer than ``window`` positions away.
        scale: Factor of the logits, ``dim ** -0.5`` when None.

    Source: Vaswani et al., arXiv 1706.03762; grouped queries Ainslie et al., arXiv 2305.13245.
    """
    if scale is None:
        scale = float(query.shape[-1]) ** -0.5
    if causal or window is not None:
        near = position_mask(query.shape[2], key.shape[2], causal, window)
        mask = near if mask is None else ops.logical_and(mask, near)
    dtype = compute_dtype(query.dtype)
    if dtype == query.dtype:
        return FUNCTIONS["attention"][choose("attention", dtype)](
            query, key, value, mask, bias, scale
        )
    out = FUNCTIONS["attention"][choose("attention", dtype)](
        query.astype(dtype), key.astype(dtype), value.astype(dtype), mask, bias, scale
    )
    return out.astype(query.dtype)


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

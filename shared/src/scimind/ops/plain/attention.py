"""Scaled dot-product attention with explicit scores."""

from __future__ import annotations

from typing import Any

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.plain.activations import softmax
from scimind.ops.registry import register

_MASKED = -1e30


@register("attention", name="plain")
def attention(query: Any, key: Any, value: Any, mask: Any, bias: Any, scale: float) -> Any:
    """Softmax(query keyᵀ scale + bias) value; a query that may attend nothing gets zeros."""
    heads, groups = query.shape[1], key.shape[1]
    if heads != groups:
        key = _repeat_heads(key, heads // groups)
        value = _repeat_heads(value, heads // groups)
    logits = ops.BatchMatMul(transpose_b=True)(query * scale, key)
    if query.dtype == mstype.float16 or query.dtype == mstype.bfloat16:
        logits = logits.astype(mstype.float32)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = ops.select(mask, logits, ops.full_like(logits, _MASKED))
    out = ops.BatchMatMul()(softmax(logits).astype(value.dtype), value)
    if mask is not None:
        out = out * mask.astype(out.dtype).max(axis=-1, keepdims=True)
    return out


def _repeat_heads(x: Any, count: int) -> Any:
    batch, groups, length, dim = x.shape
    return ops.tile(x.expand_dims(2), (1, 1, count, 1, 1)).reshape(
        (batch, groups * count, length, dim)
    )

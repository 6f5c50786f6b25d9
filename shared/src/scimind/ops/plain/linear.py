"""Affine maps and table look-up."""

from __future__ import annotations

from typing import Any

from mindspore import ops

from scimind.ops.plain.activations import gelu, silu
from scimind.ops.registry import register


@register("linear", name="plain")
def linear(x: Any, weight: Any, bias: Any, activation: str | None) -> Any:
    """``activation(x weightᵀ + bias)`` as one product of matrices."""
    rows = x.reshape((-1, x.shape[-1])) if x.ndim != 2 else x
    y = ops.MatMul(transpose_b=True)(rows, weight)
    if bias is not None:
        # A product of rank one: its gradient is a product too, and MindSpore's BiasAddGrad and sum
        # over rows are scalar loops on the CPU.
        ones = ops.ones((y.shape[0], 1), y.dtype)
        y = y + ops.MatMul()(ones, bias.reshape((1, -1)))
    if activation == "gelu":
        y = gelu(y)
    elif activation == "silu":
        y = silu(y)
    elif activation == "relu":
        y = ops.relu(y)
    return y.reshape((*x.shape[:-1], weight.shape[0])) if x.ndim != 2 else y


@register("embedding", name="plain")
def embedding(indices: Any, table: Any) -> Any:
    """Rows of ``table``."""
    return ops.gather(table, indices, 0)

"""Matrix products, affine maps and embedding tables."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.registry import FUNCTIONS, choose, compute_dtype
from scimind.typing import Float, Int, Tensor

ACTIVATIONS = (None, "gelu", "silu", "relu")


def linear(
    x: Float[Tensor, "*batch in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
    activation: str | None = None,
) -> Float[Tensor, "*batch out"]:
    """``activation(x weightᵀ + bias)``.

    Args:
        x: Inputs.
        weight: One row per output.
        bias: Added to every row.
        activation: None, ``"gelu"`` (tanh form), ``"silu"`` or ``"relu"``.

    With mixed precision the product is computed in half precision; the result has the dtype of x.
    """
    dtype = compute_dtype(x.dtype)
    if dtype == x.dtype:
        return FUNCTIONS["linear"][choose("linear", dtype)](x, weight, bias, activation)
    half_bias = None if bias is None else bias.astype(dtype)
    y = FUNCTIONS["linear"][choose("linear", dtype)](
        x.astype(dtype), weight.astype(dtype), half_bias, activation
    )
    return y.astype(x.dtype)


def matmul(
    left: Float[Tensor, "*batch row inner"], right: Float[Tensor, "*batch inner column"]
) -> Float[Tensor, "*batch row column"]:
    """Product of two activations, batched.

    With mixed precision it is computed in half precision; the result has the dtype of ``left``.
    """
    dtype = compute_dtype(left.dtype)
    return ops.matmul(left.astype(dtype), right.astype(dtype)).astype(left.dtype)


def embedding(
    indices: Int[Tensor, "*batch"], table: Float[Tensor, "entry dim"]
) -> Float[Tensor, "*batch dim"]:
    """Rows of ``table``; an index outside it gives zeros on the CPU and is undefined on Ascend."""
    return FUNCTIONS["embedding"][choose("embedding", table.dtype)](indices, table)

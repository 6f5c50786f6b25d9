"""Affine maps and embedding tables."""

from __future__ import annotations

from scimind.ops.registry import FUNCTIONS, choose
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
    """
    return FUNCTIONS["linear"][choose("linear", x.dtype)](x, weight, bias, activation)


def embedding(
    indices: Int[Tensor, "*batch"], table: Float[Tensor, "entry dim"]
) -> Float[Tensor, "*batch dim"]:
    """Rows of ``table``; an index outside it gives zeros on the CPU and is undefined on Ascend."""
    return FUNCTIONS["embedding"][choose("embedding", table.dtype)](indices, table)

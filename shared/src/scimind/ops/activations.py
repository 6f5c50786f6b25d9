"""Activations and softmax."""

from __future__ import annotations

from scimind.ops.registry import FUNCTIONS, choose
from scimind.typing import Float, Tensor


def gelu(x: Float[Tensor, "*shape"], approximate: str = "tanh") -> Float[Tensor, "*shape"]:
    """Gaussian error linear unit.

    Args:
        x: Any shape.
        approximate: ``"tanh"`` for the usual approximation (3e-4 from exact), ``"none"`` for erf.

    Source: Hendrycks and Gimpel, arXiv 1606.08415.
    """
    return FUNCTIONS["gelu"][choose("gelu", x.dtype)](x, approximate)


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``x sigmoid(x)``, also called swish."""
    return FUNCTIONS["silu"][choose("silu", x.dtype)](x)


def swiglu(gate: Float[Tensor, "*shape"], up: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``silu(gate) up``: the two halves of a gated perceptron.

    Source: Shazeer, arXiv 2002.05202.
    """
    return FUNCTIONS["swiglu"][choose("swiglu", gate.dtype)](gate, up)


def softmax(x: Float[Tensor, "*shape"], axis: int = -1) -> Float[Tensor, "*shape"]:
    """Softmax over ``axis``."""
    if axis == -1 or axis == x.ndim - 1:
        return FUNCTIONS["softmax"][choose("softmax", x.dtype)](x)
    last = x.swapaxes(axis, -1)
    return FUNCTIONS["softmax"][choose("softmax", x.dtype)](last).swapaxes(axis, -1)

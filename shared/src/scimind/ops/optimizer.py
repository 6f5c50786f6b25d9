"""The AdamW update as an in-place operator."""

from __future__ import annotations

from scimind.ops.registry import FUNCTIONS, choose
from scimind.typing import Float, Tensor


def adamw(
    parameter: Float[Tensor, "*shape"],
    first: Float[Tensor, "*shape"],
    second: Float[Tensor, "*shape"],
    gradient: Float[Tensor, "*shape"],
    learning_rate: Float[Tensor, ""],
    power1: Float[Tensor, ""],
    power2: Float[Tensor, ""],
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> Tensor:
    """Update ``parameter`` and its two moments in place.

    ``m = β₁m + (1-β₁)g``, ``v = β₂v + (1-β₂)g²``, ``p = (1 - lr·decay) p - lr m̂ / (√v̂ + eps)``
    with ``m̂ = m / (1 - β₁ᵗ)`` and ``v̂ = v / (1 - β₂ᵗ)``.

    Args:
        parameter: Parameter p.
        first: Moment m, a Parameter.
        second: Moment v, a Parameter.
        gradient: Gradient g.
        learning_rate: lr, a float32 scalar tensor.
        power1: ``β₁ᵗ`` with t counted from 1, a float32 scalar tensor.
        power2: ``β₂ᵗ``, likewise.
        beta1: β₁.
        beta2: β₂.
        eps: Added to the root.
        decay: Decoupled weight decay.

    Returns:
        A value that has to be consumed (``ops.depend``) inside a graph, or the update is pruned.

    Source: Loshchilov and Hutter, arXiv 1711.05101.
    """
    return FUNCTIONS["adamw"][choose("adamw", parameter.dtype)](
        parameter, first, second, gradient, learning_rate, power1, power2, beta1, beta2, eps, decay
    )

"""The AdamW update as an in-place operator."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Tensor


@operator(
    Cpp("kernels/cpu/update.cc"),
    in_place=True,
    sizes=({"shape": (256, 256)}, {"shape": (1024, 1024)}, {"shape": (4096, 4096)}),
)
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
) -> Float[Tensor, "1"]:
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
    # MindSpore's Adam puts ``eps`` before the correction.
    if decay != 0.0:
        shrunk = ops.assign(parameter, parameter * (1.0 - learning_rate * decay))
        gradient = ops.depend(gradient, shrunk)
    scaled = ops.sqrt(1.0 - power2) * eps
    return ops.Adam()(
        parameter, first, second, power1, power2, learning_rate, beta1, beta2, scaled, gradient
    )

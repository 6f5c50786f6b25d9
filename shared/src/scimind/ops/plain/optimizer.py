"""Parameter updates in place."""

from __future__ import annotations

from typing import Any

from mindspore import ops

from scimind.ops.registry import register


@register("adamw", name="plain")
def adamw(
    parameter: Any,
    first: Any,
    second: Any,
    gradient: Any,
    learning_rate: Any,
    power1: Any,
    power2: Any,
    beta1: float,
    beta2: float,
    eps: float,
    decay: float,
) -> Any:
    """One AdamW update of one tensor; MindSpore's Adam puts ``eps`` before the correction."""
    if decay != 0.0:
        shrunk = ops.assign(parameter, parameter * (1.0 - learning_rate * decay))
        gradient = ops.depend(gradient, shrunk)
    scaled = ops.sqrt(1.0 - power2) * eps
    return ops.Adam()(
        parameter, first, second, power1, power2, learning_rate, beta1, beta2, scaled, gradient
    )

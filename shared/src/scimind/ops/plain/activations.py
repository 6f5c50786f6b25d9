"""Activations as compositions of operators whose CPU kernels are vectorised."""

from __future__ import annotations

import math
from typing import Any

from mindspore import ops

from scimind.ops.registry import register

_TANH_SCALE = 2.0 * math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715 * _TANH_SCALE
_RSQRT2 = math.sqrt(0.5)


@register("gelu", name="plain")
def gelu(x: Any, approximate: str = "tanh") -> Any:
    """GELU; the tanh form as ``x sigmoid(2 √(2/π) (x + 0.044715 x³))``, which is the same."""
    if approximate == "tanh":
        return x * ops.sigmoid(x * (x * x * _TANH_CUBIC + _TANH_SCALE))
    return x * (ops.erf(x * _RSQRT2) * 0.5 + 0.5)


@register("silu", name="plain")
def silu(x: Any) -> Any:
    """``x sigmoid(x)``."""
    return x * ops.sigmoid(x)


@register("swiglu", name="plain")
def swiglu(gate: Any, up: Any) -> Any:
    """``silu(gate) up``."""
    return gate * ops.sigmoid(gate) * up


@register("softmax", name="plain")
def softmax(x: Any) -> Any:
    """Softmax over the last axis."""
    if x.shape[-1] == 1:
        # When the first softmax gradient of a process is over an axis of size 1, MindSpore 2.10
        # keeps its axes for every later one, in eager mode: wrong gradients from then on.
        return x - x + 1.0
    return ops.softmax(x, -1)

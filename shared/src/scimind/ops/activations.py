"""Activations and softmax."""

from __future__ import annotations

import math
from typing import Literal

from mindspore import dtype as mstype
from mindspore import ops
from mindspore.ops import constexpr

from scimind.device import target
from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Tensor

_SOURCE = "kernels/cpu/activations.cc"
_SIZES = (
    {"shape": (16, 128, 256)},
    {"shape": (2048, 1024)},
    {"shape": (8192, 2048)},
)
_TANH_SCALE = 2.0 * math.sqrt(2.0 / math.pi)
_TANH_CUBIC = 0.044715 * _TANH_SCALE
_RSQRT2 = math.sqrt(0.5)


@operator(Cpp(_SOURCE, backward="x dout -> dx"), sizes=_SIZES)
def gelu(
    x: Float[Tensor, "*shape"], approximate: Literal["tanh", "none"] = "tanh"
) -> Float[Tensor, "*shape"]:
    """Gaussian error linear unit.

    Args:
        x: Any shape.
        approximate: ``"tanh"`` for the usual approximation (3e-4 from exact), ``"none"`` for erf.

    Source: Hendrycks and Gimpel, arXiv 1606.08415.
    """
    if approximate == "tanh":
        # The same as 0.5 x (1 + tanh(…)); the CPU kernel of MindSpore's sigmoid is vectorised.
        return x * ops.sigmoid(x * (x * x * _TANH_CUBIC + _TANH_SCALE))
    return x * (ops.erf(x * _RSQRT2) * 0.5 + 0.5)


@operator(Cpp(_SOURCE, backward="x dout -> dx"), sizes=_SIZES)
def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``x sigmoid(x)``, also called swish."""
    return x * ops.sigmoid(x)


@operator(Cpp(_SOURCE, backward="gate up dout -> dgate dup"), sizes=_SIZES)
def swiglu(gate: Float[Tensor, "*shape"], up: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """``silu(gate) up``: the two halves of a gated perceptron.

    Source: Shazeer, arXiv 2002.05202.
    """
    return gate * ops.sigmoid(gate) * up


def finite_softmax(x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Softmax over the last axis of finite numbers, for plain formulations."""
    if x.shape[-1] == 1:
        # When the first softmax gradient of a process is over an axis of size 1, MindSpore 2.10
        # keeps its axes for every later one, in eager mode: wrong gradients from then on.
        return x - x + 1.0
    return ops.softmax(x, -1)


@operator(
    Cpp("kernels/cpu/norms.cc", backward="out dout -> dx"),
    name="softmax",
    sizes=(
        {"batch": (16, 8, 128), "dim": 128},
        {"batch": (4096,), "dim": 1024},
        {"batch": (64,), "dim": 32768},
    ),
)
def _softmax(x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Softmax over the last axis."""
    if x.dtype == mstype.float32 and _on_cpu():
        # There a row with NaN or infinity makes the finite rows after it 0, in MindSpore 2.10.
        return finite_softmax(x.astype(mstype.float64)).astype(mstype.float32)
    return finite_softmax(x)


@constexpr  # type: ignore[untyped-decorator]
def _on_cpu() -> bool:
    return target() == "cpu"


def softmax(x: Float[Tensor, "*shape"], axis: int = -1) -> Float[Tensor, "*shape"]:
    """Softmax over ``axis``."""
    if axis == -1 or axis == x.ndim - 1:
        return _softmax(x)
    return _softmax(x.swapaxes(axis, -1)).swapaxes(axis, -1)

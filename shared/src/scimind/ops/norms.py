"""Normalisation over the last axis, alone or of a sum with the residual stream."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.operator import Cpp, operator, plain
from scimind.ops.registry import register
from scimind.typing import Float, Tensor

_SOURCE = "kernels/cpu/norms.cc"
_SIZES = (
    {"batch": (256,), "dim": 256},
    {"batch": (2048,), "dim": 256},
    {"batch": (4096,), "dim": 1024},
)
_STATISTICS = {"statistics": "*batch 2"}


@operator(
    Cpp(
        _SOURCE,
        saved=_STATISTICS,
        backward="x weight bias statistics dout -> dx dweight dbias",
    ),
    mixed=("weight", "bias"),
    sizes=_SIZES,
)
def layer_norm(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    bias: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*batch dim"]:
    """Zero mean and unit variance over the last axis, then ``weight`` and ``bias``.

    Statistics of half-precision inputs are taken in single precision.

    Source: Ba, Kiros and Hinton, arXiv 1607.06450.
    """
    wide = x.astype(mstype.float32) if x.dtype == mstype.float16 else x
    centred = wide - ops.mean(wide, -1, True)
    variance = ops.mean(centred * centred, -1, True)
    y = (centred * ops.rsqrt(variance + eps)).astype(x.dtype)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


plain_layer_norm = plain(layer_norm)


@register("layer_norm", name="cpu/mindspore", device="cpu", dtypes=("float32",), priority=1)
def fused_layer_norm(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None,
    bias: Float[Tensor, " dim"] | None,
    eps: float,
) -> Float[Tensor, "*batch dim"]:
    """MindSpore's operator: half the time of the composition, but no second derivative."""
    if 0 in x.shape:
        return plain_layer_norm(x, weight, bias, eps)
    if weight is None:
        weight = ops.ones((x.shape[-1],), x.dtype)
    if bias is None:
        bias = ops.zeros((x.shape[-1],), x.dtype)
    fused = ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=eps)
    return fused(x, weight, bias)[0]


@operator(
    Cpp(_SOURCE, saved={"inverse": "*batch 1"}, backward="x weight inverse dout -> dx dweight"),
    mixed=("weight",),
    sizes=_SIZES,
)
def rms_norm(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-6,
) -> Float[Tensor, "*batch dim"]:
    """Unit root mean square over the last axis, then ``weight``.

    Source: Zhang and Sennrich, arXiv 1910.07467.
    """
    wide = x.astype(mstype.float32) if x.dtype == mstype.float16 else x
    y = (wide * ops.rsqrt(ops.mean(wide * wide, -1, True) + eps)).astype(x.dtype)
    return y if weight is None else y * weight


plain_rms_norm = plain(rms_norm)


@operator(
    Cpp(
        _SOURCE,
        saved=_STATISTICS,
        backward="out1 weight bias statistics dout0 dout1 -> dx dresidual dweight dbias",
    ),
    mixed=("weight", "bias"),
    sizes=_SIZES,
)
def add_layer_norm(
    x: Float[Tensor, "*batch dim"],
    residual: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    bias: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-5,
) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch dim"]]:
    """``layer_norm(x + residual)`` and ``x + residual``, in one pass over memory."""
    total = x + residual
    return plain_layer_norm(total, weight, bias, eps), total


@operator(
    Cpp(
        _SOURCE,
        saved={"inverse": "*batch 1"},
        backward="out1 weight inverse dout0 dout1 -> dx dresidual dweight",
    ),
    mixed=("weight",),
    sizes=_SIZES,
)
def add_rms_norm(
    x: Float[Tensor, "*batch dim"],
    residual: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-6,
) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch dim"]]:
    """``rms_norm(x + residual)`` and ``x + residual``, in one pass over memory."""
    total = x + residual
    return plain_rms_norm(total, weight, eps), total

"""Layer and root-mean-square normalisation over the last axis, statistics in float32."""

from __future__ import annotations

from typing import Any

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.registry import register


@register("layer_norm", name="plain")
def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """``(x - mean) / sqrt(var + eps) * weight + bias``."""
    wide = x.astype(mstype.float32) if x.dtype == mstype.float16 else x
    centred = wide - ops.mean(wide, -1, True)
    variance = ops.mean(centred * centred, -1, True)
    y = (centred * ops.rsqrt(variance + eps)).astype(x.dtype)
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y


@register("layer_norm", name="cpu/mindspore", device="cpu", dtypes=("float32",), priority=1)
def fused_layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """MindSpore's operator: half the time, but no second derivative and no ``vmap``."""
    if 0 in x.shape:
        return layer_norm(x, weight, bias, eps)
    if weight is None:
        weight = ops.ones((x.shape[-1],), x.dtype)
    if bias is None:
        bias = ops.zeros((x.shape[-1],), x.dtype)
    fused = ops.LayerNorm(begin_norm_axis=-1, begin_params_axis=-1, epsilon=eps)
    return fused(x, weight, bias)[0]


@register("rms_norm", name="plain")
def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    """``x / sqrt(mean(x²) + eps) * weight``."""
    wide = x.astype(mstype.float32) if x.dtype == mstype.float16 else x
    y = (wide * ops.rsqrt(ops.mean(wide * wide, -1, True) + eps)).astype(x.dtype)
    return y if weight is None else y * weight

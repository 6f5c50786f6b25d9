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


@register("rms_norm", name="plain")
def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    """``x / sqrt(mean(x²) + eps) * weight``."""
    wide = x.astype(mstype.float32) if x.dtype == mstype.float16 else x
    y = (wide * ops.rsqrt(ops.mean(wide * wide, -1, True) + eps)).astype(x.dtype)
    return y if weight is None else y * weight

"""Ascend's fused operators, with the signatures that MindSpore 2.10 documents.

None of these was run on an Ascend device by us: they are registered as unverified, the log says so
when one is chosen, and ``tests/shared/ops/test_kernels.py`` checks the signatures only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mindspore import mint
from mindspore import ops as ms_ops
from mindspore.ops import auto_generate

from scimind.ops.masks import position_mask
from scimind.ops.registry import register

_HALF = ("float16", "bfloat16")
_ALL = ("float16", "bfloat16", "float32")
LARGEST_HALF = 6e4
"""Masks are written as huge negative biases, which must stay finite in half precision."""


def _flash_fits(call: Mapping[str, Any]) -> bool:
    dim = int(call["dim"])
    return dim % 16 == 0 and dim <= 512 and call["width"] == dim


@register(
    "attention",
    name="ascend/FlashAttentionScore",
    device="ascend",
    dtypes=_HALF,
    priority=10,
    verified=False,
    when=_flash_fits,
)
def attention(
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    bias: Any,
    causal: bool,
    window: int | None,
    scale: float | None,
) -> Any:
    """``flash_attention_score`` in BNSD layout; it discards where the mask is True."""
    batch, heads, queries, dim = query.shape
    keys = key.shape[2]
    if causal or window is not None:
        near = position_mask(queries, keys, causal, window)
        mask = near if mask is None else ms_ops.logical_and(mask, near)
    if bias is not None:
        bias = ms_ops.clamp(bias, -LARGEST_HALF, LARGEST_HALF)
        bias = ms_ops.broadcast_to(bias, (batch, heads, queries, keys)).astype(query.dtype)
    discard = None
    if mask is not None:
        full = (batch, mask.shape[1], queries, keys)
        discard = ms_ops.logical_not(ms_ops.broadcast_to(mask, full))
    out = ms_ops.flash_attention_score(
        query,
        key,
        value,
        heads,
        real_shift=bias,
        attn_mask=discard,
        scalar_value=dim**-0.5 if scale is None else scale,
        input_layout="BNSD",
    )
    if mask is not None:
        out = out * mask.astype(out.dtype).max(axis=-1, keepdims=True)
    return out


@register(
    "rms_norm", name="ascend/RmsNorm", device="ascend", dtypes=_ALL, priority=10, verified=False
)
def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    """``rms_norm`` with the weight in the dtype of ``x``."""
    if weight is None:
        weight = ms_ops.ones((x.shape[-1],), x.dtype)
    return ms_ops.rms_norm(x, weight.astype(x.dtype), eps)[0]


@register(
    "layer_norm",
    name="ascend/LayerNormExt",
    device="ascend",
    dtypes=_ALL,
    priority=10,
    verified=False,
)
def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """``mint.nn.functional.layer_norm`` over the last axis."""
    return mint.nn.functional.layer_norm(x, (x.shape[-1],), weight, bias, eps)


@register(
    "add_layer_norm",
    name="ascend/LayerNormExt",
    device="ascend",
    dtypes=_ALL,
    priority=10,
    verified=False,
)
def add_layer_norm(x: Any, residual: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The sum, then `layer_norm`: MindSpore's operator for both has no documented gradient."""
    total = x + residual
    return layer_norm(total, weight, bias, eps), total


@register(
    "add_rms_norm", name="ascend/RmsNorm", device="ascend", dtypes=_ALL, priority=10, verified=False
)
def add_rms_norm(x: Any, residual: Any, weight: Any, eps: float) -> Any:
    """The sum, then `rms_norm`: MindSpore's operator for both has no documented gradient."""
    total = x + residual
    return rms_norm(total, weight, eps), total


def _pages_fit(call: Mapping[str, Any]) -> bool:
    return int(call["dim"]) % 16 == 0 and call["width"] == call["dim"] and call["slot"] % 16 == 0


@register(
    "paged_attention",
    name="ascend/PagedAttention",
    device="ascend",
    dtypes=("float16",),
    priority=10,
    verified=False,
    when=_pages_fit,
)
def paged_attention(
    query: Any,
    key_cache: Any,
    value_cache: Any,
    block_table: Any,
    length: Any,
    scale: float | None,
) -> Any:
    """``PagedAttention``, which is documented for float16; every page in use has to exist."""
    heads, dim = query.shape[1], query.shape[2]
    operator = auto_generate.PagedAttention(
        heads, dim**-0.5 if scale is None else scale, key_cache.shape[2]
    )
    return operator(query, key_cache, value_cache, block_table, length)


def _rotary_fits(call: Mapping[str, Any]) -> bool:
    return int(call["dim"]) < 896 and not call["interleaved"]


@register(
    "rope",
    name="ascend/RotaryPositionEmbedding",
    device="ascend",
    dtypes=_ALL,
    priority=10,
    verified=False,
    when=_rotary_fits,
)
def rope(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    """``rotary_position_embedding`` in mode 0, which takes angles of full width in four axes."""
    both = ms_ops.cat((cos, cos), -1).astype(x.dtype), ms_ops.cat((sin, sin), -1).astype(x.dtype)
    return ms_ops.rotary_position_embedding(x, both[0], both[1], 0)


@register("swiglu", name="ascend/Swiglu", device="ascend", dtypes=_ALL, priority=10, verified=False)
def swiglu(gate: Any, up: Any) -> Any:
    """``swiglu`` of both halves side by side."""
    return ms_ops.swiglu(ms_ops.cat((gate, up), -1), -1)


@register("gelu", name="ascend/GeluExt", device="ascend", dtypes=_ALL, priority=10, verified=False)
def gelu(x: Any, approximate: str) -> Any:
    """``mint.nn.functional.gelu``."""
    return mint.nn.functional.gelu(x, approximate=approximate)


@register("silu", name="ascend/SiLU", device="ascend", dtypes=_ALL, priority=10, verified=False)
def silu(x: Any) -> Any:
    """``mint.nn.functional.silu``."""
    return mint.nn.functional.silu(x)

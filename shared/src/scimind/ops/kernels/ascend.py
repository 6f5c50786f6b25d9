"""Ascend's fused operators, with the signatures that MindSpore 2.10 documents.

Which of them a device has is found by a small call of each when it is set up; where one fails, the
plain formulation is chosen, and the log says so. None of these was run on an Ascend device by us:
they are registered as unverified, the log says so when one is chosen, and
``tests/shared/ops/test_kernels.py`` checks the signatures and the choice only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, mint
from mindspore import ops as ms_ops
from mindspore.ops import auto_generate

from scimind.device import Runtime, add_probe, on_setup, probe
from scimind.ops.masks import position_mask
from scimind.ops.operator import OPERATORS
from scimind.ops.registry import register
from scimind.ops.rule import shape_of

_Function = Callable[..., Any]
_HALF = ("float16", "bfloat16")
_ALL = ("float16", "bfloat16", "float32")
_ROWS = {"batch": (2,), "dim": 16}
_ONE_HEAD = {"batch": 1, "head": 1, "group": 1, "dim": 16, "width": 16}
LARGEST_HALF = 6e4
"""Masks are written as huge negative biases, which must stay finite in half precision."""

TRIED: dict[str, tuple[str, dict[str, Any]]] = {}
"""Capabilities, each with its operator and the sizes and scalars of the call that tells."""


def _fused(
    op: str,
    operator: str,
    tried: dict[str, Any],
    *,
    dtypes: tuple[str, ...] = _ALL,
    when: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Callable[[_Function], _Function]:
    """Register the decorated function for devices on which a small call of it succeeds.

    Args:
        op: Operator that it computes.
        operator: That of MindSpore which does.
        tried: Sizes and scalars of the small call.
        dtypes: In which it can.
        when: See `scimind.ops.registry.Implementation`.
    """
    capability = f"{op}.{operator}"
    TRIED[capability] = op, tried

    def add(function: _Function) -> _Function:
        attempt = functools.partial(_try, op, function, dtypes[0], tried)
        add_probe(capability, attempt, device="ascend")
        return register(
            op,
            name=f"ascend/{operator}",
            device="ascend",
            dtypes=dtypes,
            priority=10,
            requires=capability,
            verified=False,
            when=when,
        )(function)

    return add


def _try(op: str, function: _Function, dtype: str, sizes: Mapping[str, Any]) -> None:
    rule = OPERATORS[op].rule
    arguments: list[Any] = []
    for tensor in rule.tensors:
        zeros = np.zeros(shape_of(tensor.axes, sizes), np.float32)
        kind = "int32" if tensor.family == "int" else dtype
        ready = Tensor(zeros).astype(getattr(mindspore, kind))
        arguments.append(None if tensor.optional else ready)
    found = function(*arguments, *(sizes.get(each.name, each.default) for each in rule.options))
    for part in found if isinstance(found, tuple) else (found,):
        part.astype(mindspore.float32).asnumpy()


def _look(runtime: Runtime) -> None:
    """Calls within a graph that is being compiled could not."""
    if runtime.device == "ascend":
        for capability in TRIED:
            probe(capability)


on_setup(_look)


def _flash_fits(call: Mapping[str, Any]) -> bool:
    dim = int(call["dim"])
    return dim % 16 == 0 and dim <= 512 and call["width"] == dim


@_fused(
    "attention",
    "FlashAttentionScore",
    _ONE_HEAD | {"query": 16, "key": 16},
    dtypes=_HALF,
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


@_fused("rms_norm", "RmsNorm", _ROWS)
def rms_norm(x: Any, weight: Any, eps: float) -> Any:
    """``rms_norm`` with the weight in the dtype of ``x``."""
    if weight is None:
        weight = ms_ops.ones((x.shape[-1],), x.dtype)
    return ms_ops.rms_norm(x, weight.astype(x.dtype), eps)[0]


@_fused("layer_norm", "LayerNormExt", _ROWS)
def layer_norm(x: Any, weight: Any, bias: Any, eps: float) -> Any:
    """``mint.nn.functional.layer_norm`` over the last axis."""
    return mint.nn.functional.layer_norm(x, (x.shape[-1],), weight, bias, eps)


@_fused("add_layer_norm", "LayerNormExt", _ROWS)
def add_layer_norm(x: Any, residual: Any, weight: Any, bias: Any, eps: float) -> Any:
    """The sum, then `layer_norm`: MindSpore's operator for both has no documented gradient."""
    total = x + residual
    return layer_norm(total, weight, bias, eps), total


@_fused("add_rms_norm", "RmsNorm", _ROWS)
def add_rms_norm(x: Any, residual: Any, weight: Any, eps: float) -> Any:
    """The sum, then `rms_norm`: MindSpore's operator for both has no documented gradient."""
    total = x + residual
    return rms_norm(total, weight, eps), total


def _pages_fit(call: Mapping[str, Any]) -> bool:
    return int(call["dim"]) % 16 == 0 and call["width"] == call["dim"] and call["slot"] % 16 == 0


@_fused(
    "paged_attention",
    "PagedAttention",
    _ONE_HEAD | {"page": 1, "slot": 16, "blocks": 1},
    dtypes=("float16",),
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


@_fused("rope", "RotaryPositionEmbedding", _ONE_HEAD | {"length": 2}, when=_rotary_fits)
def rope(x: Any, cos: Any, sin: Any, interleaved: bool) -> Any:
    """``rotary_position_embedding`` in mode 0, which takes angles of full width in four axes."""
    both = ms_ops.cat((cos, cos), -1).astype(x.dtype), ms_ops.cat((sin, sin), -1).astype(x.dtype)
    return ms_ops.rotary_position_embedding(x, both[0], both[1], 0)


@_fused("swiglu", "Swiglu", {"shape": (2, 16)})
def swiglu(gate: Any, up: Any) -> Any:
    """``swiglu`` of both halves side by side."""
    return ms_ops.swiglu(ms_ops.cat((gate, up), -1), -1)


@_fused("gelu", "GeluExt", {"shape": (2, 16)})
def gelu(x: Any, approximate: str) -> Any:
    """``mint.nn.functional.gelu``."""
    return mint.nn.functional.gelu(x, approximate=approximate)


@_fused("silu", "SiLU", {"shape": (2, 16)})
def silu(x: Any) -> Any:
    """``mint.nn.functional.silu``."""
    return mint.nn.functional.silu(x)

"""Scaled dot-product attention."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.masks import position_mask
from scimind.ops.operator import Cpp, operator, plain
from scimind.typing import Bool, Float, Tensor

_MASKED = -1e30
_softmax = plain("softmax")


@operator(
    Cpp(
        "kernels/cpu/attention.cc",
        saved={"lse": "batch head query"},
        backward="query key value mask bias lse out dout -> dquery dkey dvalue dbias",
    ),
    half=("query", "key", "value"),
    multiples={"head": "group"},
    sizes=(
        {"batch": 16, "head": 8, "group": 8, "query": 128, "key": 128, "dim": 32, "width": 32},
        {"batch": 4, "head": 8, "group": 8, "query": 512, "key": 512, "dim": 64, "width": 64},
        {"batch": 1, "head": 8, "group": 8, "query": 2048, "key": 2048, "dim": 64, "width": 64},
    ),
)
def attention(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group key dim"],
    value: Float[Tensor, "batch group key width"],
    mask: Bool[Tensor, "#batch #head #query #key"] | None = None,
    bias: Float[Tensor, "#batch #head #query #key"] | None = None,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
) -> Float[Tensor, "batch head query width"]:
    """``softmax(scale query keyᵀ + bias) value`` over the permitted keys.

    A query without any permitted key gets zeros. With mixed precision the products are computed
    in half precision, bias and softmax in single; the result has the dtype of the query. The
    memory of the CPU kernel is linear in the number of queries and keys.

    Args:
        query: Queries.
        key: Keys; ``head`` is a multiple of ``group``, and head h uses group h group / head.
        value: Values.
        mask: True where a query may attend to a key; each axis of full size or 1.
        bias: Added to the logits; each axis of full size or 1. Differentiable.
        causal: Query i attends only to keys up to its own position; the last query is aligned
            with the last key, so a block of new queries can follow cached keys.
        window: Attend only to keys fewer than ``window`` positions away.
        scale: Factor of the logits, ``dim ** -0.5`` when None.

    Source: Vaswani et al., arXiv 1706.03762; grouped queries Ainslie et al., arXiv 2305.13245;
    linear memory Dao, arXiv 2307.08691.
    """
    if causal or window is not None:
        near = position_mask(query.shape[2], key.shape[2], causal, window)
        mask = near if mask is None else ops.logical_and(mask, near)
    heads, groups = query.shape[1], key.shape[1]
    if heads != groups:
        key = _repeat_heads(key, heads // groups)
        value = _repeat_heads(value, heads // groups)
    if scale is None:
        scale = float(query.shape[-1]) ** -0.5
    logits = ops.BatchMatMul(transpose_b=True)(query * scale, key)
    if query.dtype == mstype.float16 or query.dtype == mstype.bfloat16:
        logits = logits.astype(mstype.float32)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = ops.select(mask, logits, ops.full_like(logits, _MASKED))
    out = ops.BatchMatMul()(_softmax(logits).astype(value.dtype), value)
    if mask is not None:
        out = out * mask.astype(out.dtype).max(axis=-1, keepdims=True)
    return out


def _repeat_heads(
    x: Float[Tensor, "batch group length dim"], count: int
) -> Float[Tensor, "batch head length dim"]:
    batch, groups, length, dim = x.shape
    return ops.tile(x.expand_dims(2), (1, 1, count, 1, 1)).reshape(
        (batch, groups * count, length, dim)
    )

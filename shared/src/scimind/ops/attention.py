"""Scaled dot-product attention."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.activations import finite_softmax
from scimind.ops.masks import position_mask
from scimind.ops.operator import Cpp, operator
from scimind.ops.product import product
from scimind.typing import Bool, Float, Tensor

_MASKED = -1e30


@operator(
    Cpp(
        "kernels/cpu/attention.cc",
        saved={"lse": "batch head query"},
        backward="query key value mask bias lse out dout -> dquery dkey dvalue dbias",
    ),
    half=("query", "key", "value"),
    mixed=("bias",),
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
    batch, heads, queries, dim = query.shape
    groups, keys = key.shape[1], key.shape[2]
    if 0 in (batch, heads, queries, keys):
        return ops.zeros((batch, heads, queries, value.shape[3]), value.dtype)
    if scale is None:
        scale = max(float(dim), 1.0) ** -0.5
    # The heads of a group are further rows of one product with its keys.
    shared = (batch, groups, heads // max(groups, 1) * queries)
    rows = (query * scale).reshape((*shared, dim))
    logits = product(rows, key, turn_right=True).reshape((batch, heads, queries, keys))
    if query.dtype == mstype.float16 or query.dtype == mstype.bfloat16:
        logits = logits.astype(mstype.float32)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        logits = ops.select(mask, logits, ops.full_like(logits, _MASKED))
    weights = finite_softmax(logits).astype(value.dtype).reshape((*shared, keys))
    out = product(weights, value).reshape((batch, heads, queries, value.shape[3]))
    if mask is not None:
        out = out * mask.astype(out.dtype).max(axis=-1, keepdims=True)
    return out

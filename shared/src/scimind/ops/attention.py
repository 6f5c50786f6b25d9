"""Scaled dot-product attention."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.activations import finite_softmax
from scimind.ops.masks import position_mask
from scimind.ops.operator import Cpp, operator, plain
from scimind.ops.product import product
from scimind.typing import Bool, Float, Int, Tensor

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


_attention = plain(attention)


@operator(
    Cpp("kernels/cpu/decode.cc"),
    in_place=("key_cache", "value_cache"),
    multiples={"head": "group"},
    below={"start": "capacity-new+1"},
    sizes=(
        {"batch": 1, "head": 8, "group": 8, "new": 1, "capacity": 2048, "dim": 64, "width": 64},
        {"batch": 1, "head": 8, "group": 2, "new": 4, "capacity": 8192, "dim": 64, "width": 64},
        {"batch": 16, "head": 8, "group": 8, "new": 1, "capacity": 2048, "dim": 64, "width": 64},
    ),
)
def cached_attention(
    query: Float[Tensor, "batch head new dim"],
    key: Float[Tensor, "batch group new dim"],
    value: Float[Tensor, "batch group new width"],
    key_cache: Float[Tensor, "batch group capacity dim"],
    value_cache: Float[Tensor, "batch group capacity width"],
    start: Int[Tensor, " batch"],
    window: int | None = None,
    scale: float | None = None,
) -> Float[Tensor, "batch head new width"]:
    """Write new keys and values into a cache, then attend causally to its filled part.

    New token i stands at position ``start + i`` and sees the positions up to its own. The CPU
    kernel reads only the filled part, each key once for all heads of its group. It has no gradient.
    Two calls that change the same cache in one graph have to depend on each other.

    Args:
        query: Queries of the new tokens.
        key: Their keys; ``head`` is a multiple of ``group``, and head h uses group h group / head.
        value: Their values.
        key_cache: Keys so far, a Parameter that is changed in place.
        value_cache: Values so far, likewise.
        start: Position of the first new token in each batch row. What would be outside the cache is
            left out; the caller has to see that ``start + new`` does not exceed ``capacity``.
        window: Attend only to keys fewer than ``window`` positions away.
        scale: Factor of the logits, ``dim ** -0.5`` when None.

    Source: Shazeer, arXiv 1911.02150; split over the keys as in Dao et al., Flash-Decoding (2023).
    """
    batch, new, capacity = query.shape[0], query.shape[2], key_cache.shape[2]
    if new == 0:
        return ops.zeros((*query.shape[:3], value.shape[3]), query.dtype)
    for cache, rows in ((key_cache, key), (value_cache, value)):
        query = ops.depend(query, ops.assign(cache, _written(cache, rows, start)))
    filled = ops.clamp(start + new, 0, capacity).reshape((batch, 1, 1, 1))
    position = filled - new + ops.arange(0, new).reshape((1, 1, new, 1))
    distance = position - ops.arange(0, capacity).reshape((1, 1, 1, capacity))
    mask = distance >= 0
    if window is not None:
        mask = ops.logical_and(mask, distance < window)
    return _attention(query, key_cache, value_cache, mask, None, False, None, scale)


def _written(cache: Tensor, rows: Tensor, start: Tensor) -> Tensor:
    """The cache with rows from position ``start`` on."""
    count = rows.shape[2]
    row = ops.arange(0, cache.shape[2]).reshape((1, 1, -1, 1)) - start.reshape((-1, 1, 1, 1))
    index = ops.broadcast_to(ops.clamp(row, 0, count - 1), cache.shape)
    inside = ops.logical_and(row >= 0, row < count)
    return ops.select(inside, ops.gather_elements(rows, 2, index), cache)

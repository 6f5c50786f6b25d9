"""Attention of new tokens to those before them, whose keys and values are kept."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.attention import attention
from scimind.ops.heads import merge_heads, split_query_key_value
from scimind.ops.operator import Cpp, operator, plain
from scimind.typing import Float, Int, Tensor

_SOURCE = "kernels/cpu/decode.cc"
_BELOW = {"start": "capacity-new+1"}
_attention = plain(attention)


@operator(
    Cpp(_SOURCE),
    in_place=("key_cache", "value_cache"),
    multiples={"head": "group"},
    below=_BELOW,
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


_cached_attention = plain(cached_attention)
_split, _merge = plain(split_query_key_value), plain(merge_heads)


@operator(
    Cpp(_SOURCE),
    in_place=("key_cache", "value_cache"),
    at_least={"share": 1},
    derived={"joined": "(share+2)*group*dim"},
    below=_BELOW,
    sizes=(
        {"batch": 1, "group": 8, "share": 1, "new": 1, "capacity": 256, "dim": 32},
        {"batch": 1, "group": 4, "share": 4, "new": 4, "capacity": 8192, "dim": 64},
        {"batch": 16, "group": 8, "share": 1, "new": 1, "capacity": 2048, "dim": 64},
    ),
)
def cached_self_attention(
    x: Float[Tensor, "batch new joined"],
    key_cache: Float[Tensor, "batch group capacity dim"],
    value_cache: Float[Tensor, "batch group capacity dim"],
    start: Int[Tensor, " batch"],
    share: int = 1,
    window: int | None = None,
    scale: float | None = None,
) -> Float[Tensor, "batch new joined-2*group*dim"]:
    """`cached_attention` from the output of one projection to what the next one takes.

    In one operator instead of three: with one new token that is most of what they cost.

    Args:
        x: Of each new token the queries of all heads, then the keys of all groups, then the values.
        key_cache: Keys so far, a Parameter that is changed in place.
        value_cache: Values so far, likewise.
        start: Position of the first new token in each batch row, see `cached_attention`.
        share: Query heads that use one group; head h uses group h / share.
        window: Attend only to keys fewer than ``window`` positions away.
        scale: Factor of the logits, ``dim ** -0.5`` when None.
    """
    _, group, _, dim = key_cache.shape
    query, key, value = _split(x, share * group, group, dim)
    return _merge(
        _cached_attention(query, key, value, key_cache, value_cache, start, window, scale)
    )


def _written(cache: Tensor, rows: Tensor, start: Tensor) -> Tensor:
    """The cache with rows from position ``start`` on."""
    count = rows.shape[2]
    row = ops.arange(0, cache.shape[2]).reshape((1, 1, -1, 1)) - start.reshape((-1, 1, 1, 1))
    index = ops.broadcast_to(ops.clamp(row, 0, count - 1), cache.shape)
    inside = ops.logical_and(row >= 0, row < count)
    return ops.select(inside, ops.gather_elements(rows, 2, index), cache)

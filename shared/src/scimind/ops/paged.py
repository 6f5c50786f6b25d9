"""Attention to a cache in pages, for generation."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.attention import attention
from scimind.ops.operator import Cpp, operator, plain
from scimind.typing import Bool, Float, Int, Tensor

_SOURCE = "kernels/cpu/paged.cc"
_BELOW = {"block_table": "page", "length": "blocks*slot+1"}
_attention = plain(attention)


@operator(
    Cpp(_SOURCE),
    multiples={"head": "group"},
    below=_BELOW,
    sizes=(
        {"batch": 4, "head": 8, "group": 2, "dim": 64, "width": 64, "page": 64, "slot": 16}
        | {"blocks": 16},
        {"batch": 16, "head": 32, "group": 8, "dim": 128, "width": 128, "page": 512, "slot": 16}
        | {"blocks": 32},
        {"batch": 4, "head": 32, "group": 8, "dim": 128, "width": 128, "page": 1024, "slot": 16}
        | {"blocks": 256},
    ),
)
def paged_attention(
    query: Float[Tensor, "batch head dim"],
    key_cache: Float[Tensor, "page slot group dim"],
    value_cache: Float[Tensor, "page slot group width"],
    block_table: Int[Tensor, "batch blocks"],
    length: Int[Tensor, " batch"],
    scale: float | None = None,
) -> Float[Tensor, "batch head width"]:
    """Attention of one new query per sequence to keys and values in pages; no gradient.

    Sequence b attends to its first ``length[b]`` tokens. Token t lies in page
    ``block_table[b, t // slot]`` at ``t % slot``; pages may be shared and come in any order. What
    the other slots hold does not matter. A sequence without tokens gets zeros.

    Args:
        query: Queries.
        key_cache: Keys; ``head`` is a multiple of ``group``, and head h uses group h group / head.
        value_cache: Values.
        block_table: Pages of each sequence. The tokens of a page that does not exist, such as -1,
            are absent, as if they were masked.
        length: Tokens of each sequence; more than the table has room for counts as that many.
        scale: Factor of the logits, ``dim ** -0.5`` when None.

    Source: Kwon et al., arXiv 2309.06180; the pieces of the CPU kernel are those of Flash-Decoding.
    """
    batch, heads, dim = query.shape
    pages, slot, groups, _ = key_cache.shape
    width = value_cache.shape[3]
    tokens = block_table.shape[1] * slot
    if pages * tokens == 0:
        return ops.zeros((batch, heads, width), query.dtype)
    present = _present(block_table, length, pages, slot)
    key = _gathered(key_cache, block_table).reshape((batch, tokens, groups, dim))
    value = _gathered(value_cache, block_table).reshape((batch, tokens, groups, width))
    value = ops.where(present.reshape((batch, tokens, 1, 1)), value, ops.zeros_like(value))
    out = _attention(
        query.reshape((batch, groups, heads // groups, dim)),
        key.transpose((0, 2, 1, 3)),
        value.transpose((0, 2, 1, 3)),
        present.reshape((batch, 1, 1, tokens)),
        None,
        False,
        None,
        scale,
    )
    return out.reshape((batch, heads, width))


@operator(
    Cpp(_SOURCE),
    below=_BELOW,
    sizes=(
        {"batch": 4, "head": 16, "query": 1, "rank": 128, "rope": 32, "page": 16, "slot": 64}
        | {"blocks": 4},
        {"batch": 8, "head": 16, "query": 1, "rank": 512, "rope": 64, "page": 128, "slot": 64}
        | {"blocks": 16},
        {"batch": 4, "head": 128, "query": 1, "rank": 512, "rope": 64, "page": 128, "slot": 64}
        | {"blocks": 32},
    ),
)
def latent_attention(
    query: Float[Tensor, "batch head query rank"],
    query_rope: Float[Tensor, "batch head query rope"],
    latent_cache: Float[Tensor, "page slot rank"],
    rope_cache: Float[Tensor, "page slot rope"],
    block_table: Int[Tensor, "batch blocks"],
    length: Int[Tensor, " batch"],
    scale: float,
) -> Float[Tensor, "batch head query rank"]:
    """Multi-head latent attention in its absorbed form, for generation; no gradient.

    ``softmax(scale (query latentᵀ + query_rope ropeᵀ)) latent``: all heads share one latent per
    token, because the up-projection of keys has been multiplied into ``query`` and that of values
    is applied to the result. The queries are the last ones of a sequence of ``length`` tokens and
    attend up to their own position; queries before its start get zeros.

    Args:
        query: Queries times the up-projection of keys.
        query_rope: Rotated part of the queries.
        latent_cache: Compressed keys and values; both axes in pages as in `paged_attention`.
        rope_cache: Rotated part of the keys, shared by all heads.
        block_table: Pages of each sequence; those that do not exist are absent.
        length: Tokens of each sequence, those of ``query`` included; more than the table has room
            for counts as that many.
        scale: Factor of the logits, ``(dim + rope) ** -0.5`` with the size ``dim`` of a key before
            compression.

    Source: DeepSeek-AI, arXiv 2405.04434, section 2.1 and appendix C.
    """
    batch, heads, queries, rank = query.shape
    pages, slot, rotated = rope_cache.shape
    tokens = block_table.shape[1] * slot
    if pages * tokens == 0:
        return ops.zeros((batch, heads, queries, rank), query.dtype)
    present = _present(block_table, length, pages, slot)
    latent = _gathered(latent_cache, block_table).reshape((batch, 1, tokens, rank))
    rope = _gathered(rope_cache, block_table).reshape((batch, 1, tokens, rotated))
    shown = present.reshape((batch, 1, tokens, 1))
    latent = ops.where(shown, latent, ops.zeros_like(latent))
    last = ops.clamp(length, 0, tokens).reshape((batch, 1, 1, 1)) - queries
    position = last + ops.arange(0, queries).reshape((1, 1, queries, 1))
    past = ops.arange(0, tokens).reshape((1, 1, 1, tokens)) <= position
    return _attention(
        ops.cat((query, query_rope), -1),
        ops.cat((latent, rope), -1),
        latent,
        ops.logical_and(past, present.reshape((batch, 1, 1, tokens))),
        None,
        False,
        None,
        scale,
    )


def _present(
    block_table: Int[Tensor, "batch blocks"], length: Int[Tensor, " batch"], pages: int, slot: int
) -> Bool[Tensor, "batch tokens"]:
    batch, blocks = block_table.shape
    exists = ops.logical_and(block_table >= 0, block_table < pages)
    position = ops.arange(0, blocks * slot).reshape((1, blocks, slot))
    within = position < length.reshape((batch, 1, 1))
    return ops.logical_and(exists.expand_dims(-1), within).reshape((batch, blocks * slot))


def _gathered(
    cache: Float[Tensor, "page slot ..."], block_table: Int[Tensor, "batch blocks"]
) -> Float[Tensor, "rows slot ..."]:
    return ops.gather(cache, ops.clamp(block_table, 0, cache.shape[0] - 1).reshape((-1,)), 0)

"""Attention of the newest tokens to a paged cache: launches of `kernels.decoding`."""

from __future__ import annotations

import math
from typing import Any

from scimind.ops.kernels.triton.arrays import SIZE, Arrays, arrays_of, launch, tile, tokens
from scimind.ops.kernels.triton.rules import positive, require, share, sizes_of

MOST_SPLITS = 128


def paged_attention(
    query: Any,
    key_cache: Any,
    value_cache: Any,
    block_table: Any,
    length: Any,
    scale: float | None = None,
) -> Any:
    """Attention of one token of each sequence to the tokens of its pages (PagedAttention).

    Source: arXiv 2309.06180; the split over the sequence is flash-decoding's.

    Args:
        query: [batch head dim].
        key_cache: [page slot group dim]; all heads of a group use the same keys.
        value_cache: [page slot group width].
        block_table: int32 [batch blocks], the page of each block of tokens; an entry that is no
            page stands for tokens that are not there.
        length: int32 [batch], tokens of each sequence; at most those of its blocks count.
        scale: Of the scores; ``dim ** -0.5`` unless given.

    Returns:
        [batch head width]; zero for a sequence without tokens.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "paged_attention"
    arrays = arrays_of(op, "query", query)
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head dim]"),
            "key_cache": (key_cache, "float[page slot group dim]"),
            "value_cache": (value_cache, "float[page slot group width]"),
            "block_table": (block_table, "int[batch blocks]"),
            "length": (length, "int[batch]"),
        },
    )
    heads = share(op, sizes)
    positive(op, slot=sizes["slot"], dim=sizes["dim"])
    batch, groups, width = sizes["batch"], sizes["group"], sizes["width"]
    key_cache, keys = _pages(arrays, op, "key_cache", key_cache)
    value_cache, values = _pages(arrays, op, "value_cache", value_cache)
    constants = {
        "HEADS": tile(heads, 256),
        "DIM": tile(sizes["dim"], 1024),
        "WIDTH": tile(width, 1024),
    }
    widest = max(constants["DIM"], constants["WIDTH"])
    constants["TOKENS"] = tokens(arrays.dtype(query), sizes["slot"], widest)
    splits = _splits(arrays, batch * groups, sizes, constants["TOKENS"])
    partial = arrays.empty(query, (batch, sizes["head"], splits, width), "float32")
    logsumexp = arrays.empty(query, (batch, sizes["head"], splits), "float32")
    launch(
        arrays,
        "decoding.paged_attention",
        batch * groups * splits,
        {
            "query": arrays.contiguous(query),
            "key": key_cache,
            "value": value_cache,
            "table": arrays.contiguous(block_table),
            "length": arrays.contiguous(length),
            "partial": partial,
            "logsumexp": logsumexp,
            "scale": float(sizes["dim"] ** -0.5 if scale is None else scale),
            "splits": splits,
            "groups": groups,
            "share": heads,
            "blocks": sizes["blocks"],
            "slots": sizes["slot"],
            "pages": sizes["page"],
            "dim": sizes["dim"],
            "width": width,
            **dict(zip(("key_page", "key_slot", "key_group"), keys, strict=True)),
            **dict(zip(("value_page", "value_slot", "value_group"), values, strict=True)),
        },
        constants,
    )
    return _combine(arrays, query, partial, logsumexp, (batch, sizes["head"], width), splits)


def latent_attention(
    query: Any,
    query_rope: Any,
    latent_cache: Any,
    rope_cache: Any,
    block_table: Any,
    length: Any,
    scale: float,
) -> Any:
    """Multi-head latent attention of the newest tokens to a cache of latents (FlashMLA).

    The up-projections of keys and values are absorbed: ``query`` is in the space of the latents,
    which are keys and values at once, and so is the result. Source: arXiv 2405.04434.

    Args:
        query: [batch head query rank], of the last ``query`` tokens of each sequence.
        query_rope: [batch head query rope], their part with rotary positions.
        latent_cache: [page slot rank], shared by all heads.
        rope_cache: [page slot rope].
        block_table: int32 [batch blocks], the page of each block of tokens; an entry that is no
            page stands for tokens that are not there.
        length: int32 [batch], tokens of each sequence including the last ones.
        scale: Of the sum of both scores.

    Returns:
        [batch head query rank]; zero where a query sees no token.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "latent_attention"
    arrays = arrays_of(op, "query", query)
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query rank]"),
            "query_rope": (query_rope, "float[batch head query rope]"),
            "latent_cache": (latent_cache, "float[page slot rank]"),
            "rope_cache": (rope_cache, "float[page slot rope]"),
            "block_table": (block_table, "int[batch blocks]"),
            "length": (length, "int[batch]"),
        },
    )
    positive(op, slot=sizes["slot"], rank=sizes["rank"])
    batch, rank = sizes["batch"], sizes["rank"]
    rows = sizes["head"] * sizes["query"]
    latent_cache, latents = _pages(arrays, op, "latent_cache", latent_cache)
    rope_cache, ropes = _pages(arrays, op, "rope_cache", rope_cache)
    # A result of rank 512 is kept on the chip while the sequence goes by: 32 rows are 64 KiB.
    small = 32 if SIZE[arrays.dtype(query)] == 2 else 16
    constants = {
        "ROWS": tile(rows, 64 if rank <= 256 else small),
        "RANK": tile(rank, 1024),
        "ROPE": tile(sizes["rope"], 1024),
    }
    # The tile is key and value at once, so it may have the memory of both.
    constants["TOKENS"] = tokens(arrays.dtype(query), sizes["slot"], constants["RANK"], 65536)
    tiles = -(-rows // constants["ROWS"])
    splits = _splits(arrays, batch * tiles, sizes, constants["TOKENS"])
    shape = (batch, sizes["head"], sizes["query"], rank)
    partial = arrays.empty(query, (batch, rows, splits, rank), "float32")
    logsumexp = arrays.empty(query, (batch, rows, splits), "float32")
    launch(
        arrays,
        "decoding.latent_attention",
        batch * tiles * splits,
        {
            "query": arrays.contiguous(query),
            "query_rope": arrays.contiguous(query_rope),
            "latent": latent_cache,
            "rope": rope_cache,
            "table": arrays.contiguous(block_table),
            "length": arrays.contiguous(length),
            "partial": partial,
            "logsumexp": logsumexp,
            "scale": float(scale),
            "splits": splits,
            "tiles": tiles,
            "rows": rows,
            "queries": sizes["query"],
            "blocks": sizes["blocks"],
            "slots": sizes["slot"],
            "pages": sizes["page"],
            "rank": rank,
            "dim": sizes["rope"],
            **dict(zip(("latent_page", "latent_slot"), latents, strict=True)),
            **dict(zip(("rope_page", "rope_slot"), ropes, strict=True)),
        },
        constants,
    )
    return _combine(arrays, query, partial, logsumexp, shape, splits)


def _combine(
    arrays: Arrays, query: Any, partial: Any, logsumexp: Any, shape: tuple[int, ...], splits: int
) -> Any:
    out = arrays.empty(query, shape, arrays.dtype(query))
    launch(
        arrays,
        "decoding.combine",
        math.prod(shape[:-1]) if shape[-1] else 0,
        {
            "partial": partial,
            "logsumexp": logsumexp,
            "out": out,
            "splits": splits,
            "width": shape[-1],
        },
        {"SPLITS": 8, "WIDTH": tile(shape[-1], 1024)},
    )
    return out


def _pages(arrays: Arrays, op: str, name: str, cache: Any) -> tuple[Any, tuple[int, ...]]:
    """The cache as it is, with the strides of all axes but the last; a copy would cost too much."""
    shape, strides = tuple(cache.shape), arrays.strides(cache)
    rule = "the last axis" if arrays.views else "every axis"
    step = 1
    for axis in range(len(shape) - 1, len(shape) - 2 if arrays.views else -1, -1):
        require(
            shape[axis] <= 1 or strides[axis] == step,
            op,
            f"{name} has shape {shape} and strides {strides}; {rule} has to be contiguous",
        )
        step *= shape[axis]
    return cache, strides[:-1]


def _splits(arrays: Arrays, programs: int, sizes: dict[str, int], rows: int) -> int:
    """Splits that keep the device busy and have four tiles each when the sequences are longest."""
    tiles = sizes["blocks"] * -(-sizes["slot"] // rows)
    wanted = -(-2 * arrays.processors() // max(programs, 1))
    return max(1, min(wanted, -(-tiles // 4), MOST_SPLITS))

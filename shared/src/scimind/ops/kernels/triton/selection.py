"""The fine branch of Native Sparse Attention: launches of `kernels.selection`.

Source: arXiv 2502.11089. Selection block ``j`` holds the keys from ``j block_size`` on.
"""

from __future__ import annotations

from typing import Any

from .arrays import Arrays, arrays_of, launch, tile, tokens
from .compression import compressed_attention, rows
from .rules import positive, require, share, sizes_of

SCORES = 1 << 26
"""Scores of blocks that are kept at a time, 256 MiB; longer inputs are done in parts."""


def block_scores(
    query: Any,
    key: Any,
    logsum: Any,
    length: int,
    stride: int,
    block_size: int,
    scale: float | None = None,
    position: int = 0,
    tokens: int | None = None,
    first: int = 0,
    count: int | None = None,
) -> Any:
    """How important each selection block is to each query (equations 8 to 10).

    The attention probabilities of the compressed blocks, summed over the heads of a group; a
    compressed block counts once for each ``stride`` tokens that it shares with the selection block.

    Args:
        query: [batch head query dim].
        key: Compressed keys [batch group block dim].
        logsum: float32 [batch head query] from `compressed_attention`.
        length: Tokens of a compressed block, a multiple of ``stride``.
        stride: Tokens from the start of one compressed block to the start of the next.
        block_size: Tokens of a selection block, a multiple of ``stride``.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        position: Of the first query; the others follow it.
        tokens: Keys that there are; up to the last query unless given.
        first: First query to do.
        count: How many queries to do; all that follow unless given.

    Returns:
        float32 [batch group count selection]; zero for blocks after the query.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "block_scores"
    arrays = arrays_of(op, "query", query)
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "key": (key, "float[batch group block dim]"),
            "logsum": (logsum, "single[batch head query]"),
        },
    )
    heads = share(op, sizes)
    positive(op, length=length, stride=stride, block_size=block_size, dim=sizes["dim"])
    for name, size in (("length", length), ("block_size", block_size)):
        require(
            size % stride == 0,
            op,
            f"{name} is {size} and stride {stride}; {name} has to be a multiple of stride",
        )
    queries = sizes["query"]
    tokens = position + queries if tokens is None else tokens
    count = queries - first if count is None else count
    selections = -(-tokens // block_size)
    score = arrays.empty(query, (sizes["batch"], sizes["group"], count, selections), "float32")
    query, query_strides = rows(arrays, query)
    key, key_strides = rows(arrays, key)
    constants = {
        "QUERIES": tile(count, 64),
        "BLOCKS": tile(sizes["block"], 64),
        "SELECTIONS": tile(selections, 16),
        "DIM": tile(sizes["dim"], 1024),
    }
    tiles = -(-selections // constants["SELECTIONS"])
    query_tiles = -(-count // constants["QUERIES"])
    launch(
        arrays,
        "selection.block_scores",
        sizes["batch"] * sizes["group"] * query_tiles * tiles,
        {
            "query": query,
            "key": key,
            "logsum": arrays.contiguous(logsum),
            "score": score,
            "scale": float(sizes["dim"] ** -0.5 if scale is None else scale),
            "groups": sizes["group"],
            "query_tiles": query_tiles,
            "tiles": tiles,
            "share": heads,
            "queries": queries,
            "first_query": first,
            "chunk": count,
            "blocks": sizes["block"],
            "selections": selections,
            "first_position": position,
            "length": length,
            "stride": stride,
            "block_size": block_size,
            "dim": sizes["dim"],
            **dict(zip(("query_batch", "query_head", "query_token"), query_strides, strict=True)),
            **dict(zip(("key_batch", "key_group", "key_block"), key_strides, strict=True)),
        },
        constants,
    )
    return score


def select_blocks(
    query: Any,
    key: Any,
    length: int,
    stride: int,
    block_size: int,
    count: int,
    scale: float | None = None,
    logsum: Any = None,
    initial: int = 1,
    local: int = 2,
    position: int = 0,
) -> Any:
    """The blocks that each query attends to: the most important ones (equation 11).

    Args:
        query: [batch head query dim].
        key: Compressed keys [batch group block dim].
        length: Tokens of a compressed block, a multiple of ``stride``.
        stride: Tokens from the start of one compressed block to the start of the next.
        block_size: Tokens of a selection block, a multiple of ``stride``.
        count: Blocks to select.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        logsum: float32 [batch head query] from `compressed_attention`, computed unless given.
        initial: First blocks that are always selected, if the query is not before them.
        local: Last blocks up to that of the query that are always selected.
        position: Of the first query; the others follow it.

    Returns:
        int32 [batch group query count], the always selected blocks and then the others from the
        most important on, -1 when there are no more; of equal ones the lower comes first.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "select_blocks"
    arrays = arrays_of(op, "query", query)
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "key": (key, "float[batch group block dim]"),
        },
    )
    positive(op, count=count, block_size=block_size)
    require(
        initial >= 0 and local >= 0 and initial + local <= count,
        op,
        f"initial is {initial} and local {local}; together they are at most count, {count}",
    )
    if logsum is None:
        logsum = compressed_attention(query, key, key, length, stride, scale, position)[1]
    queries, lists = sizes["query"], sizes["batch"] * sizes["group"]
    selections = -(-(position + queries) // block_size)
    shape = (sizes["batch"], sizes["group"], queries, count)
    blocks = arrays.empty(query, shape, "int32")
    step = max(1, min(queries, SCORES // max(1, lists * selections)))
    for first in range(0, queries, step):
        part = min(step, queries - first)
        score = block_scores(
            query,
            key,
            logsum,
            length,
            stride,
            block_size,
            scale,
            position,
            first=first,
            count=part,
        )
        launch(
            arrays,
            "selection.best_blocks",
            lists * part,
            {
                "score": score,
                "blocks": blocks,
                "queries": queries,
                "first_query": first,
                "chunk": part,
                "selections": selections,
                "first_position": position,
                "block_size": block_size,
                "count": count,
                "initial": initial,
                "local": local,
            },
            {"SELECTIONS": tile(selections, 1 << 30)},
        )
    return blocks


def selected_attention(
    query: Any,
    key: Any,
    value: Any,
    blocks: Any,
    block_size: int,
    scale: float | None = None,
) -> tuple[Any, Any]:
    """Causal attention of each token to the keys in the blocks that it selected.

    Args:
        query: [batch head query dim]; the last ``query`` of the ``key`` tokens.
        key: [batch group key dim]; all heads of a group use the same keys and blocks.
        value: [batch group key width].
        blocks: int32 [batch group query count], different blocks or -1 for none.
        block_size: Keys of a block.
        scale: Of the scores; ``dim ** -0.5`` unless given.

    Returns:
        [batch head query width], zero where no key is visible, and the float32 logarithm of the
        sum of exponentials [batch head query], -inf there.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "selected_attention"
    arrays = arrays_of(op, "query", query)
    sizes = _sizes(op, arrays, query, key, value, blocks, block_size)
    shape = (sizes["batch"], sizes["head"], sizes["query"])
    out = arrays.empty(query, (*shape, sizes["width"]), arrays.dtype(query))
    logsum = arrays.empty(query, shape, "float32")
    common, constants = _common(op, arrays, sizes, query, key, value, block_size, scale)
    launch(
        arrays,
        "selection.selected_attention",
        sizes["batch"] * sizes["group"] * sizes["query"],
        {**common, "blocks": arrays.contiguous(blocks), "out": out, "logsum": logsum},
        constants,
    )
    return out, logsum


def selected_attention_grad(
    query: Any,
    key: Any,
    value: Any,
    blocks: Any,
    out: Any,
    logsum: Any,
    dout: Any,
    block_size: int,
    scale: float | None = None,
) -> tuple[Any, Any, Any]:
    """Gradients of `selected_attention` with respect to query, key and value.

    They are the same in every run: no atomics are used.

    Args:
        query: As for `selected_attention`.
        key: As for `selected_attention`.
        value: As for `selected_attention`.
        blocks: As for `selected_attention`.
        out: Its first result.
        logsum: Its second result.
        dout: Cotangent of ``out``.
        block_size: Keys of a block.
        scale: Of the scores; ``dim ** -0.5`` unless given.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "selected_attention_grad"
    arrays = arrays_of(op, "query", query)
    sizes = _sizes(op, arrays, query, key, value, blocks, block_size)
    sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "value": (value, "float[batch group key width]"),
            "out": (out, "float[batch head query width]"),
            "logsum": (logsum, "single[batch head query]"),
            "dout": (dout, "float[batch head query width]"),
        },
    )
    batch, group, queries, keys = (sizes[name] for name in ("batch", "group", "query", "key"))
    dim, width, count = sizes["dim"], sizes["width"], sizes["count"]
    dtype = arrays.dtype(query)
    common, constants = _common(op, arrays, sizes, query, key, value, block_size, scale)
    blocks, dout = arrays.contiguous(blocks), arrays.contiguous(dout)
    dquery = arrays.empty(query, (batch, sizes["head"], queries, dim), dtype)
    dkey = arrays.empty(query, (batch, group, keys, dim), dtype)
    dvalue = arrays.empty(query, (batch, group, keys, width), dtype)
    delta = arrays.empty(query, (batch, sizes["head"], queries), "float32")
    kept = {"logsum": arrays.contiguous(logsum), "dout": dout, "delta": delta}
    launch(
        arrays,
        "selection.selected_attention_dquery",
        batch * group * queries,
        {**common, **kept, "blocks": blocks, "out": arrays.contiguous(out), "dquery": dquery},
        constants,
    )
    selections = -(-keys // block_size)
    # Twice as many chunks as blocks at most, and about the same work for each.
    chunk = max(16, -(-queries * count // max(1, selections)))
    lists = _lists(arrays, blocks, batch * group, selections, chunk)
    number = lists["owner"].shape[0]
    parts = -(-block_size // constants["KEYS"])
    partial_key = arrays.empty(query, (number, block_size, dim), "float32")
    partial_value = arrays.empty(query, (number, block_size, width), "float32")
    launch(
        arrays,
        "selection.selected_attention_chunk",
        number * parts,
        {
            **common,
            **kept,
            **lists,
            "dkey": partial_key,
            "dvalue": partial_value,
            "selections": selections,
            "chunk": chunk,
        },
        constants,
    )
    for partial, gradient, size in ((partial_key, dkey, dim), (partial_value, dvalue, width)):
        launch(
            arrays,
            "selection.sum_chunks",
            batch * group * selections * parts if size else 0,
            {
                "partial": partial,
                "begins": lists["begins"],
                "out": gradient,
                "chunk": chunk,
                "selections": selections,
                "keys": keys,
                "block_size": block_size,
                "dim": size,
            },
            {"KEYS": constants["KEYS"], "DIM": tile(size, 1024)},
        )
    return dquery, dkey, dvalue


def _lists(arrays: Arrays, blocks: Any, groups: int, selections: int, chunk: int) -> dict[str, Any]:
    """For each block of each group the entries of ``blocks`` that name it, cut into chunks.

    Returns:
        Integer vectors: ``order``, the entries sorted by block; ``begins``, where the list of each
        block begins in it, and its end; ``owner``, the block of each chunk, not below the number
        of blocks, ``owners``, for chunks that are not needed.
    """
    entries = blocks.reshape(-1)
    total, owners = entries.shape[0], groups * selections
    group = arrays.arange(blocks, total) // max(1, total // max(1, groups))
    known = arrays.integers((entries >= 0) & (entries < selections))
    # An entry that is no block sorts after all blocks.
    place = (group * selections + entries) * known + owners * (1 - known)
    order = arrays.order(place)
    begins = arrays.search(place[order], arrays.arange(blocks, owners + 1))
    chunks = begins // chunk + arrays.arange(blocks, owners + 1)
    owner = arrays.search(chunks[1:], arrays.arange(blocks, owners + total // chunk) + 1)
    return {"order": order, "begins": begins, "owner": owner, "owners": owners}


def _sizes(
    op: str, arrays: Arrays, query: Any, key: Any, value: Any, blocks: Any, block_size: int
) -> dict[str, int]:
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "key": (key, "float[batch group key dim]"),
            "value": (value, "float[batch group key width]"),
            "blocks": (blocks, "int[batch group query count]"),
        },
    )
    share(op, sizes)
    positive(op, block_size=block_size, dim=sizes["dim"])
    require(
        sizes["query"] <= sizes["key"],
        op,
        f"query has {sizes['query']} tokens and key {sizes['key']}; the queries are the last keys",
    )
    return sizes


def _common(
    op: str,
    arrays: Arrays,
    sizes: dict[str, int],
    query: Any,
    key: Any,
    value: Any,
    block_size: int,
    scale: float | None,
) -> tuple[dict[str, Any], dict[str, int]]:
    """The arguments and constants that all kernels of selected attention take."""
    dim, width = sizes["dim"], sizes["width"]
    query, query_strides = rows(arrays, query)
    key, key_strides = rows(arrays, key)
    value, value_strides = rows(arrays, value)
    arguments = {
        "query": query,
        "key": key,
        "value": value,
        "scale": float(dim**-0.5 if scale is None else scale),
        "groups": sizes["group"],
        "share": share(op, sizes),
        "queries": sizes["query"],
        "keys": sizes["key"],
        "count": sizes["count"],
        "block_size": block_size,
        "dim": dim,
        "width": width,
        **dict(zip(("query_batch", "query_head", "query_token"), query_strides, strict=True)),
        **dict(zip(("key_batch", "key_group", "key_token"), key_strides, strict=True)),
        **dict(zip(("value_batch", "value_group", "value_token"), value_strides, strict=True)),
    }
    wide = {"DIM": tile(dim, 1024), "WIDTH": tile(width, 1024)}
    keys = tokens(arrays.dtype(query), block_size, max(wide.values()))
    return arguments, {"HEADS": tile(share(op, sizes), 256), "KEYS": keys, **wide}

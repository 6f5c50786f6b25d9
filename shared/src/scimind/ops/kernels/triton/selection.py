"""The fine branch of Native Sparse Attention: launches of `kernels.selection`.

Source: arXiv 2502.11089. Selection block ``j`` holds the keys from ``j block_size`` on.
"""

from __future__ import annotations

from typing import Any

from scimind.ops.kernels.triton.arrays import Arrays, arrays_of, launch, tile, tokens
from scimind.ops.kernels.triton.compression import compressed_attention, results, rows
from scimind.ops.kernels.triton.rules import positive, share, sizes_of

SCORES = 1 << 26
"""Scores of blocks that are kept at a time, 256 MiB; longer inputs are done in parts."""


def block_scores(
    query: Any,
    key: Any,
    logsumexp: Any,
    length: int,
    stride: int,
    block_size: int,
    scale: float | None = None,
    start: int = 0,
    first: int = 0,
    count: int | None = None,
) -> Any:
    """How important each selection block is to each query (equations 8 to 10).

    The attention probabilities of the compressed blocks, summed over the heads of a group; that of
    a compressed block counts once for each of its strides that starts in the selection block.

    Args:
        query: [batch head query dim].
        key: Compressed keys [batch group block dim].
        logsumexp: float32 [batch head query] from `compressed_attention`.
        length: Tokens of a compressed block.
        stride: Tokens from the start of one compressed block to the start of the next.
        block_size: Tokens of a selection block.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        start: Position of the first query; the others follow it.
        first: First query to do.
        count: How many queries to do; all that follow unless given.

    Returns:
        float32 [batch group count selection], with as many blocks as the last query sees.

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
            "logsumexp": (logsumexp, "single[batch head query]"),
        },
    )
    heads = share(op, sizes)
    positive(op, length=length, stride=stride, block_size=block_size, dim=sizes["dim"])
    queries = sizes["query"]
    count = queries - first if count is None else count
    selections = -(-(start + queries) // block_size)
    score = arrays.empty(query, (sizes["batch"], sizes["group"], count, selections), "float32")
    query, query_strides = rows(arrays, query)
    key, key_strides = rows(arrays, key)
    wide = tile(sizes["dim"], 1024)
    constants = {
        "QUERIES": tile(count, 64),
        "BLOCKS": tokens(arrays.dtype(query), sizes["block"], wide),
        "SELECTIONS": tile(selections, 16),
        "DIM": wide,
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
            "logsumexp": arrays.contiguous(logsumexp),
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
            "start_position": start,
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
    start: int = 0,
    logsumexp: Any = None,
) -> Any:
    """The blocks that each query attends to: the most important ones (equation 11).

    Always its own block, the first one and the one before its own, in this order if ``count`` is
    below 3; then those of highest importance (`block_scores`), of equal ones the earlier.

    Args:
        query: [batch head query dim].
        key: Compressed keys [batch group block dim].
        length: Tokens of a compressed block.
        stride: Tokens from the start of one compressed block to the start of the next.
        block_size: Tokens of a selection block.
        count: Blocks to select.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        start: Position of the first query; the others follow it.
        logsumexp: float32 [batch head query] from `compressed_attention`, computed unless given.

    Returns:
        int32 [batch group query count], ascending; -1 at the end when there are no more.

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
    positive(op, length=length, stride=stride, block_size=block_size, count=count)
    if logsumexp is None:
        logsumexp = compressed_attention(query, key, key, length, stride, scale, start)[1]
    queries, lists = sizes["query"], sizes["batch"] * sizes["group"]
    selections = -(-(start + queries) // block_size)
    shape = (sizes["batch"], sizes["group"], queries, count)
    blocks = arrays.empty(query, shape, "int32")
    step = max(1, min(queries, SCORES // max(1, lists * selections)))
    for first in range(0, queries, step):
        part = min(step, queries - first)
        score = block_scores(
            query, key, logsumexp, length, stride, block_size, scale, start, first, part
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
                "start_position": start,
                "block_size": block_size,
                "count": count,
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
        query: [batch head query dim]; the last one is at the position of the last key.
        key: [batch group key dim]; all heads of a group use the same keys and blocks.
        value: [batch group key width].
        blocks: int32 [batch group query count], in any order; a block that is listed twice counts
            once, one that does not exist, such as -1, not at all.
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
    logsumexp = arrays.empty(query, shape, "float32")
    common, constants = _common(op, arrays, sizes, query, key, value, block_size, scale)
    launch(
        arrays,
        "selection.selected_attention",
        sizes["batch"] * sizes["group"] * sizes["query"],
        {**common, "blocks": _distinct(arrays, blocks, sizes, block_size), "out": out}
        | {"logsumexp": logsumexp},
        constants,
    )
    return out, logsumexp


def selected_attention_grad(
    query: Any,
    key: Any,
    value: Any,
    blocks: Any,
    out: Any,
    logsumexp: Any,
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
        logsumexp: Its second result.
        dout: Cotangent of ``out``.
        block_size: Keys of a block.
        scale: Of the scores; ``dim ** -0.5`` unless given.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "selected_attention_grad"
    arrays = arrays_of(op, "query", query)
    sizes = _sizes(op, arrays, query, key, value, blocks, block_size)
    results(op, arrays, query, value, "key", out, logsumexp, dout)
    batch, group, queries, keys = (sizes[name] for name in ("batch", "group", "query", "key"))
    dim, width, count = sizes["dim"], sizes["width"], sizes["count"]
    dtype = arrays.dtype(query)
    common, constants = _common(op, arrays, sizes, query, key, value, block_size, scale)
    blocks = _distinct(arrays, blocks, sizes, block_size)
    dquery = arrays.empty(query, (batch, sizes["head"], queries, dim), dtype)
    dkey = arrays.empty(query, (batch, group, keys, dim), dtype)
    dvalue = arrays.empty(query, (batch, group, keys, width), dtype)
    delta = arrays.empty(query, (batch, sizes["head"], queries), "float32")
    kept = {"logsumexp": arrays.contiguous(logsumexp), "dout": arrays.contiguous(dout)}
    kept["delta"] = delta
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
    return sizes


def _distinct(arrays: Arrays, blocks: Any, sizes: dict[str, int], block_size: int) -> Any:
    """The blocks with -1 for those that are listed before or do not exist."""
    out = arrays.empty(blocks, tuple(blocks.shape), "int32")
    lists = sizes["batch"] * sizes["group"] * sizes["query"]
    constants = {"ROWS": tile(lists, 64), "COUNT": tile(sizes["count"], 1 << 30)}
    launch(
        arrays,
        "selection.distinct_blocks",
        -(-lists // constants["ROWS"]) if sizes["count"] else 0,
        {
            "blocks": arrays.contiguous(blocks),
            "out": out,
            "rows": lists,
            "count": sizes["count"],
            "selections": -(-sizes["key"] // block_size),
        },
        constants,
    )
    return out


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

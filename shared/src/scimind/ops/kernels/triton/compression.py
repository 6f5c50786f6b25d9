"""The coarse branch of Native Sparse Attention: launches of `kernels.compression`.

Source: arXiv 2502.11089. Block ``i`` stands for the tokens from ``i stride`` to
``i stride + length`` and is visible from the position of its last token on.
"""

from __future__ import annotations

from typing import Any

from scimind.ops.kernels.triton.arrays import Arrays, arrays_of, launch, tile, tokens
from scimind.ops.kernels.triton.rules import positive, require, share, sizes_of


def compress_blocks(x: Any, weight: Any, length: int, stride: int) -> Any:
    """Keys or values of overlapping blocks, each pooled into one (equation 7, with a linear φ).

    Args:
        x: [batch group token dim].
        weight: [group length], of each token within a block; None is the mean.
        length: Tokens of a block.
        stride: Tokens from the start of one block to the start of the next.

    Returns:
        [batch group block dim]; ``block`` is ``(token - length) // stride + 1``, so tokens after
        the last full block are left out.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "compress_blocks"
    arrays = arrays_of(op, "x", x)
    tensors = {"x": (x, "float[batch group token dim]")}
    if weight is not None:
        tensors["weight"] = (weight, "float[group length]")
    positive(op, length=length, stride=stride)
    sizes = sizes_of(op, arrays, tensors)
    require(
        sizes.get("length", length) == length,
        op,
        f"weight has shape {tuple(getattr(weight, 'shape', ()))}; the rule is float[group length], "
        f"and length is {length}",
    )
    blocks = max(0, (sizes["token"] - length) // stride + 1)
    shape = (sizes["batch"], sizes["group"], blocks, sizes["dim"])
    out = arrays.empty(x, shape, arrays.dtype(x))
    x, strides = rows(arrays, x)
    constants = {
        "MEAN": weight is None,
        "BLOCKS": tile(blocks, 64),
        "DIM": tile(sizes["dim"], 1024),
    }
    tiles = -(-blocks // constants["BLOCKS"])
    launch(
        arrays,
        "compression.compress_blocks",
        sizes["batch"] * sizes["group"] * tiles if sizes["dim"] else 0,
        {
            "x": x,
            "weight": x if weight is None else arrays.contiguous(weight),
            "out": out,
            "groups": sizes["group"],
            "tiles": tiles,
            "blocks": blocks,
            "length": length,
            "stride": stride,
            "dim": sizes["dim"],
            **dict(zip(("x_batch", "x_group", "x_token"), strides, strict=True)),
        },
        constants,
    )
    return out


def compressed_attention(
    query: Any,
    key: Any,
    value: Any,
    length: int,
    stride: int,
    scale: float | None = None,
    start: int = 0,
) -> tuple[Any, Any]:
    """Attention of tokens to the compressed blocks that lie before them.

    Args:
        query: [batch head query dim].
        key: [batch group block dim]; all heads of a group use the same keys.
        value: [batch group block width].
        length: Tokens of a block.
        stride: Tokens from the start of one block to the start of the next.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        start: Position of the first query; the others follow it.

    Returns:
        [batch head query width], zero where no block is visible, and the float32 logarithm of the
        sum of exponentials [batch head query], -inf there.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "compressed_attention"
    arrays = arrays_of(op, "query", query)
    sizes, common, constants = _common(op, arrays, query, key, value, length, stride, scale, start)
    batch, head, queries = sizes["batch"], sizes["head"], sizes["query"]
    out = arrays.empty(query, (batch, head, queries, sizes["width"]), arrays.dtype(query))
    logsumexp = arrays.empty(query, (batch, head, queries), "float32")
    tiles = -(-queries // constants["QUERIES"])
    launch(
        arrays,
        "compression.compressed_attention",
        batch * head * tiles,
        {**common, "out": out, "logsumexp": logsumexp, "tiles": tiles},
        constants,
    )
    return out, logsumexp


def compressed_attention_grad(
    query: Any,
    key: Any,
    value: Any,
    out: Any,
    logsumexp: Any,
    dout: Any,
    length: int,
    stride: int,
    scale: float | None = None,
    start: int = 0,
) -> tuple[Any, Any, Any]:
    """Gradients of `compressed_attention` with respect to query, key and value.

    Args:
        query: As for `compressed_attention`.
        key: As for `compressed_attention`.
        value: As for `compressed_attention`.
        out: Its first result.
        logsumexp: Its second result.
        dout: Cotangent of ``out``.
        length: Tokens of a block.
        stride: Tokens from the start of one block to the start of the next.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        start: Position of the first query; the others follow it.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "compressed_attention_grad"
    arrays = arrays_of(op, "query", query)
    sizes, common, constants = _common(op, arrays, query, key, value, length, stride, scale, start)
    results(op, arrays, query, value, "block", out, logsumexp, dout)
    batch, head, queries = sizes["batch"], sizes["head"], sizes["query"]
    dquery, dkey, dvalue = (
        arrays.empty(like, tuple(like.shape), arrays.dtype(query)) for like in (query, key, value)
    )
    common |= {
        "logsumexp": arrays.contiguous(logsumexp),
        "dout": arrays.contiguous(dout),
        "delta": arrays.empty(query, (batch, head, queries), "float32"),
    }
    tiles = -(-queries // constants["QUERIES"])
    launch(
        arrays,
        "compression.compressed_attention_dquery",
        batch * head * tiles,
        {**common, "out": arrays.contiguous(out), "dquery": dquery, "tiles": tiles},
        constants,
    )
    tiles = -(-sizes["block"] // constants["BLOCKS"])
    launch(
        arrays,
        "compression.compressed_attention_dkey",
        batch * sizes["group"] * tiles,
        {**common, "dkey": dkey, "dvalue": dvalue, "tiles": tiles},
        constants,
    )
    return dquery, dkey, dvalue


def results(
    op: str,
    arrays: Arrays,
    query: Any,
    value: Any,
    keys: str,
    out: Any,
    logsumexp: Any,
    dout: Any,
) -> None:
    """Raise ``ValueError`` unless what a gradient is given has the shapes of the results."""
    sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "value": (value, f"float[batch group {keys} width]"),
            "out": (out, "float[batch head query width]"),
            "logsumexp": (logsumexp, "single[batch head query]"),
            "dout": (dout, "float[batch head query width]"),
        },
    )


def _common(
    op: str,
    arrays: Arrays,
    query: Any,
    key: Any,
    value: Any,
    length: int,
    stride: int,
    scale: float | None,
    start: int,
) -> tuple[dict[str, int], dict[str, Any], dict[str, int]]:
    """Sizes, arguments and constants that all kernels of compressed attention take."""
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "key": (key, "float[batch group block dim]"),
            "value": (value, "float[batch group block width]"),
        },
    )
    positive(op, length=length, stride=stride, dim=sizes["dim"])
    query, query_strides = rows(arrays, query)
    key, key_strides = rows(arrays, key)
    value, value_strides = rows(arrays, value)
    arguments = {
        "query": query,
        "key": key,
        "value": value,
        "scale": float(sizes["dim"] ** -0.5 if scale is None else scale),
        "heads": sizes["head"],
        "share": share(op, sizes),
        "queries": sizes["query"],
        "blocks": sizes["block"],
        "start_position": start,
        "length": length,
        "stride": stride,
        "dim": sizes["dim"],
        "width": sizes["width"],
        **dict(zip(("query_batch", "query_head", "query_token"), query_strides, strict=True)),
        **dict(zip(("key_batch", "key_group", "key_block"), key_strides, strict=True)),
        **dict(zip(("value_batch", "value_group", "value_block"), value_strides, strict=True)),
    }
    wide = {"DIM": tile(sizes["dim"], 1024), "WIDTH": tile(sizes["width"], 1024)}
    constants = {
        "QUERIES": tile(sizes["query"], 64),
        "BLOCKS": tokens(arrays.dtype(query), sizes["block"], max(wide.values())),
        **wide,
    }
    return sizes, arguments, constants


def rows(arrays: Arrays, tensor: Any) -> tuple[Any, tuple[int, ...]]:
    """The tensor with a contiguous last axis, copied only if need be, and its other strides."""
    if not arrays.views or arrays.strides(tensor)[-1] != 1:
        tensor = arrays.contiguous(tensor)
    return tensor, arrays.strides(tensor)[:-1]

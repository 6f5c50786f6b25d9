"""The coarse branch of Native Sparse Attention: launches of `kernels.compression`.

Source: arXiv 2502.11089. Block ``i`` stands for the tokens from ``i stride`` to
``i stride + length`` and is visible from the position of its last token on.
"""

from __future__ import annotations

from typing import Any

from .arrays import Arrays, arrays_of, launch, tile
from .rules import positive, require, share, sizes_of


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
    position: int = 0,
) -> tuple[Any, Any]:
    """Attention of tokens to the compressed blocks that lie before them.

    Args:
        query: [batch head query dim].
        key: [batch group block dim]; all heads of a group use the same keys.
        value: [batch group block width].
        length: Tokens of a block.
        stride: Tokens from the start of one block to the start of the next.
        scale: Of the scores; ``dim ** -0.5`` unless given.
        position: Of the first query; the others follow it.

    Returns:
        [batch head query width], zero where no block is visible, and the float32 logarithm of the
        sum of exponentials [batch head query], -inf there.

    Raises:
        ValueError: A shape, dtype or number breaks these rules.
    """
    op = "compressed_attention"
    arrays = arrays_of(op, "query", query)
    sizes = sizes_of(
        op,
        arrays,
        {
            "query": (query, "float[batch head query dim]"),
            "key": (key, "float[batch group block dim]"),
            "value": (value, "float[batch group block width]"),
        },
    )
    heads = share(op, sizes)
    positive(op, length=length, stride=stride, dim=sizes["dim"])
    batch, head, queries = sizes["batch"], sizes["head"], sizes["query"]
    out = arrays.empty(query, (batch, head, queries, sizes["width"]), arrays.dtype(query))
    logsum = arrays.empty(query, (batch, head, queries), "float32")
    query, query_strides = rows(arrays, query)
    key, key_strides = rows(arrays, key)
    value, value_strides = rows(arrays, value)
    constants = {
        "QUERIES": tile(queries, 64),
        "BLOCKS": tile(sizes["block"], 64),
        "DIM": tile(sizes["dim"], 1024),
        "WIDTH": tile(sizes["width"], 1024),
    }
    tiles = -(-queries // constants["QUERIES"])
    launch(
        arrays,
        "compression.compressed_attention",
        batch * head * tiles,
        {
            "query": query,
            "key": key,
            "value": value,
            "out": out,
            "logsum": logsum,
            "scale": float(sizes["dim"] ** -0.5 if scale is None else scale),
            "tiles": tiles,
            "heads": head,
            "share": heads,
            "queries": queries,
            "blocks": sizes["block"],
            "first_position": position,
            "length": length,
            "stride": stride,
            "dim": sizes["dim"],
            "width": sizes["width"],
            **dict(zip(("query_batch", "query_head", "query_token"), query_strides, strict=True)),
            **dict(zip(("key_batch", "key_group", "key_block"), key_strides, strict=True)),
            **dict(zip(("value_batch", "value_group", "value_block"), value_strides, strict=True)),
        },
        constants,
    )
    return out, logsum


def rows(arrays: Arrays, tensor: Any) -> tuple[Any, tuple[int, ...]]:
    """The tensor with a contiguous last axis, copied only if need be, and its other strides."""
    if not arrays.views or arrays.strides(tensor)[-1] != 1:
        tensor = arrays.contiguous(tensor)
    return tensor, arrays.strides(tensor)[:-1]

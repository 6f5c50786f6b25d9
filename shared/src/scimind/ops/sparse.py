"""Operators of native sparse attention (NSA): compressed blocks, their choice, selected blocks.

Source: Yuan et al., arXiv 2502.11089. Equation numbers below are those of the paper. The third
branch, the sliding window, is ``attention(…, causal=True, window=…)``.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.activations import finite_softmax
from scimind.ops.attention import attention
from scimind.ops.operator import Cpp, operator, plain
from scimind.ops.product import product
from scimind.typing import Bool, Float, Int, Tensor

_SOURCE = "kernels/cpu/sparse.cc"
_MASKED = -1e30
_attention = plain(attention)
_SMALL = {"batch": 2, "head": 4, "group": 1, "query": 512, "dim": 64, "width": 64}
_MIDDLE = {"batch": 1, "head": 8, "group": 2, "query": 2048, "dim": 64, "width": 64}
_LARGE = {"batch": 1, "head": 16, "group": 1, "query": 4096, "dim": 128, "width": 128}
_BLOCKS = {"length": 32, "stride": 16, "block_size": 64}
_COMPRESSED = (
    {**_SMALL, **_BLOCKS, "block": 31, "count": 4},
    {**_MIDDLE, **_BLOCKS, "block": 127, "count": 8},
    {**_LARGE, **_BLOCKS, "block": 255, "count": 16},
)
_SELECTED = (
    {**_SMALL, **_BLOCKS, "key": 512, "count": 4},
    {**_MIDDLE, **_BLOCKS, "key": 2048, "count": 8},
    {**_LARGE, **_BLOCKS, "key": 4096, "count": 16},
)
_OWN, _FIRST, _BEFORE = 3e9, 2e9, 1e9


@operator(
    Cpp(
        _SOURCE,
        saved={"logsumexp": "batch head query"},
        backward="query key value out logsumexp dout -> dquery dkey dvalue",
    ),
    half=("query", "key", "value"),
    multiples={"head": "group"},
    at_least={"length": 1, "stride": 1},
    sizes=_COMPRESSED,
)
def compressed_attention(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group block dim"],
    value: Float[Tensor, "batch group block width"],
    length: int,
    stride: int,
    scale: float | None = None,
    start: int = 0,
) -> Float[Tensor, "batch head query width"]:
    """Attention to blocks of tokens that end at the position of the query or before (eq. 7).

    Block i stands for the tokens ``i stride`` to ``i stride + length - 1``. Queries that see no
    block get zeros. The memory of the CPU kernel is linear in queries and blocks.

    Args:
        query: Queries at positions ``start``, ``start + 1``, ….
        key: Compressed keys; ``head`` is a multiple of ``group``.
        value: Compressed values.
        length: Tokens of a block.
        stride: Tokens from one block to the next.
        scale: Factor of the logits, ``dim ** -0.5`` when None.
        start: Position of the first query.

    Source: Yuan et al., arXiv 2502.11089, section 3.3.1.
    """
    batch, heads, queries, _ = query.shape
    blocks = key.shape[2]
    if blocks == 0:
        return ops.zeros((batch, heads, queries, value.shape[3]), query.dtype)
    ended = _ended(queries, blocks, length, stride, start).reshape((1, 1, queries, blocks))
    return _shared(query, key, value, ended, scale)


@operator(
    Cpp(_SOURCE),
    multiples={"head": "group"},
    at_least={"length": 1, "stride": 1, "block_size": 1, "count": 1},
    sizes=_COMPRESSED,
)
def select_blocks(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group block dim"],
    length: int,
    stride: int,
    block_size: int,
    count: int,
    scale: float | None = None,
    start: int = 0,
) -> Int[Tensor, "batch group query count"]:
    """The blocks of ``block_size`` tokens that each query attends to; no gradient.

    Always the block of the query itself, the first one and the one before its own, in this order
    of preference if ``count`` is below 3; then those of highest importance, of equal ones the
    earlier. The importance of a block is the probability that attention to the compressed blocks
    gives to its tokens: the probability of a compressed block (eq. 8) counts once for each of its
    strides that starts in the block (eq. 9), summed over the heads of the group (eq. 10). Only
    blocks that start at the position of the query or before are chosen (eq. 11).

    Args:
        query: Queries at positions ``start``, ``start + 1``, ….
        key: Compressed keys, as in `compressed_attention`.
        length: Tokens of a compressed block.
        stride: Tokens from one compressed block to the next.
        block_size: Tokens of a block to select; a multiple of ``stride`` in the paper.
        count: Blocks to select.
        scale: Factor of the logits, ``dim ** -0.5`` when None.
        start: Position of the first query.

    Returns:
        Numbers of the blocks, ascending; -1 at the end where fewer than ``count`` exist.

    Source: Yuan et al., arXiv 2502.11089, section 3.3.2.
    """
    batch, heads, queries, dim = query.shape
    groups, blocks = key.shape[1], key.shape[2]
    available = (start + queries - 1) // block_size + 1
    dtype = mstype.float64 if query.dtype == mstype.float64 else mstype.float32
    if blocks == 0:
        score = ops.zeros((batch, groups, queries, available), dtype)
    else:
        if scale is None:
            scale = float(dim) ** -0.5
        ended = _ended(queries, blocks, length, stride, start)
        rows = (query * scale).reshape((batch, groups, -1, dim))
        logits = product(rows, key, turn_right=True).astype(dtype)
        logits = logits.reshape((batch, groups, heads // groups, queries, blocks))
        logits = ops.where(ended, logits, ops.full_like(logits, _MASKED))
        probability = ops.where(ended, finite_softmax(logits), ops.zeros_like(logits)).sum(axis=2)
        score = _importance(probability, available, length, stride, block_size)
    own = (ops.arange(0, queries) + start).reshape((queries, 1)) // block_size
    number = ops.arange(0, available).reshape((1, available))
    # NaN compares with nothing; as the least of all it keeps the order total.
    score = ops.where(score >= 0, score, ops.full_like(score, -1.0))
    score = ops.where(number + 1 == own, ops.full_like(score, _BEFORE), score)
    score = ops.where(number == 0, ops.full_like(score, _FIRST), score)
    score = ops.where(number == own, ops.full_like(score, _OWN), score)
    score = ops.where(number <= own, score, ops.full_like(score, -2.0))
    chosen: tuple[Tensor, ...] = ()
    for _ in range(count):
        best = ops.argmax(score, -1).expand_dims(-1)
        exists = score.max(axis=-1, keepdims=True) > -2.0
        chosen = (*chosen, ops.where(exists, best, ops.full_like(best, available)))
        score = ops.where(number == best, ops.full_like(score, -3.0), score)
    blocks_of = ops.sort(ops.cat(chosen, -1).astype(mstype.int32), -1)[0]
    return ops.where(blocks_of < available, blocks_of, ops.full_like(blocks_of, -1))


@operator(
    Cpp(
        _SOURCE,
        saved={"logsumexp": "batch head query"},
        backward="query key value blocks out logsumexp dout -> dquery dkey dvalue",
    ),
    half=("query", "key", "value"),
    multiples={"head": "group"},
    at_least={"block_size": 1},
    below={"blocks": "key//block_size+1"},
    sizes=_SELECTED,
)
def selected_attention(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group key dim"],
    value: Float[Tensor, "batch group key width"],
    blocks: Int[Tensor, "batch group query count"],
    block_size: int,
    scale: float | None = None,
) -> Float[Tensor, "batch head query width"]:
    """Causal attention of each query to its own choice of blocks of keys.

    The heads of a group share the choice. The last query is aligned with the last key. The work of
    the CPU kernel is linear in ``count block_size`` per query, its memory in queries and keys.

    Args:
        query: Queries.
        key: Keys; ``head`` is a multiple of ``group``.
        value: Values.
        blocks: Block j holds the keys from ``j block_size``. In any order; one that is listed
            twice counts once, one that does not exist, such as -1, not at all. A query without a
            block gets zeros.
        block_size: Tokens of a block.
        scale: Factor of the logits, ``dim ** -0.5`` when None.

    Source: Yuan et al., arXiv 2502.11089, section 3.3.2.
    """
    batch, heads, queries, _ = query.shape
    keys, count = key.shape[2], blocks.shape[3]
    if keys * count == 0:
        return ops.zeros((batch, heads, queries, value.shape[3]), query.dtype)
    position = ops.arange(0, keys)
    block_of = (position // block_size).reshape((1, 1, 1, keys))
    row = ops.arange(0, queries).reshape((1, 1, queries, 1)) + (keys - queries)
    listed = block_of == blocks[..., :1]
    for index in range(1, count):
        listed = ops.logical_or(listed, block_of == blocks[..., index : index + 1])
    allowed = ops.logical_and(listed, position.reshape((1, 1, 1, keys)) <= row)
    return _shared(query, key, value, allowed, scale)


def _shared(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group key dim"],
    value: Float[Tensor, "batch group key width"],
    mask: Bool[Tensor, "#batch #group query key"],
    scale: float | None,
) -> Float[Tensor, "batch head query width"]:
    """Attention with one mask for all heads of a group, whose queries become those of one head."""
    batch, heads, queries, dim = query.shape
    groups, keys = key.shape[1], key.shape[2]
    share = heads // groups
    rows = query.reshape((batch, groups, share * queries, dim))
    mask = mask.expand_dims(2).broadcast_to((*mask.shape[:2], share, queries, keys))
    mask = mask.reshape((*mask.shape[:2], share * queries, keys))
    out = _attention(rows, key, value, mask, None, False, None, scale)
    return out.reshape((batch, heads, queries, value.shape[3]))


def _ended(
    queries: int, blocks: int, length: int, stride: int, start: int
) -> Bool[Tensor, "query block"]:
    """True where a compressed block ends at the position of a query or before."""
    end = ops.arange(0, blocks).reshape((1, blocks)) * stride + (length - 1)
    return end <= ops.arange(0, queries).reshape((queries, 1)) + start


def _importance(
    probability: Float[Tensor, "batch group query block"],
    available: int,
    length: int,
    stride: int,
    block_size: int,
) -> Float[Tensor, "batch group query available"]:
    batch, groups, queries, blocks = probability.shape
    strides = (available * block_size + stride - 1) // stride
    covered = (length + stride - 1) // stride
    padded = probability
    if covered > 1:
        before = ops.zeros((batch, groups, queries, covered - 1), probability.dtype)
        padded = ops.cat((before, padded), -1)
    if strides > blocks:
        after = ops.zeros((batch, groups, queries, strides - blocks), probability.dtype)
        padded = ops.cat((padded, after), -1)
    share = padded[..., covered - 1 : covered - 1 + strides]
    for index in range(1, covered):
        share = share + padded[..., covered - 1 - index : covered - 1 - index + strides]
    number = ops.arange(0, available)
    first = (number * block_size + (stride - 1)) // stride
    score = ops.zeros((batch, groups, queries, available), probability.dtype)
    for index in range((block_size + stride - 1) // stride):
        at = first + index
        inside = at * stride < (number + 1) * block_size
        part = ops.gather(share, ops.clamp(at, 0, strides - 1), -1)
        score = score + ops.where(inside, part, ops.zeros_like(part))
    return score

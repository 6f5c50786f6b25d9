"""The coarse branch of Native Sparse Attention (arXiv 2502.11089, section 3.3.1 and 3.3.2).

Block ``i`` stands for the tokens from ``i stride`` to ``i stride + length`` and is visible from the
position of its last token on.
"""
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"

from typing import no_type_check

import triton
import triton.language as tl

from .softmax import absorb, finish


@triton.jit
@no_type_check
def visible_blocks(position, length, stride):
    """How many blocks a query at ``position`` sees; none where this is not positive."""
    return (position + 1 - length + stride) // stride


@triton.jit
@no_type_check
def compress_blocks(
    x,
    weight,
    out,
    tasks,
    groups,
    tiles,
    blocks,
    length,
    stride,
    dim,
    x_batch,
    x_group,
    x_token,
    MEAN: tl.constexpr,
    BLOCKS: tl.constexpr,
    DIM: tl.constexpr,
):
    """A task is one tile of the blocks of one group: weighted sums of their tokens."""
    column = tl.arange(0, DIM)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        block = task % tiles * BLOCKS + tl.arange(0, BLOCKS)
        group = (task // tiles % groups).to(tl.int64)
        batch = (task // tiles // groups).to(tl.int64)
        valid = (block < blocks)[:, None] & (column < dim)[None, :]
        start = x + batch * x_batch + group * x_group
        total = tl.zeros([BLOCKS, DIM], tl.float32)
        for offset in range(0, length):
            token = (block * stride + offset).to(tl.int64)
            row = tl.load(start + token[:, None] * x_token + column[None, :], mask=valid, other=0.0)
            if MEAN:
                total += row.to(tl.float32)
            else:
                factor = tl.load(weight + group * length + offset).to(tl.float32)
                total += row.to(tl.float32) * factor
        if MEAN:
            total = total / length
        place = ((batch * groups + group) * blocks + block)[:, None] * dim + column[None, :]
        tl.store(out + place, total.to(out.dtype.element_ty), mask=valid)


@triton.jit
@no_type_check
def compressed_attention(
    query,
    key,
    value,
    out,
    logsum,
    scale,
    tasks,
    tiles,
    heads,
    share,
    queries,
    blocks,
    first_position,
    length,
    stride,
    dim,
    width,
    query_batch,
    query_head,
    query_token,
    key_batch,
    key_group,
    key_block,
    value_batch,
    value_group,
    value_block,
    QUERIES: tl.constexpr,
    BLOCKS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A task is one tile of the queries of one head; the longest tasks come first."""
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        first = (tiles - 1 - task % tiles) * QUERIES
        local = first + tl.arange(0, QUERIES)
        head = (task // tiles % heads).to(tl.int64)
        batch = (task // tiles // heads).to(tl.int64)
        group = head // share
        q = tl.load(
            query
            + batch * query_batch
            + head * query_head
            + local[:, None].to(tl.int64) * query_token
            + column[None, :],
            mask=(local < queries)[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        limit = visible_blocks(first_position + local, length, stride)
        final = first_position + tl.minimum(first + QUERIES, queries) - 1
        end = tl.minimum(visible_blocks(final, length, stride), blocks)
        largest = tl.full([QUERIES], float("-inf"), tl.float32)
        total = tl.zeros([QUERIES], tl.float32)
        mean = tl.zeros([QUERIES, WIDTH], tl.float32)
        for start in range(0, end, BLOCKS):
            block = start + tl.arange(0, BLOCKS)
            k = tl.load(
                key
                + batch * key_batch
                + group * key_group
                + block[:, None].to(tl.int64) * key_block
                + column[None, :],
                mask=(block < blocks)[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            v = tl.load(
                value
                + batch * value_batch
                + group * value_group
                + block[:, None].to(tl.int64) * value_block
                + wide[None, :],
                mask=(block < blocks)[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            seen = (block < blocks)[None, :] & (block[None, :] < limit[:, None])
            scores = tl.where(seen, scores, float("-inf"))
            largest, total, mean = absorb(scores, v, largest, total, mean)
        mean, logs = finish(largest, total, mean)
        row = (batch * heads + head) * queries + local
        tl.store(
            out + row[:, None] * width + wide[None, :],
            mean.to(out.dtype.element_ty),
            mask=(local < queries)[:, None] & (wide < width)[None, :],
        )
        tl.store(logsum + row, logs, mask=local < queries)

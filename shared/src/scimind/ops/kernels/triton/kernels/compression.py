"""The coarse branch of Native Sparse Attention (arXiv 2502.11089, section 3.3.1 and 3.3.2).

Block ``i`` stands for the tokens from ``i stride`` to ``i stride + length`` and is visible from the
position of its last token on.
"""
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"

from typing import no_type_check

import triton
import triton.language as tl

from scimind.ops.kernels.triton.kernels.softmax import absorb, finish


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
    logsumexp,
    scale,
    tasks,
    tiles,
    heads,
    share,
    queries,
    blocks,
    start_position,
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
        limit = visible_blocks(start_position + local, length, stride)
        final = start_position + tl.minimum(first + QUERIES, queries) - 1
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
        tl.store(logsumexp + row, logs, mask=local < queries)


@triton.jit
@no_type_check
def compressed_attention_dquery(
    query,
    key,
    value,
    out,
    logsumexp,
    dout,
    dquery,
    delta,
    scale,
    tasks,
    tiles,
    heads,
    share,
    queries,
    blocks,
    start_position,
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
    """A task is one tile of the queries of one head; ``delta``, out times dout, is kept."""
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        first = (tiles - 1 - task % tiles) * QUERIES
        local = first + tl.arange(0, QUERIES)
        head = (task // tiles % heads).to(tl.int64)
        batch = (task // tiles // heads).to(tl.int64)
        group = head // share
        row = (batch * heads + head) * queries + local
        narrow = (local < queries)[:, None] & (column < dim)[None, :]
        broad = (local < queries)[:, None] & (wide < width)[None, :]
        q = tl.load(
            query
            + batch * query_batch
            + head * query_head
            + local[:, None].to(tl.int64) * query_token
            + column[None, :],
            mask=narrow,
            other=0.0,
        )
        do = tl.load(dout + row[:, None] * width + wide[None, :], mask=broad, other=0.0)
        mean = tl.load(out + row[:, None] * width + wide[None, :], mask=broad, other=0.0)
        product = tl.sum(do.to(tl.float32) * mean.to(tl.float32), 1)
        logs = tl.load(logsumexp + row, mask=local < queries, other=0.0)
        limit = visible_blocks(start_position + local, length, stride)
        final = start_position + tl.minimum(first + QUERIES, queries) - 1
        end = tl.minimum(visible_blocks(final, length, stride), blocks)
        slope = tl.zeros([QUERIES, DIM], tl.float32)
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
            weight = tl.where(seen, tl.exp(scores - logs[:, None]), 0.0)
            along = tl.dot(do, tl.trans(v), input_precision="ieee")
            dscores = weight * (along - product[:, None]) * scale
            slope = tl.dot(dscores.to(k.dtype), k, acc=slope, input_precision="ieee")
        tl.store(
            dquery + row[:, None] * dim + column[None, :],
            slope.to(dquery.dtype.element_ty),
            mask=narrow,
        )
        tl.store(delta + row, product, mask=local < queries)


@triton.jit
@no_type_check
def compressed_attention_dkey(
    query,
    key,
    value,
    logsumexp,
    dout,
    delta,
    dkey,
    dvalue,
    scale,
    tasks,
    tiles,
    heads,
    share,
    queries,
    blocks,
    start_position,
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
    """A task is one tile of the blocks of one group; it sums over queries and heads, in order."""
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    groups = heads // share
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        first = task % tiles * BLOCKS
        block = first + tl.arange(0, BLOCKS)
        group = (task // tiles % groups).to(tl.int64)
        batch = (task // tiles // groups).to(tl.int64)
        narrow = (block < blocks)[:, None] & (column < dim)[None, :]
        broad = (block < blocks)[:, None] & (wide < width)[None, :]
        k = tl.load(
            key
            + batch * key_batch
            + group * key_group
            + block[:, None].to(tl.int64) * key_block
            + column[None, :],
            mask=narrow,
            other=0.0,
        )
        v = tl.load(
            value
            + batch * value_batch
            + group * value_group
            + block[:, None].to(tl.int64) * value_block
            + wide[None, :],
            mask=broad,
            other=0.0,
        )
        dk = tl.zeros([BLOCKS, DIM], tl.float32)
        dv = tl.zeros([BLOCKS, WIDTH], tl.float32)
        # The first query that sees the first of these blocks.
        begin = tl.maximum(first * stride + length - 1 - start_position, 0)
        steps = tl.cdiv(tl.maximum(queries - begin, 0), QUERIES)
        for step in range(0, share * steps):
            head = group * share + step // steps
            local = begin + step % steps * QUERIES + tl.arange(0, QUERIES)
            row = (batch * heads + head) * queries + local
            q = tl.load(
                query
                + batch * query_batch
                + head * query_head
                + local[:, None].to(tl.int64) * query_token
                + column[None, :],
                mask=(local < queries)[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            do = tl.load(
                dout + row[:, None] * width + wide[None, :],
                mask=(local < queries)[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            logs = tl.load(logsumexp + row, mask=local < queries, other=0.0)
            product = tl.load(delta + row, mask=local < queries, other=0.0)
            limit = visible_blocks(start_position + local, length, stride)
            seen = (local < queries)[:, None] & (block[None, :] < limit[:, None])
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            weight = tl.where(seen, tl.exp(scores - logs[:, None]), 0.0)
            along = tl.dot(do, tl.trans(v), input_precision="ieee")
            dscores = weight * (along - product[:, None]) * scale
            dv = tl.dot(tl.trans(weight.to(do.dtype)), do, acc=dv, input_precision="ieee")
            dk = tl.dot(tl.trans(dscores.to(q.dtype)), q, acc=dk, input_precision="ieee")
        row = (batch * groups + group) * blocks + block
        tl.store(
            dkey + row[:, None] * dim + column[None, :],
            dk.to(dkey.dtype.element_ty),
            mask=narrow,
        )
        tl.store(
            dvalue + row[:, None] * width + wide[None, :],
            dv.to(dvalue.dtype.element_ty),
            mask=broad,
        )

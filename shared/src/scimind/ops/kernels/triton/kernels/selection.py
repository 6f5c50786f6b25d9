"""The fine branch of Native Sparse Attention (arXiv 2502.11089, section 3.3.2).

Selection block ``j`` holds the keys from ``j block_size`` on. All heads of a group attend to the
same blocks, so a tile has the heads as rows and one query, whose blocks are contiguous in memory.
The gradients of keys and values are sums over lists of the queries that selected a block; long
lists are cut into chunks, whose sums are added in order, so no atomics are needed and the result
is the same in every run.
"""
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"

from typing import no_type_check

import triton
import triton.language as tl

from scimind.ops.kernels.triton.kernels.compression import visible_blocks
from scimind.ops.kernels.triton.kernels.softmax import absorb, finish


@triton.jit
@no_type_check
def block_scores(
    query,
    key,
    logsumexp,
    score,
    scale,
    tasks,
    groups,
    query_tiles,
    tiles,
    share,
    queries,
    first_query,
    chunk,
    blocks,
    selections,
    start_position,
    length,
    stride,
    block_size,
    dim,
    query_batch,
    query_head,
    query_token,
    key_batch,
    key_group,
    key_block,
    QUERIES: tl.constexpr,
    BLOCKS: tl.constexpr,
    SELECTIONS: tl.constexpr,
    DIM: tl.constexpr,
):
    """A task is one tile [query selection] of one group, for ``chunk`` queries of all.

    The probabilities of the compressed blocks, summed over the heads, each times how many of its
    strides start in the selection block (equations 8 to 10).
    """
    column = tl.arange(0, DIM)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        start = task % tiles * SELECTIONS
        within = task // tiles % query_tiles * QUERIES
        group = (task // tiles // query_tiles % groups).to(tl.int64)
        batch = (task // tiles // query_tiles // groups).to(tl.int64)
        selection = start + tl.arange(0, SELECTIONS)
        row = within + tl.arange(0, QUERIES)
        local = first_query + row
        valid = (row < chunk) & (local < queries)
        limit = visible_blocks(start_position + local, length, stride)
        final = start_position + tl.minimum(first_query + within + QUERIES, queries) - 1
        # Counted in strides: block i covers [i, i + covered), selection j what starts in it.
        covered = tl.cdiv(length, stride)
        opens = tl.cdiv(selection * block_size, stride)
        closes = tl.cdiv((selection + 1) * block_size, stride)
        end = tl.minimum(visible_blocks(final, length, stride), blocks)
        end = tl.minimum(end, tl.cdiv((start + SELECTIONS) * block_size, stride))
        begin = tl.maximum(tl.cdiv(start * block_size, stride) - covered + 1, 0)
        found = tl.zeros([QUERIES, SELECTIONS], tl.float32)
        for tile in range(begin, end, BLOCKS):
            block = tile + tl.arange(0, BLOCKS)
            k = tl.load(
                key
                + batch * key_batch
                + group * key_group
                + block[:, None].to(tl.int64) * key_block
                + column[None, :],
                mask=(block < blocks)[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            seen = (block < end)[None, :] & (block[None, :] < limit[:, None])
            total = tl.zeros([QUERIES, BLOCKS], tl.float32)
            for member in range(0, share):
                head = group * share + member
                q = tl.load(
                    query
                    + batch * query_batch
                    + head * query_head
                    + local[:, None].to(tl.int64) * query_token
                    + column[None, :],
                    mask=valid[:, None] & (column < dim)[None, :],
                    other=0.0,
                )
                place = (batch * groups * share + head) * queries + local
                logs = tl.load(logsumexp + place, mask=valid, other=0.0)
                scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
                total += tl.where(seen, tl.exp(scores - logs[:, None]), 0.0)
            right = tl.minimum(block[:, None] + covered, closes[None, :])
            overlap = tl.maximum(right - tl.maximum(block[:, None], opens[None, :]), 0)
            found = tl.dot(total, overlap.to(tl.float32), acc=found, input_precision="ieee")
        place = ((batch * groups + group) * chunk + row)[:, None] * selections + selection[None, :]
        tl.store(score + place, found, mask=valid[:, None] & (selection < selections)[None, :])


@triton.jit
@no_type_check
def best_blocks(
    score,
    blocks,
    tasks,
    queries,
    first_query,
    chunk,
    selections,
    start_position,
    block_size,
    count,
    SELECTIONS: tl.constexpr,
):
    """A task is one query of one group: the ``count`` best of the blocks that it sees, ascending.

    Its own block, the first one and the one before its own are better than all others; the earlier
    of two equal blocks is better; -1 follows the last one.
    """
    selection = tl.arange(0, SELECTIONS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        query = first_query + task % chunk
        group = (task // chunk).to(tl.int64)
        own = (start_position + query) // block_size
        row = (group * chunk + task % chunk) * selections
        rest = tl.load(score + row + selection, mask=selection < selections, other=0.0)
        rest = tl.where(rest >= 0, rest, -1.0)  # a NaN is the least
        rest = tl.where(selection + 1 == own, 1e9, rest)
        rest = tl.where(selection == 0, 2e9, rest)
        rest = tl.where(selection == own, 3e9, rest)
        rest = tl.where((selection < selections) & (selection <= own), rest, -2.0)
        for _ in range(0, count):
            best = tl.max(rest, 0)
            index = tl.min(tl.where(rest == best, selection, SELECTIONS), 0)
            index = tl.where(best > -2.0, index, SELECTIONS)
            rest = tl.where(selection == index, -3.0, rest)
        for place in range(0, count):
            index = tl.min(tl.where(rest == -3.0, selection, SELECTIONS), 0)
            rest = tl.where(selection == index, -4.0, rest)
            index = tl.where(index == SELECTIONS, -1, index)
            tl.store(blocks + (group * queries + query) * count + place, index)


@triton.jit
@no_type_check
def distinct_blocks(
    blocks,
    out,
    tasks,
    rows,
    count,
    selections,
    ROWS: tl.constexpr,
    COUNT: tl.constexpr,
):
    """A task is a tile of the ``rows`` lists: -1 for what is no block or was listed before."""
    slot = tl.arange(0, COUNT)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        row = tl.cast(task, tl.int64) * ROWS + tl.arange(0, ROWS)
        valid = row < rows
        listed = tl.load(
            blocks + row[:, None] * count + slot[None, :],
            mask=valid[:, None] & (slot < count)[None, :],
            other=-1,
        )
        for place in range(0, count):
            block = tl.load(blocks + row * count + place, mask=valid, other=-1)
            again = (listed == block[:, None]) & (slot < place)[None, :]
            again = tl.max(again.to(tl.int32), 1) > 0
            block = tl.where(again | (block < 0) | (block >= selections), -1, block)
            tl.store(out + row * count + place, block, mask=valid)


@triton.jit
@no_type_check
def selected_attention(
    query,
    key,
    value,
    blocks,
    out,
    logsumexp,
    scale,
    tasks,
    groups,
    share,
    queries,
    keys,
    count,
    block_size,
    dim,
    width,
    query_batch,
    query_head,
    query_token,
    key_batch,
    key_group,
    key_token,
    value_batch,
    value_group,
    value_token,
    HEADS: tl.constexpr,
    KEYS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A task is one query of one group."""
    member = tl.arange(0, HEADS)
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    parts = tl.cdiv(block_size, KEYS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        local = (task % queries).to(tl.int64)
        group = (task // queries % groups).to(tl.int64)
        batch = (task // queries // groups).to(tl.int64)
        position = keys - queries + task % queries
        head = group * share + member
        q = tl.load(
            query
            + batch * query_batch
            + local * query_token
            + head[:, None] * query_head
            + column[None, :],
            mask=(member < share)[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        largest = tl.full([HEADS], float("-inf"), tl.float32)
        total = tl.zeros([HEADS], tl.float32)
        mean = tl.zeros([HEADS, WIDTH], tl.float32)
        chosen = blocks + ((batch * groups + group) * queries + local) * count
        for step in range(0, count * parts):
            block = tl.load(chosen + step // parts)
            offset = step % parts * KEYS + tl.arange(0, KEYS)
            token = block * block_size + offset
            end = tl.minimum(block_size, position + 1 - block * block_size)
            seen = offset < tl.where(block < 0, 0, end)
            k = tl.load(
                key
                + batch * key_batch
                + group * key_group
                + token[:, None].to(tl.int64) * key_token
                + column[None, :],
                mask=seen[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            v = tl.load(
                value
                + batch * value_batch
                + group * value_group
                + token[:, None].to(tl.int64) * value_token
                + wide[None, :],
                mask=seen[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            scores = tl.where(seen[None, :], scores, float("-inf"))
            largest, total, mean = absorb(scores, v, largest, total, mean)
        mean, logs = finish(largest, total, mean)
        row = (batch * groups * share + head) * queries + local
        tl.store(
            out + row[:, None] * width + wide[None, :],
            mean.to(out.dtype.element_ty),
            mask=(member < share)[:, None] & (wide < width)[None, :],
        )
        tl.store(logsumexp + row, logs, mask=member < share)


@triton.jit
@no_type_check
def selected_attention_dquery(
    query,
    key,
    value,
    blocks,
    out,
    logsumexp,
    dout,
    dquery,
    delta,
    scale,
    tasks,
    groups,
    share,
    queries,
    keys,
    count,
    block_size,
    dim,
    width,
    query_batch,
    query_head,
    query_token,
    key_batch,
    key_group,
    key_token,
    value_batch,
    value_group,
    value_token,
    HEADS: tl.constexpr,
    KEYS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A task is one query of one group; ``delta`` is the product of ``out`` and ``dout``, kept."""
    member = tl.arange(0, HEADS)
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    parts = tl.cdiv(block_size, KEYS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        local = (task % queries).to(tl.int64)
        group = (task // queries % groups).to(tl.int64)
        batch = (task // queries // groups).to(tl.int64)
        position = keys - queries + task % queries
        head = group * share + member
        row = (batch * groups * share + head) * queries + local
        narrow = (member < share)[:, None] & (column < dim)[None, :]
        broad = (member < share)[:, None] & (wide < width)[None, :]
        place = row[:, None] * width + wide[None, :]
        q = tl.load(
            query
            + batch * query_batch
            + local * query_token
            + head[:, None] * query_head
            + column[None, :],
            mask=narrow,
            other=0.0,
        )
        do = tl.load(dout + place, mask=broad, other=0.0)
        mean = tl.load(out + place, mask=broad, other=0.0)
        product = tl.sum(do.to(tl.float32) * mean.to(tl.float32), 1)
        logs = tl.load(logsumexp + row, mask=member < share, other=0.0)
        slope = tl.zeros([HEADS, DIM], tl.float32)
        chosen = blocks + ((batch * groups + group) * queries + local) * count
        for step in range(0, count * parts):
            block = tl.load(chosen + step // parts)
            offset = step % parts * KEYS + tl.arange(0, KEYS)
            token = block * block_size + offset
            end = tl.minimum(block_size, position + 1 - block * block_size)
            seen = offset < tl.where(block < 0, 0, end)
            k = tl.load(
                key
                + batch * key_batch
                + group * key_group
                + token[:, None].to(tl.int64) * key_token
                + column[None, :],
                mask=seen[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            v = tl.load(
                value
                + batch * value_batch
                + group * value_group
                + token[:, None].to(tl.int64) * value_token
                + wide[None, :],
                mask=seen[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            weight = tl.where(seen[None, :], tl.exp(scores - logs[:, None]), 0.0)
            along = tl.dot(do, tl.trans(v), input_precision="ieee")
            dscores = weight * (along - product[:, None]) * scale
            slope = tl.dot(dscores.to(k.dtype), k, acc=slope, input_precision="ieee")
        tl.store(
            dquery + row[:, None] * dim + column[None, :],
            slope.to(dquery.dtype.element_ty),
            mask=narrow,
        )
        tl.store(delta + row, product, mask=member < share)


@triton.jit
@no_type_check
def chunk_of(begins, block, chunk):
    """The first chunk of a block; enough numbers lie between those of two neighbours."""
    return tl.load(begins + block) // chunk + block


@triton.jit
@no_type_check
def selected_attention_chunk(
    query,
    key,
    value,
    logsumexp,
    dout,
    delta,
    order,
    begins,
    owner,
    owners,
    dkey,
    dvalue,
    scale,
    tasks,
    groups,
    share,
    queries,
    keys,
    count,
    block_size,
    selections,
    chunk,
    dim,
    width,
    query_batch,
    query_head,
    query_token,
    key_batch,
    key_group,
    key_token,
    value_batch,
    value_group,
    value_token,
    HEADS: tl.constexpr,
    KEYS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A task is one tile of the keys of one chunk of the queries that selected a block.

    Block ``b`` of all (batch, group, block) was selected by the entries of ``order`` from
    ``begins[b]`` to ``begins[b + 1]``, each an index into ``blocks``. Its first chunk is
    ``chunk_of(b)``, and chunk ``c`` belongs to block ``owner[c]``. The sums of each chunk go to
    ``dkey`` [chunk block_size dim] and ``dvalue`` [chunk block_size width].
    """
    member = tl.arange(0, HEADS)
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    parts = tl.cdiv(block_size, KEYS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        number = task // parts
        # A chunk that no block needs begins after the list of the last one, and so is empty.
        block = tl.minimum(tl.load(owner + number), owners - 1)
        begin = tl.load(begins + block) + (number - chunk_of(begins, block, chunk)) * chunk
        end = tl.minimum(begin + chunk, tl.load(begins + block + 1))
        group = (block // selections % groups).to(tl.int64)
        batch = (block // selections // groups).to(tl.int64)
        offset = task % parts * KEYS + tl.arange(0, KEYS)
        token = block % selections * block_size + offset
        inside = (offset < block_size) & (token < keys)
        k = tl.load(
            key
            + batch * key_batch
            + group * key_group
            + token[:, None].to(tl.int64) * key_token
            + column[None, :],
            mask=inside[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        v = tl.load(
            value
            + batch * value_batch
            + group * value_group
            + token[:, None].to(tl.int64) * value_token
            + wide[None, :],
            mask=inside[:, None] & (wide < width)[None, :],
            other=0.0,
        )
        head = group * share + member
        dk = tl.zeros([KEYS, DIM], tl.float32)
        dv = tl.zeros([KEYS, WIDTH], tl.float32)
        for entry in range(begin, end):
            local = tl.load(order + entry) // count % queries
            position = keys - queries + local
            row = (batch * groups * share + head) * queries + local
            q = tl.load(
                query
                + batch * query_batch
                + local.to(tl.int64) * query_token
                + head[:, None] * query_head
                + column[None, :],
                mask=(member < share)[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            do = tl.load(
                dout + row[:, None] * width + wide[None, :],
                mask=(member < share)[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            logs = tl.load(logsumexp + row, mask=member < share, other=0.0)
            product = tl.load(delta + row, mask=member < share, other=0.0)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            seen = (member < share)[:, None] & (inside & (token <= position))[None, :]
            weight = tl.where(seen, tl.exp(scores - logs[:, None]), 0.0)
            along = tl.dot(do, tl.trans(v), input_precision="ieee")
            dscores = weight * (along - product[:, None]) * scale
            dv = tl.dot(tl.trans(weight.to(do.dtype)), do, acc=dv, input_precision="ieee")
            dk = tl.dot(tl.trans(dscores.to(q.dtype)), q, acc=dk, input_precision="ieee")
        place = tl.cast(number, tl.int64) * block_size + offset
        tl.store(
            dkey + place[:, None] * dim + column[None, :],
            dk,
            mask=(offset < block_size)[:, None] & (column < dim)[None, :],
        )
        tl.store(
            dvalue + place[:, None] * width + wide[None, :],
            dv,
            mask=(offset < block_size)[:, None] & (wide < width)[None, :],
        )


@triton.jit
@no_type_check
def sum_chunks(
    partial,
    begins,
    out,
    tasks,
    selections,
    keys,
    block_size,
    chunk,
    dim,
    KEYS: tl.constexpr,
    DIM: tl.constexpr,
):
    """A task is one tile of the keys of one block: the sums of its chunks, in order."""
    column = tl.arange(0, DIM)
    parts = tl.cdiv(block_size, KEYS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        block = task // parts
        offset = task % parts * KEYS + tl.arange(0, KEYS)
        token = block % selections * block_size + offset
        inside = (offset < block_size) & (token < keys)
        valid = inside[:, None] & (column < dim)[None, :]
        total = tl.zeros([KEYS, DIM], tl.float32)
        first, last = chunk_of(begins, block, chunk), chunk_of(begins, block + 1, chunk)
        for number in range(first, last):
            place = tl.cast(number, tl.int64) * block_size + offset
            total += tl.load(
                partial + place[:, None] * dim + column[None, :], mask=valid, other=0.0
            )
        group = (block // selections).to(tl.int64)
        place = (group * keys + token)[:, None] * dim + column[None, :]
        tl.store(out + place, total.to(out.dtype.element_ty), mask=valid)

"""Attention of the newest tokens to a cache in pages, in pieces that are combined afterwards.

The pages of one sequence are dealt out to ``splits`` programs, so that few long sequences fill the
device (flash-decoding); each writes a weighted mean and a log-sum-exp.
"""
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"

from typing import no_type_check

import triton
import triton.language as tl

from scimind.ops.kernels.triton.kernels.softmax import absorb, finish


@triton.jit
@no_type_check
def share_of(split, splits, count, slots, TOKENS: tl.constexpr):
    """The tiles [first, last) of one split; a page is cut into tiles, so none spans two pages."""
    tiles = tl.cdiv(count, slots) * tl.cdiv(slots, TOKENS)
    share = tl.cdiv(tiles, splits)
    first = split * share
    return first, tl.minimum(first + share, tiles)


@triton.jit
@no_type_check
def paged_attention(
    query,
    key,
    value,
    table,
    length,
    partial,
    logsumexp,
    scale,
    tasks,
    splits,
    groups,
    share,
    blocks,
    slots,
    pages,
    dim,
    width,
    key_page,
    key_slot,
    key_group,
    value_page,
    value_slot,
    value_group,
    HEADS: tl.constexpr,
    TOKENS: tl.constexpr,
    DIM: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A task is one split of one group (of ``share`` heads) of one sequence."""
    head = tl.arange(0, HEADS)
    token = tl.arange(0, TOKENS)
    column = tl.arange(0, DIM)
    wide = tl.arange(0, WIDTH)
    per_page = tl.cdiv(slots, TOKENS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        split = task % splits
        group = (task // splits % groups).to(tl.int64)
        batch = (task // splits // groups).to(tl.int64)
        count = tl.minimum(tl.load(length + batch), blocks * slots)
        first, last = share_of(split, splits, count, slots, TOKENS)
        row = (batch * groups + group) * share + head
        q = tl.load(
            query + row[:, None] * dim + column[None, :],
            mask=(head < share)[:, None] & (column < dim)[None, :],
            other=0.0,
        )
        largest = tl.full([HEADS], float("-inf"), tl.float32)
        total = tl.zeros([HEADS], tl.float32)
        out = tl.zeros([HEADS, WIDTH], tl.float32)
        for tile in range(first, last):
            page = tl.load(table + batch * blocks + tile // per_page).to(tl.int64)
            slot = tile % per_page * TOKENS + token
            end = tl.minimum(slots, count - tile // per_page * slots)
            seen = slot < tl.where((page >= 0) & (page < pages), end, 0)
            k = tl.load(
                key
                + page * key_page
                + group * key_group
                + slot[:, None].to(tl.int64) * key_slot
                + column[None, :],
                mask=seen[:, None] & (column < dim)[None, :],
                other=0.0,
            )
            v = tl.load(
                value
                + page * value_page
                + group * value_group
                + slot[:, None].to(tl.int64) * value_slot
                + wide[None, :],
                mask=seen[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            scores = tl.where(seen[None, :], scores, float("-inf"))
            largest, total, out = absorb(scores, v, largest, total, out)
        out, logs = finish(largest, total, out)
        place = row * splits + split
        tl.store(
            partial + place[:, None] * width + wide[None, :],
            out,
            mask=(head < share)[:, None] & (wide < width)[None, :],
        )
        tl.store(logsumexp + place, logs, mask=head < share)


@triton.jit
@no_type_check
def latent_attention(
    query,
    query_rope,
    latent,
    rope,
    table,
    length,
    partial,
    logsumexp,
    scale,
    tasks,
    splits,
    tiles,
    rows,
    queries,
    blocks,
    slots,
    pages,
    rank,
    dim,
    latent_page,
    latent_slot,
    rope_page,
    rope_slot,
    ROWS: tl.constexpr,
    TOKENS: tl.constexpr,
    RANK: tl.constexpr,
    ROPE: tl.constexpr,
):
    """A task is one split of one tile of the ``rows`` (head, query) of one sequence.

    A tile of the latent cache is key and value at once, so it is read once.
    """
    token = tl.arange(0, TOKENS)
    column = tl.arange(0, RANK)
    turned = tl.arange(0, ROPE)
    per_page = tl.cdiv(slots, TOKENS)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        split = task % splits
        local = task // splits % tiles * ROWS + tl.arange(0, ROWS)
        batch = (task // splits // tiles).to(tl.int64)
        count = tl.minimum(tl.load(length + batch), blocks * slots)
        first, last = share_of(split, splits, count, slots, TOKENS)
        row = batch * rows + local
        q = tl.load(
            query + row[:, None] * rank + column[None, :],
            mask=(local < rows)[:, None] & (column < rank)[None, :],
            other=0.0,
        )
        q_rope = tl.load(
            query_rope + row[:, None] * dim + turned[None, :],
            mask=(local < rows)[:, None] & (turned < dim)[None, :],
            other=0.0,
        )
        # One more than the position of the query: the first token that it does not see.
        limit = count - queries + 1 + local % queries
        largest = tl.full([ROWS], float("-inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        out = tl.zeros([ROWS, RANK], tl.float32)
        for tile in range(first, last):
            page = tl.load(table + batch * blocks + tile // per_page).to(tl.int64)
            slot = tile % per_page * TOKENS + token
            end = tl.minimum(slots, count - tile // per_page * slots)
            seen = slot < tl.where((page >= 0) & (page < pages), end, 0)
            c = tl.load(
                latent
                + page * latent_page
                + slot[:, None].to(tl.int64) * latent_slot
                + column[None, :],
                mask=seen[:, None] & (column < rank)[None, :],
                other=0.0,
            )
            c_rope = tl.load(
                rope + page * rope_page + slot[:, None].to(tl.int64) * rope_slot + turned[None, :],
                mask=seen[:, None] & (turned < dim)[None, :],
                other=0.0,
            )
            scores = tl.dot(q_rope, tl.trans(c_rope), input_precision="ieee")
            scores = tl.dot(q, tl.trans(c), acc=scores, input_precision="ieee") * scale
            position = tile // per_page * slots + slot
            seen_by = seen[None, :] & (position[None, :] < limit[:, None])
            scores = tl.where(seen_by, scores, float("-inf"))
            largest, total, out = absorb(scores, c, largest, total, out)
        out, logs = finish(largest, total, out)
        place = row * splits + split
        tl.store(
            partial + place[:, None] * rank + column[None, :],
            out,
            mask=(local < rows)[:, None] & (column < rank)[None, :],
        )
        tl.store(logsumexp + place, logs, mask=local < rows)


@triton.jit
@no_type_check
def combine(
    partial,
    logsumexp,
    out,
    tasks,
    splits,
    width,
    SPLITS: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """A task is one row: the means of its splits, weighted by their sums of exponentials."""
    part = tl.arange(0, SPLITS)
    wide = tl.arange(0, WIDTH)
    for task in range(tl.program_id(0), tasks, tl.num_programs(0)):
        row = tl.cast(task, tl.int64)
        largest = tl.full([SPLITS], float("-inf"), tl.float32)
        total = tl.zeros([SPLITS], tl.float32)
        mean = tl.zeros([SPLITS, WIDTH], tl.float32)
        for first in range(0, splits, SPLITS):
            split = first + part
            logs = tl.load(
                logsumexp + row * splits + split, mask=split < splits, other=float("-inf")
            )
            given = tl.load(
                partial + (row * splits + split)[:, None] * width + wide[None, :],
                mask=(split < splits)[:, None] & (wide < width)[None, :],
                other=0.0,
            )
            larger = tl.maximum(largest, logs)
            shift = tl.where(larger == float("-inf"), 0.0, larger)
            weight = tl.exp(logs - shift)
            decay = tl.exp(largest - shift)
            mean = mean * decay[:, None] + given * weight[:, None]
            total = total * decay + weight
            largest = larger
        most = tl.max(largest, 0)
        scale = tl.exp(largest - tl.where(most == float("-inf"), 0.0, most))
        whole = tl.sum(total * scale, 0)
        mean = tl.sum(mean * scale[:, None], 0) / tl.where(whole == 0.0, 1.0, whole)
        tl.store(out + row * width + wide, mean.to(out.dtype.element_ty), mask=wide < width)

"""Attention to a paged cache through MindSpore's own interface."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
from benchmarks.integration import toolkit
from mindspore import Tensor, ops

LIBRARY = toolkit.build(Path(__file__).with_name("official.cc"))
RULES = {
    "query": (toolkit.FLOAT, "batch head dim"),
    "key_cache": (toolkit.FLOAT, "page slot group dim"),
    "value_cache": (toolkit.FLOAT, "page slot group width"),
    "block_table": (toolkit.INT, "batch blocks"),
    "length": (toolkit.INT, "batch"),
}


def plain(query, key_cache, value_cache, block_table, length, scale=None):
    """The same in MindSpore operators, for all devices and dtypes."""
    batch, heads, dim = query.shape
    pages, slot, groups, width = value_cache.shape
    tokens = block_table.shape[1] * slot
    table = ops.clamp(block_table, 0, pages - 1)
    key = ops.gather(key_cache, table, 0).reshape((batch, tokens, groups, dim))
    value = ops.gather(value_cache, table, 0).reshape((batch, tokens, groups, width))
    exists = ops.logical_and(block_table >= 0, block_table < pages).expand_dims(-1)
    within = ops.arange(0, tokens).reshape((1, -1, slot)) < length.reshape((batch, 1, 1))
    seen = ops.logical_and(exists, within).reshape((batch, 1, 1, tokens))
    rows = query.reshape((batch, groups, heads // groups, dim))
    scale = dim**-0.5 if scale is None else scale
    logits = ops.matmul(rows, key.transpose((0, 2, 3, 1))) * scale
    logits = ops.where(seen, logits, ops.full_like(logits, -1e30))
    weight = ops.softmax(logits, -1) * seen.astype(query.dtype)
    return ops.matmul(weight, value.transpose((0, 2, 1, 3))).reshape((batch, heads, width))


def _shape(query, key_cache, value_cache, *_):
    return [*query[:2], value_cache[3]]


_forward = toolkit.custom(LIBRARY, "paged_attention", _shape, ms.float32)


@ops.constexpr
def _chooses_kernel(given):
    sizes = toolkit.bind("paged_attention", RULES, given)
    toolkit.require_multiple("paged_attention", sizes, "head", "group")
    return toolkit.runs_kernel(LIBRARY, given)


def paged_attention(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    length: Tensor,
    scale: float | None = None,
) -> Tensor:
    """Attention of one query per sequence to its first ``length`` tokens; no gradient.

    Token t of sequence b lies in page ``block_table[b, t // slot]`` at ``t % slot``. The tokens of
    pages that do not exist are absent. A sequence without tokens gets zeros. ``scale`` is
    ``dim ** -0.5`` when None.

    Source: Kwon et al., arXiv 2309.06180.
    """
    if _chooses_kernel(toolkit.described(query, key_cache, value_cache, block_table, length)):
        table, length = block_table.astype(ms.int32), length.astype(ms.int32)
        options = toolkit.scalars(query.shape[-1] ** -0.5 if scale is None else scale)
        return _forward(query, key_cache, value_cache, table, length, options)
    return plain(query, key_cache, value_cache, block_table, length, scale)

"""Multi-head latent attention to a paged cache through MindSpore's own interface."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
from benchmarks.integration import toolkit
from mindspore import Tensor, ops

LIBRARY = toolkit.build(Path(__file__).with_name("official.cc"))
RULES = {
    "query": (toolkit.FLOAT, "batch head rank"),
    "query_rope": (toolkit.FLOAT, "batch head rope"),
    "latent_cache": (toolkit.FLOAT, "page slot rank"),
    "rope_cache": (toolkit.FLOAT, "page slot rope"),
    "block_table": (toolkit.INT, "batch blocks"),
    "length": (toolkit.INT, "batch"),
}


def plain(query, query_rope, latent_cache, rope_cache, block_table, length, scale):
    """The same in MindSpore operators, for all devices and dtypes."""
    batch = query.shape[0]
    pages, slot, rank = latent_cache.shape
    tokens = block_table.shape[1] * slot
    table = ops.clamp(block_table, 0, pages - 1)
    latent = ops.gather(latent_cache, table, 0).reshape((batch, tokens, rank))
    rope = ops.gather(rope_cache, table, 0).reshape((batch, tokens, rope_cache.shape[2]))
    exists = ops.logical_and(block_table >= 0, block_table < pages).expand_dims(-1)
    within = ops.arange(0, tokens).reshape((1, -1, slot)) < length.reshape((batch, 1, 1))
    seen = ops.logical_and(exists, within).reshape((batch, 1, tokens))
    logits = ops.matmul(query, latent.swapaxes(1, 2)) + ops.matmul(query_rope, rope.swapaxes(1, 2))
    logits = ops.where(seen, logits * scale, ops.full_like(logits, -1e30))
    return ops.matmul(ops.softmax(logits, -1) * seen.astype(query.dtype), latent)


_forward = toolkit.custom(LIBRARY, "latent_attention", lambda query, *_: query, ms.float32)


@ops.constexpr
def _chooses_kernel(given):
    toolkit.bind("latent_attention", RULES, given)
    return toolkit.runs_kernel(LIBRARY, given)


def latent_attention(
    query: Tensor,
    query_rope: Tensor,
    latent_cache: Tensor,
    rope_cache: Tensor,
    block_table: Tensor,
    length: Tensor,
    scale: float,
) -> Tensor:
    """``softmax(scale (query latentᵀ + query_rope ropeᵀ)) latent`` for one new token per sequence.

    The absorbed form of multi-head latent attention; pages as in paged attention; no gradient.

    Source: DeepSeek-AI, arXiv 2405.04434.
    """
    given = toolkit.described(query, query_rope, latent_cache, rope_cache, block_table, length)
    if _chooses_kernel(given):
        table, length = block_table.astype(ms.int32), length.astype(ms.int32)
        options = toolkit.scalars(scale)
        return _forward(query, query_rope, latent_cache, rope_cache, table, length, options)
    return plain(query, query_rope, latent_cache, rope_cache, block_table, length, scale)

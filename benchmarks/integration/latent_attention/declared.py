"""Multi-head latent attention to a paged cache, declared."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Int, Tensor


@operator(
    Cpp("declared.cc"),
    name="demo_latent_attention",
    below={"block_table": "page", "length": "blocks*slot+1"},
)
def latent_attention(
    query: Float[Tensor, "batch head rank"],
    query_rope: Float[Tensor, "batch head rope"],
    latent_cache: Float[Tensor, "page slot rank"],
    rope_cache: Float[Tensor, "page slot rope"],
    block_table: Int[Tensor, "batch blocks"],
    length: Int[Tensor, " batch"],
    scale: float,
) -> Float[Tensor, "batch head rank"]:
    """``softmax(scale (query latentᵀ + query_rope ropeᵀ)) latent`` for one new token per sequence.

    The absorbed form of multi-head latent attention; pages as in paged attention; no gradient.

    Source: DeepSeek-AI, arXiv 2405.04434.
    """
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

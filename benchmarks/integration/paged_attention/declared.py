"""Attention to a paged cache, declared."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Int, Tensor


@operator(
    Cpp("declared.cc"),
    name="demo_paged_attention",
    multiples={"head": "group"},
    below={"block_table": "page", "length": "blocks*slot+1"},
)
def paged_attention(
    query: Float[Tensor, "batch head dim"],
    key_cache: Float[Tensor, "page slot group dim"],
    value_cache: Float[Tensor, "page slot group width"],
    block_table: Int[Tensor, "batch blocks"],
    length: Int[Tensor, " batch"],
    scale: float | None = None,
) -> Float[Tensor, "batch head width"]:
    """Attention of one query per sequence to its first ``length`` tokens; no gradient.

    Token t of sequence b lies in page ``block_table[b, t // slot]`` at ``t % slot``. The tokens of
    pages that do not exist are absent. A sequence without tokens gets zeros. ``scale`` is
    ``dim ** -0.5`` when None.

    Source: Kwon et al., arXiv 2309.06180.
    """
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

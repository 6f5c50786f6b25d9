"""Triangle updates of the pair representation (AlphaFold 3, algorithms 12-15).

The contraction and the gates are operators with kernels of their own.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from scimind.nn import LayerNorm, Linear
from scimind.ops import (
    attention,
    gated,
    merge_heads,
    split_query_key_value,
    triangle_multiply,
)
from scimind.typing import Float


class TriangleMultiplication(nn.Cell):
    """Update edge (i, j) from the products of edges (i, k) and (j, k), or (k, i) and (k, j)."""

    def __init__(self, dim: int, outgoing: bool, rng: np.random.Generator) -> None:
        super().__init__()
        self.outgoing = outgoing
        self.norm = LayerNorm(dim)
        self.project = Linear(dim, 4 * dim, bias=False, rng=rng)
        self.gate = Linear(dim, dim, bias=False, rng=rng, init="zeros")
        self.output_norm = LayerNorm(dim)
        self.output = Linear(dim, dim, bias=False, rng=rng, init="residual")

    def construct(
        self,
        pair: Float[Tensor, "batch token token dim"],
        token_mask: Float[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token token dim"]:
        pair = self.norm(pair)
        mask = (token_mask[:, :, None] * token_mask[:, None, :]).expand_dims(-1) > 0
        left, right, left_gate, right_gate = ops.split(self.project(pair), pair.shape[-1], axis=-1)
        left, right = gated(left, left_gate, mask), gated(right, right_gate, mask)
        product = triangle_multiply(left, right, incoming=not self.outgoing)
        count = token_mask.sum(axis=1).reshape((-1, 1, 1, 1)) + 1e-6
        update = self.output_norm(product / ops.sqrt(count))
        return gated(self.output(update), self.gate(pair))


class TriangleAttention(nn.Cell):
    """Attention of edge (i, j) over edges (i, k), biased by (j, k); or along columns."""

    def __init__(self, dim: int, heads: int, starting: bool, rng: np.random.Generator) -> None:
        super().__init__()
        self.starting, self.heads, self.head_dim = starting, heads, dim // heads
        self.norm = LayerNorm(dim)
        self.qkv = Linear(dim, 3 * dim, bias=False, rng=rng)
        self.bias = Linear(dim, heads, bias=False, rng=rng)
        self.gate = Linear(dim, dim, bias=False, rng=rng, init="zeros")
        self.output = Linear(dim, dim, bias=False, rng=rng, init="residual")

    def construct(
        self,
        pair: Float[Tensor, "batch token token dim"],
        token_mask: Float[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token token dim"]:
        pair = self.norm(pair)
        if not self.starting:
            pair = pair.swapaxes(1, 2)
        batch, rows, columns, dim = pair.shape
        qkv = self.qkv(pair).reshape((batch * rows, columns, 3 * dim))
        query, key, value = split_query_key_value(qkv, self.heads, self.heads, self.head_dim)
        bias = self.bias(pair).transpose((0, 3, 1, 2))
        bias = bias + (token_mask - 1.0).reshape((batch, 1, 1, columns)) * 1e9
        if batch > 1:  # one bias for all rows of a complex
            bias = ops.tile(bias.expand_dims(1), (1, rows, 1, 1, 1))
            bias = bias.reshape((batch * rows, self.heads, columns, columns))
        mixed = merge_heads(attention(query, key, value, bias=bias))
        mixed = mixed.reshape((batch, rows, columns, dim))
        update = self.output(gated(mixed, self.gate(pair)))
        if not self.starting:
            update = update.swapaxes(1, 2)
        return update

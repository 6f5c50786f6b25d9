"""The Pairformer trunk: attention over tokens biased by pairs, optionally updating the pairs.

Abramson et al., Nature 630, 493 (2024), algorithms 12-15, 17 and 24.
"""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from biomol.config.model import ModelConfig
from biomol.model.triangle import TriangleAttention, TriangleMultiplication
from scimind.nn import LayerNorm, Linear
from scimind.ops import (
    attention,
    dropout,
    fold_in,
    gelu,
    merge_heads,
    split_query_key_value,
    spread,
)
from scimind.typing import Float, Int

MASKED_LOGIT = -1e9


class Transition(nn.Cell):
    """Two-layer perceptron with GELU, applied to each position."""

    def __init__(self, dim: int, ratio: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.norm = LayerNorm(dim)
        self.expand = Linear(dim, ratio * dim, activation="gelu", rng=rng)
        self.contract = Linear(ratio * dim, dim, rng=rng, init="residual")

    def construct(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.contract(self.expand(self.norm(x)))


class PairBias(nn.Cell):
    """Additive attention logits for several blocks at once, from one pair representation.

    One product for all blocks: a projection to the few heads of one block would leave the matrix
    unit idle.
    """

    def __init__(self, dim_pair: int, heads: int, blocks: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.heads, self.blocks = heads, blocks
        self.norm = LayerNorm(dim_pair)
        self.project = Linear(dim_pair, heads * blocks, bias=False, rng=rng)

    def construct(
        self,
        pair: Float[Tensor, "batch token token dim"],
        token_mask: Float[Tensor, "batch token"],
    ) -> tuple[Float[Tensor, "batch head token token"], ...]:
        batch, tokens = token_mask.shape
        bias = self.project(self.norm(pair)).transpose((0, 3, 1, 2))
        absent = (token_mask - 1.0).reshape((batch, 1, 1, tokens)) * -MASKED_LOGIT
        bias = bias + spread(absent, bias.shape)
        biases: tuple[Tensor, ...] = ops.split(bias, self.heads, axis=1)
        return biases


class TokenAttention(nn.Cell):
    """Multi-head attention over tokens with an additive bias per head."""

    def __init__(self, dim: int, heads: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.qkv = Linear(dim, 3 * dim, bias=False, rng=rng)
        self.output = Linear(dim, dim, rng=rng, init="residual")

    def construct(
        self,
        x: Float[Tensor, "batch token dim"],
        bias: Float[Tensor, "batch head token token"],
    ) -> Float[Tensor, "batch token dim"]:
        query, key, value = split_query_key_value(
            self.qkv(x), self.heads, self.heads, self.head_dim
        )
        return self.output(merge_heads(attention(query, key, value, bias=bias)))


class PairMessage(nn.Cell):
    """What each token hears from all others: gated messages made of their pair and themselves.

    Attention weights tokens by their pairs but passes on tokens only, so geometry and bonds would
    reach a token of hidden identity in no other way. Sums, unlike attention, can also count.
    """

    SCALE = 0.2
    CLOSED = 2.0
    """Gates start at sigmoid(-CLOSED): most pairs of a large complex have nothing to say."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.pair_norm = LayerNorm(config.dim_pair)
        self.norm = LayerNorm(config.dim_single)
        self.edge = Linear(config.dim_pair, 2 * config.dim_pair, rng=rng)
        self.sender = Linear(config.dim_single, config.dim_pair, bias=False, rng=rng)
        self.output = Linear(config.dim_pair, config.dim_single, bias=False, rng=rng)

    def construct(
        self,
        single: Float[Tensor, "batch token single"],
        pair: Float[Tensor, "batch token token pair"],
        token_mask: Float[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token single"]:
        edge, gate = ops.split(self.edge(self.pair_norm(pair)), pair.shape[-1], axis=-1)
        sender = self.sender(self.norm(single))
        sender = spread(sender.expand_dims(1), edge.shape)
        message = gelu(edge + sender) * ops.sigmoid(gate - self.CLOSED)
        message = message * spread(token_mask.expand_dims(1).expand_dims(-1), edge.shape)
        return self.output(message.sum(axis=2) * self.SCALE)


class TrunkBlock(nn.Cell):
    """One Pairformer block; updates the pairs only where the configuration says so."""

    def __init__(self, config: ModelConfig, index: int, rng: np.random.Generator) -> None:
        super().__init__()
        dim = config.dim_single
        self.rate = config.dropout
        self.updates_pair = config.pair_update != "none"
        self.attends_pair = config.pair_update == "full"
        if self.updates_pair:
            self.outgoing = TriangleMultiplication(config.dim_pair, True, rng)
            self.incoming = TriangleMultiplication(config.dim_pair, False, rng)
            if self.attends_pair:
                self.starting = TriangleAttention(config.dim_pair, config.pair_heads, True, rng)
                self.ending = TriangleAttention(config.dim_pair, config.pair_heads, False, rng)
            self.pair_transition = Transition(config.dim_pair, config.mlp_ratio, rng)
            self.pair_bias = PairBias(config.dim_pair, config.num_heads, 1, rng)
        self.passes_messages = index < config.message_blocks
        if self.passes_messages:
            self.message = PairMessage(config, rng)
        self.norm = LayerNorm(dim)
        self.attend = TokenAttention(dim, config.num_heads, rng)
        self.transition = Transition(dim, config.mlp_ratio, rng)

    def construct(
        self,
        key: Int[Tensor, "2"],
        single: Float[Tensor, "batch token single"],
        pair: Float[Tensor, "batch token token pair"],
        bias: Float[Tensor, "batch head token token"] | None,
        token_mask: Float[Tensor, "batch token"],
    ) -> tuple[
        Float[Tensor, "batch token single"],
        Float[Tensor, "batch token token pair"],
    ]:
        if self.updates_pair:
            pair = pair + self.outgoing(pair, token_mask)
            pair = pair + self.incoming(pair, token_mask)
            if self.attends_pair:
                pair = pair + self.starting(pair, token_mask)
                pair = pair + self.ending(pair, token_mask)
            pair = pair + self.pair_transition(pair)
            bias = self.pair_bias(pair, token_mask)[0]
        if self.passes_messages:
            single = single + self.message(single, pair, token_mask)
        mixed = self.attend(self.norm(single), bias)
        if self.rate > 0.0 and self.training:
            mixed = dropout(mixed, fold_in(key, 0), self.rate)
        single = single + mixed
        update = self.transition(single)
        if self.rate > 0.0 and self.training:
            update = dropout(update, fold_in(key, 1), self.rate)
        return single + update, pair


class Trunk(nn.Cell):
    """Blocks in sequence; without pair updates all attention biases are made in one product."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.updates_pair = config.pair_update != "none"
        if not self.updates_pair:
            self.pair_bias = PairBias(config.dim_pair, config.num_heads, config.trunk_blocks, rng)
        self.blocks = nn.CellList(
            [TrunkBlock(config, index, rng) for index in range(config.trunk_blocks)]
        )
        self.norm = LayerNorm(config.dim_single)

    def construct(
        self,
        key: Int[Tensor, "2"],
        single: Float[Tensor, "batch token single"],
        pair: Float[Tensor, "batch token token pair"],
        token_mask: Float[Tensor, "batch token"],
    ) -> tuple[
        Float[Tensor, "batch token single"],
        Float[Tensor, "batch token token pair"],
    ]:
        biases = None
        if not self.updates_pair:
            biases = self.pair_bias(pair, token_mask)
        for index, block in enumerate(self.blocks):
            bias = None if biases is None else biases[index]
            single, pair = block(fold_in(key, index), single, pair, bias, token_mask)
        return self.norm(single), pair

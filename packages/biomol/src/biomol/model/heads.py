"""Read-outs of the trunk: identity, distances, scalar properties, token labels."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn

from biomol.chem.vocab import NUM_TOKENS
from biomol.config.model import ModelConfig
from scimind.nn import LayerNorm, Linear
from scimind.ops import spread
from scimind.typing import Float


class IdentityHead(nn.Cell):
    """Logits over the identity of each token."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.hidden = Linear(config.dim_single, config.dim_single, activation="gelu", rng=rng)
        self.logits = Linear(config.dim_single, NUM_TOKENS, rng=rng, init="zeros")

    def construct(
        self, single: Float[Tensor, "batch token dim"]
    ) -> Float[Tensor, "batch token identity"]:
        return self.logits(self.hidden(single))


class DistogramHead(nn.Cell):
    """Logits over distances between representative atoms, symmetric in the two tokens."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        dim = config.dim_pair
        self.left = Linear(config.dim_single, dim, bias=False, rng=rng)
        self.right = Linear(config.dim_single, dim, bias=False, rng=rng)
        self.norm = LayerNorm(dim)
        self.logits = Linear(dim, config.num_distance_bins, rng=rng, init="zeros")

    def construct(
        self,
        single: Float[Tensor, "batch token single"],
        pair: Float[Tensor, "batch token token pair"],
    ) -> Float[Tensor, "batch token token bin"]:
        left = spread(self.left(single).expand_dims(2), pair.shape)
        right = spread(self.right(single).expand_dims(1), pair.shape)
        pair = pair + left * right
        return self.logits(self.norm(pair + pair.swapaxes(1, 2)))


class PropertyHead(nn.Cell):
    """Scalar properties as a sum of token contributions plus a read-out of the pooled tokens.

    The sum keeps additive properties additive (group contributions, mutational effects); the
    pooled part is intensive.
    """

    SUM_SCALE = 0.1

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        dim, count = config.dim_single, len(config.properties)
        self.count = count
        self.token_hidden = Linear(dim, dim, activation="gelu", rng=rng)
        self.contribution = Linear(dim, count, rng=rng, init="zeros")
        self.pooled_norm = LayerNorm(dim)
        self.pooled_hidden = Linear(dim, dim, activation="gelu", rng=rng)
        self.pooled = Linear(dim, count, rng=rng, init="zeros")

    def construct(
        self,
        single: Float[Tensor, "batch token dim"],
        token_mask: Float[Tensor, "batch token"],
    ) -> Float[Tensor, "batch property"]:
        mask = token_mask.expand_dims(-1)
        hidden = self.token_hidden(single)
        total = (self.contribution(hidden) * mask).sum(axis=1) * self.SUM_SCALE
        mean = (hidden * mask).sum(axis=1) / (mask.sum(axis=1) + 1e-6)
        return total + self.pooled(self.pooled_hidden(self.pooled_norm(mean)))


class TokenLabelHead(nn.Cell):
    """Logits of every kind of per-token label, concatenated over kinds."""

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.classes = tuple(config.token_labels.values())
        self.hidden = Linear(config.dim_single, config.dim_single, activation="gelu", rng=rng)
        self.logits = Linear(config.dim_single, sum(self.classes), rng=rng, init="zeros")

    def construct(
        self, single: Float[Tensor, "batch token dim"]
    ) -> Float[Tensor, "batch token logit"]:
        return self.logits(self.hidden(single))

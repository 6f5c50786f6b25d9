"""A pre-norm transformer block and conditional normalisation."""

from __future__ import annotations

import numpy as np
from mindspore import nn
from mindspore import ops as ms_ops

from scimind import ops
from scimind.nn.attention import Attention
from scimind.nn.linear import Linear
from scimind.nn.mlp import MLP, SwiGLU
from scimind.nn.norms import LayerNorm
from scimind.typing import Bool, Float, Int, Tensor


class AdaLN(nn.Cell):
    """Layer norm whose scale, shift and gate come from a condition; starts as the identity.

    Args:
        dim: Size of the input.
        condition: Size of the condition.

    Source: Peebles and Xie, arXiv 2212.09748 (adaLN-Zero).
    """

    def __init__(self, dim: int, condition: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim, affine=False)
        self.modulation = Linear(condition, 3 * dim, init="zeros")

    def construct(
        self, x: Float[Tensor, "batch token dim"], condition: Float[Tensor, "batch condition"]
    ) -> tuple[Float[Tensor, "batch token dim"], Float[Tensor, "batch 1 dim"]]:
        """The modulated input and the gate to multiply the branch's result with."""
        modulation = self.modulation(ops.silu(condition)).expand_dims(1)
        shift, scale, gate = ms_ops.split(modulation, x.shape[-1], axis=-1)
        return self.norm(x) * (scale + 1.0) + shift, gate


class TransformerBlock(nn.Cell):
    """Attention and perceptron, each on a normalised input and added to the residual stream.

    Args:
        dim: Size of the residual stream.
        heads: Query heads.
        hidden: Size inside the perceptron, ``4 dim`` by default.
        gated: SwiGLU instead of GELU.
        dropout: Rate on both branches; the block then needs a key in training.
        causal: Attend only to earlier positions.
        groups: Key and value heads.
        rope_base: Base of rotary positions, or None.
        rng: Source of the initial weights.

    Source: Xiong et al., arXiv 2002.04745.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        hidden: int | None = None,
        gated: bool = False,
        dropout: float = 0.0,
        causal: bool = False,
        groups: int | None = None,
        rope_base: float | None = None,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        hidden = 4 * dim if hidden is None else hidden
        self.rate = dropout
        self.attention_norm = LayerNorm(dim)
        self.attention = Attention(
            dim, heads, groups=groups, causal=causal, rope_base=rope_base, rng=rng
        )
        self.mlp_norm = LayerNorm(dim)
        self.mlp = SwiGLU(dim, hidden, rng=rng) if gated else MLP(dim, hidden, rng=rng)

    def construct(
        self,
        x: Float[Tensor, "batch token dim"],
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        key: Int[Tensor, "2"] | None = None,
    ) -> Float[Tensor, "batch token dim"]:
        """Add both branches; ``mask`` and ``bias`` as in `ops.attention`."""
        update = self.attention(self.attention_norm(x), None, mask, bias)
        if self.training and self.rate > 0.0:
            update = ops.dropout(update, ops.fold_in(key, 0), self.rate)
        normal, x = self.mlp_norm.add(update, x)
        update = self.mlp(normal)
        if self.training and self.rate > 0.0:
            update = ops.dropout(update, ops.fold_in(key, 1), self.rate)
        return x + update

"""Position-wise perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import nn

from scimind import ops
from scimind.nn.linear import Linear
from scimind.typing import Float, Tensor


class MLP(nn.Cell):
    """Two layers with an activation between them.

    Args:
        dim: Size of input and output.
        hidden: Size between the layers.
        activation: See `scimind.nn.Linear`.
        rng: Source of the initial weights.
    """

    def __init__(
        self, dim: int, hidden: int, *, activation: str = "gelu", rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.expand = Linear(dim, hidden, activation=activation, rng=rng)
        self.contract = Linear(hidden, dim, rng=rng, init="residual")

    def construct(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Map each position."""
        first, last = self.expand, self.contract
        activation: Any = first.activation
        return ops.mlp(x, first.weight, first.bias, last.weight, last.bias, activation)


class SwiGLU(nn.Cell):
    """Gated perceptron ``contract(silu(gate(x)) up(x))``.

    Args:
        dim: Size of input and output.
        hidden: Size of the gated product.
        bias: Whether the layers have biases.
        rng: Source of the initial weights.

    Source: Shazeer, arXiv 2002.05202.
    """

    def __init__(
        self, dim: int, hidden: int, *, bias: bool = False, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.gate = Linear(dim, hidden, bias=bias, rng=rng)
        self.up = Linear(dim, hidden, bias=bias, rng=rng)
        self.contract = Linear(hidden, dim, bias=bias, rng=rng, init="residual")

    def construct(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Map each position."""
        return self.contract(ops.swiglu(self.gate(x), self.up(x)))

"""Affine layer and embedding table."""

from __future__ import annotations

import numpy as np
from mindspore import nn

from scimind import ops
from scimind.nn.initial import parameter
from scimind.ops.linear import ACTIVATIONS
from scimind.typing import Float, Int, Tensor


class Linear(nn.Cell):
    """``activation(x weightᵀ + bias)``.

    Args:
        in_features: Size of the last axis of the input.
        out_features: Size of the last axis of the output.
        bias: Whether to add a bias, which starts at 0.
        activation: None, ``"gelu"``, ``"silu"`` or ``"relu"``; computed together with the product.
        rng: Source of the initial weight; may be None when ``init="zeros"``.
        init: Scheme of the weight, see `scimind.nn.initial.Drawn`.

    Example:
        >>> layer = Linear(256, 1024, activation="gelu", rng=np.random.default_rng(0))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        activation: str | None = None,
        rng: np.random.Generator | None = None,
        init: str = "default",
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            known = ", ".join(str(name) for name in ACTIVATIONS)
            raise ValueError(f"activation={activation!r} is unknown; choose one of {known}")
        self.in_features, self.out_features = in_features, out_features
        self.activation = activation
        self.weight = parameter((out_features, in_features), "weight", init, rng)
        self.bias = parameter((out_features,), "bias", "zeros") if bias else None

    def construct(self, x: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        """Map the last axis."""
        return ops.linear(x, self.weight, self.bias, self.activation)


class Embedding(nn.Cell):
    """A table of vectors, looked up by number.

    Args:
        entries: Rows of the table.
        dim: Size of a row.
        rng: Source of the initial table.
        init: Scheme, see `scimind.nn.initial.Drawn`.
    """

    def __init__(
        self,
        entries: int,
        dim: int,
        *,
        rng: np.random.Generator | None = None,
        init: str = "normal",
    ) -> None:
        super().__init__()
        self.entries, self.dim = entries, dim
        self.weight = parameter((entries, dim), "weight", init, rng)

    def construct(self, indices: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """Look up rows."""
        return ops.embedding(indices, self.weight)

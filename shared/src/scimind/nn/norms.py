"""Normalisation layers."""

from __future__ import annotations

from mindspore import nn

from scimind import ops
from scimind.nn.initial import parameter
from scimind.typing import Float, Tensor


class LayerNorm(nn.Cell):
    """Zero mean and unit variance over the last axis.

    Args:
        dim: Size of the last axis.
        affine: Whether to learn a weight (from 1) and a bias (from 0).
        eps: Added to the variance.
    """

    def __init__(self, dim: int, *, affine: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = parameter((dim,), "weight", "ones") if affine else None
        self.bias = parameter((dim,), "bias", "zeros") if affine else None

    def construct(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise the last axis."""
        return ops.layer_norm(x, self.weight, self.bias, self.eps)

    def add(
        self, x: Float[Tensor, "*batch dim"], residual: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch dim"]]:
        """The normalised sum of ``x`` and ``residual``, and the sum."""
        return ops.add_layer_norm(x, residual, self.weight, self.bias, self.eps)


class RMSNorm(nn.Cell):
    """Unit root mean square over the last axis.

    Args:
        dim: Size of the last axis.
        affine: Whether to learn a weight (from 1).
        eps: Added to the mean square.
    """

    def __init__(self, dim: int, *, affine: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = parameter((dim,), "weight", "ones") if affine else None

    def construct(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise the last axis."""
        return ops.rms_norm(x, self.weight, self.eps)

    def add(
        self, x: Float[Tensor, "*batch dim"], residual: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch dim"]]:
        """The normalised sum of ``x`` and ``residual``, and the sum."""
        return ops.add_rms_norm(x, residual, self.weight, self.eps)

"""Normalisation over the last axis."""

from __future__ import annotations

from scimind.ops.registry import FUNCTIONS, choose
from scimind.typing import Float, Tensor


def layer_norm(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    bias: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*batch dim"]:
    """Zero mean and unit variance over the last axis, then ``weight`` and ``bias``.

    Source: Ba, Kiros and Hinton, arXiv 1607.06450.
    """
    return FUNCTIONS["layer_norm"][choose("layer_norm", x.dtype)](x, weight, bias, eps)


def rms_norm(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-6,
) -> Float[Tensor, "*batch dim"]:
    """Unit root mean square over the last axis, then ``weight``.

    Source: Zhang and Sennrich, arXiv 1910.07467.
    """
    return FUNCTIONS["rms_norm"][choose("rms_norm", x.dtype)](x, weight, eps)

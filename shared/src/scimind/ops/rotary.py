"""Rotary position embedding."""

from __future__ import annotations

import math

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.registry import FUNCTIONS, choose
from scimind.typing import Float, Int, Tensor


def rope_angles(
    positions: Int[Tensor, "*batch length"], dim: int, base: float = 10000.0
) -> tuple[Float[Tensor, "*batch length half"], Float[Tensor, "*batch length half"]]:
    """Cosine and sine of ``position * base^(-2 i / dim)``, for ``rope``.

    Args:
        positions: Position of each token.
        dim: Head dimension, even.
        base: Longest wavelength divided by 2π.
    """
    index = ops.arange(0, dim // 2).astype(mstype.float32)
    rate = ops.exp(index * (-2.0 / dim * math.log(base)))
    angle = positions.astype(mstype.float32).expand_dims(-1) * rate
    return ops.cos(angle), ops.sin(angle)


def rope(
    x: Float[Tensor, "batch head length dim"],
    cos: Float[Tensor, "... length half"],
    sin: Float[Tensor, "... length half"],
) -> Float[Tensor, "batch head length dim"]:
    """Rotate the pairs (i, i + dim/2) of the last axis.

    Args:
        x: Queries or keys; ``dim`` is even.
        cos: Cosines from `rope_angles`, broadcast over the leading axes of ``x``.
        sin: Sines, likewise.

    Source: Su et al., arXiv 2104.09864; the pairing is that of GPT-NeoX and Llama.
    """
    return FUNCTIONS["rope"][choose("rope", x.dtype)](x, cos, sin)

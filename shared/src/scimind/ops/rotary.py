"""Rotary position embedding."""

from __future__ import annotations

import math

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.operator import Cpp, operator
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


@operator(
    Cpp("kernels/cpu/rope.cc", backward="cos sin dout -> dx"),
    mixed=("cos", "sin"),
    multiples={"dim": "2"},
    sizes=(
        {"batch": 16, "head": 8, "length": 128, "dim": 32},
        {"batch": 4, "head": 16, "length": 512, "dim": 64},
        {"batch": 1, "head": 32, "length": 4096, "dim": 128},
    ),
)
def rope(
    x: Float[Tensor, "batch head length dim"],
    cos: Float[Tensor, "#batch #head length dim//2"],
    sin: Float[Tensor, "#batch #head length dim//2"],
    interleaved: bool = False,
) -> Float[Tensor, "batch head length dim"]:
    """Rotate the pairs (i, i + dim/2) of the last axis.

    Args:
        x: Queries or keys; ``dim`` is even.
        cos: Cosines from `rope_angles`; constants, no gradient reaches them.
        sin: Sines, likewise.
        interleaved: Rotate the pairs (2i, 2i + 1) instead.

    Source: Su et al., arXiv 2104.09864; the pairing is that of GPT-NeoX and Llama, the interleaved
    one that of the paper.
    """
    half = x.shape[-1] // 2
    cos, sin = ops.stop_gradient(cos), ops.stop_gradient(sin)
    if interleaved:
        pairs = x.reshape((*x.shape[:-1], half, 2))
        first, second = pairs[..., 0], pairs[..., 1]
        turned = ops.stack((first * cos - second * sin, second * cos + first * sin), -1)
        return turned.reshape(x.shape)
    first, second = x[..., :half], x[..., half:]
    return ops.cat((first * cos - second * sin, second * cos + first * sin), -1)

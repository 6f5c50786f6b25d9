"""Encodings of scalars and indices."""

from __future__ import annotations

import math

import numpy as np
from mindspore import Tensor, ops

from scimind.typing import Float, Int

FOURIER_SIZE = 16


def one_hot(index: Int[Tensor, "*batch"], depth: int) -> Float[Tensor, "*batch depth"]:
    """1.0 at the index, 0.0 elsewhere."""
    return ops.one_hot(index, depth).astype(np.float32)


def fourier(value: Float[Tensor, "*batch"], count: int = FOURIER_SIZE) -> Float[Tensor, "*batch f"]:
    """Sines and cosines of ``value`` at ``count / 2`` octaves from 1/8."""
    scale = Tensor([math.pi * 2.0 ** (index - 3) for index in range(count // 2)])
    phase = value.expand_dims(-1) * scale
    return ops.cat((ops.sin(phase), ops.cos(phase)), axis=-1)


def noise_features(sigma: Float[Tensor, "*batch"], sigma_data: float) -> Float[Tensor, "*batch f"]:
    """Fourier features of ``log(sigma / sigma_data) / 4``, the EDM noise input, 0 where given."""
    level = 0.25 * ops.log(ops.maximum(sigma, Tensor(1e-3)) / sigma_data)
    return fourier(level)


def sinusoidal_index(index: Int[Tensor, "batch token"], count: int) -> Float[Tensor, "b t f"]:
    """Transformer position features of the residue number, wavelengths 6 to 6000."""
    rates = Tensor((1000.0 ** -(np.arange(count // 2) / (count // 2 - 1))).astype(np.float32))
    phase = index.astype(rates.dtype).expand_dims(-1) * rates
    return ops.cat((ops.sin(phase), ops.cos(phase)), axis=-1)

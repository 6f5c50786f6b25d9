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


def chain_window(
    values: Float[Tensor, "batch token feature"],
    res_index: Int[Tensor, "batch token"],
    chain_id: Int[Tensor, "batch token"],
    half: int,
) -> tuple[Float[Tensor, "batch token feature"], ...]:
    """Values of the residues at offsets ``-half`` to ``half`` in the chain of each token.

    0 where the chain has no such residue or it does not stand that far away in the record.
    """
    batch, tokens, width = values.shape
    edge = ops.zeros((batch, half, width), values.dtype)
    padded = ops.cat((edge, values, edge), axis=1)
    outside = ops.zeros((batch, half), chain_id.dtype) - 2
    chains = ops.cat((outside, chain_id, outside), axis=1)
    numbers = ops.cat((outside, res_index, outside), axis=1)
    window: tuple[Tensor, ...] = ()
    for offset in range(2 * half + 1):
        same = chains[:, offset : offset + tokens] == chain_id
        follows = numbers[:, offset : offset + tokens] == res_index + (offset - half)
        keep = ops.logical_and(same, follows).astype(values.dtype)
        window = (*window, padded[:, offset : offset + tokens] * keep.expand_dims(-1))
    return window

"""Where an atom is expected before its own noisy position is looked at."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from biomol.chem.standard import reference_slots
from biomol.chem.vocab import (
    FRAME_SLOTS,
    NUM_SLOTS,
    NUM_TOKENS,
    REPRESENTATIVE_SLOT,
    SLOT_NAMES,
    TOKEN_ID,
)
from biomol.config.model import ModelConfig
from biomol.model.encoding import one_hot
from biomol.model.geometry import to_global
from scimind.typing import Float, Int

OFFSET_ANGSTROM = 10.0
"""Unit of the learned means: a step of the optimizer moves them by ten times its rate."""


def reference_offsets() -> Float[np.ndarray, "identity slot 3"]:
    """Atoms of each standard residue in its own frame, in its reference conformer, angstrom."""
    offsets = np.zeros((NUM_TOKENS, NUM_SLOTS, 3), np.float32)
    first, centre, third = FRAME_SLOTS
    for code, names in SLOT_NAMES.items():
        positions = reference_slots(code).positions[: len(names)].astype(np.float64)
        positions = positions - positions[centre]
        x_axis = positions[third] / np.linalg.norm(positions[third])
        y_axis = positions[first] - (positions[first] @ x_axis) * x_axis
        y_axis /= np.linalg.norm(y_axis)
        axes = np.stack((x_axis, y_axis, np.cross(x_axis, y_axis)))
        offsets[TOKEN_ID[code], : len(names)] = positions @ axes.T
    return offsets


class AtomPrior(nn.Cell):
    """A Gaussian for each atom, given the best guess of its representative atom.

    Its width is ``sigma_local`` where that atom is known and ``sigma_data`` where it is not. Its
    mean is the representative atom or, where the frame of the residue is known as well, the mean
    of the residue type in this frame, which starts at the reference conformer and is learned.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.data = config.sigma_data * config.sigma_data
        self.local = config.sigma_local * config.sigma_local
        offsets = reference_offsets().reshape(NUM_TOKENS, -1) / OFFSET_ANGSTROM
        self.offset = Parameter(Tensor(offsets), name="offset")
        self.representative = Tensor(np.eye(NUM_SLOTS, dtype=np.float32)[REPRESENTATIVE_SLOT])

    def known(self, sigma: Float[Tensor, "batch token slot"]) -> Float[Tensor, "batch token"]:
        """How far the representative atom of each token is known, 1 to 0."""
        return self.data / (self.data + ops.square(sigma[..., REPRESENTATIVE_SLOT]))

    def width(self, sigma: Float[Tensor, "batch token slot"]) -> Float[Tensor, "batch token slot"]:
        """Standard deviation about the mean, angstrom."""
        known = self.known(sigma)
        variance = (self.local * known + self.data * (1.0 - known)).expand_dims(-1)
        return ops.sqrt(variance * (1.0 - self.representative) + self.data * self.representative)

    def mean(
        self,
        positions: Float[Tensor, "batch token slot 3"],
        sigma: Float[Tensor, "batch token slot"],
        token: Int[Tensor, "batch token"],
        rotation: Float[Tensor, "batch token 3 3"],
        reliability: Float[Tensor, "batch token"],
    ) -> Float[Tensor, "batch token slot 3"]:
        """Expected positions, angstrom; the origin for the representative atoms themselves."""
        batch, tokens = token.shape
        offset = ops.matmul(one_hot(token, NUM_TOKENS), self.offset) * OFFSET_ANGSTROM
        offset = to_global(rotation, offset.reshape((batch, tokens, NUM_SLOTS, 3)))
        guess = positions[:, :, REPRESENTATIVE_SLOT] * self.known(sigma).expand_dims(-1)
        expected = guess.expand_dims(2) + offset * reliability.reshape((batch, tokens, 1, 1))
        return expected * (1.0 - self.representative).reshape((1, 1, NUM_SLOTS, 1))

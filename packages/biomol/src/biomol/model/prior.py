"""Where an atom is expected before its own noisy position is looked at."""

from __future__ import annotations

import numpy as np
from mindspore import Parameter, Tensor, nn, ops

from biomol.chem import geometry
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
from biomol.model.geometry import (
    NEIGHBOUR_SLOTS,
    RADIAL_SIZE,
    reliability_at,
    to_global,
)
from scimind.nn import Linear
from scimind.typing import Float, Int

OFFSET_ANGSTROM = 10.0
"""Unit of the learned means: a step of the optimizer moves them by ten times its rate."""
SURROUNDINGS_SIZE = 2 * NEIGHBOUR_SLOTS * 3 + RADIAL_SIZE
IDENTITY_GAIN = 3.0
"""Brings the one-hot identity to the weight of the positions beside it."""


def reference_offsets() -> Float[np.ndarray, "identity slot 3"]:
    """Atoms of each standard residue in its own frame, in its reference conformer, angstrom."""
    offsets = np.zeros((NUM_TOKENS, NUM_SLOTS, 3))
    first, centre, third = FRAME_SLOTS
    for code, names in SLOT_NAMES.items():
        positions = reference_slots(code).positions[: len(names)].astype(np.float64)
        frame = geometry.local_frames(positions[first], positions[centre], positions[third])
        offsets[TOKEN_ID[code], : len(names)] = geometry.to_local(
            frame, positions[centre], positions
        )
    return offsets


class AtomPrior(nn.Cell):
    """A Gaussian for each atom, given the best guess of its representative atom.

    Its width is ``sigma_data`` where nothing is known of it, ``sigma_local`` where it is roughly
    known where the representative atom is, and ``sigma_frame`` where that is known so well that
    the frame of the residue is too. Its mean is the representative atom or, with a known frame,
    where the residue type has this atom in its frame on average, plus a correction for the course
    of the backbone and for what is near: what a backbone-dependent rotamer library says, learned.
    The average starts at the reference conformer, or where `start_at` puts it.
    """

    def __init__(self, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        self.data = config.sigma_data * config.sigma_data
        self.local = config.sigma_local * config.sigma_local
        self.frame = config.sigma_frame * config.sigma_frame
        self.offset = Parameter(self._scaled(reference_offsets()), name="offset")
        # it sees one residue and what is near, so that it can learn no chain by heart
        self.surroundings = Linear(
            NUM_TOKENS + SURROUNDINGS_SIZE, 2 * config.dim_single, activation="gelu", rng=rng
        )
        self.correction = Linear(2 * config.dim_single, NUM_SLOTS * 3, rng=rng, init="zeros")
        self.representative = Tensor(np.eye(NUM_SLOTS, dtype=np.float32)[REPRESENTATIVE_SLOT])

    @staticmethod
    def _scaled(offsets: Float[np.ndarray, "identity slot 3"]) -> Tensor:
        return Tensor((offsets / OFFSET_ANGSTROM).reshape(NUM_TOKENS, -1).astype(np.float32))

    def start_at(self, measured: Float[np.ndarray, "identity slot 3"]) -> None:
        """Start from measured means, angstrom; NaN leaves the reference conformer."""
        offsets = np.where(np.isfinite(measured), measured, reference_offsets())
        self.offset.set_data(self._scaled(offsets))

    def known(self, sigma: Float[Tensor, "batch token slot"]) -> Float[Tensor, "batch token"]:
        """How far the representative atom of each token is known, 1 to 0."""
        return self.data / (self.data + ops.square(sigma[..., REPRESENTATIVE_SLOT]))

    def width(self, sigma: Float[Tensor, "batch token slot"]) -> Float[Tensor, "batch token slot"]:
        """Standard deviation about the mean, angstrom."""
        known = self.known(sigma)
        framed = reliability_at(sigma[..., REPRESENTATIVE_SLOT])
        local = self.frame * framed + self.local * (1.0 - framed)
        variance = (local * known + self.data * (1.0 - known)).expand_dims(-1)
        return ops.sqrt(variance * (1.0 - self.representative) + self.data * self.representative)

    def mean(
        self,
        positions: Float[Tensor, "batch token slot 3"],
        sigma: Float[Tensor, "batch token slot"],
        token: Int[Tensor, "batch token"],
        rotation: Float[Tensor, "batch token 3 3"],
        reliability: Float[Tensor, "batch token"],
        surroundings: Float[Tensor, "batch token surrounding"],
    ) -> Float[Tensor, "batch token slot 3"]:
        """Expected positions, angstrom; the origin for the representative atoms themselves.

        ``surroundings`` are the `adjacent_residues` of each token and how many others stand at
        which distance: log(1 + sum) of the radial `pair_features`.
        """
        batch, tokens = token.shape
        identity = one_hot(token, NUM_TOKENS)
        offset = ops.matmul(identity, self.offset) * OFFSET_ANGSTROM
        hidden = self.surroundings(ops.cat((identity * IDENTITY_GAIN, surroundings), axis=-1))
        offset = offset + self.correction(hidden)
        offset = to_global(rotation, offset.reshape((batch, tokens, NUM_SLOTS, 3)))
        guess = positions[:, :, REPRESENTATIVE_SLOT] * self.known(sigma).expand_dims(-1)
        expected = guess.expand_dims(2) + offset * reliability.reshape((batch, tokens, 1, 1))
        return expected * (1.0 - self.representative).reshape((1, 1, NUM_SLOTS, 1))

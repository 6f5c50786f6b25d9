"""Where the atoms of each residue type lie on average, in the frame of their residue."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from biomol.chem.geometry import to_local, token_frames
from biomol.chem.vocab import NUM_SLOTS, NUM_TOKENS, REPRESENTATIVE_SLOT
from biomol.data.complex import Complex
from scimind.typing import Float


def local_positions(record: Complex) -> Float[np.ndarray, "token slot 3"]:
    """Positions in the frame of each token, angstrom; NaN where either is not resolved."""
    frames, framed = token_frames(record.coords, record.coord_mask)
    coords = record.coords.astype(float)
    local = to_local(frames, coords[:, REPRESENTATIVE_SLOT], coords)
    return np.where((record.coord_mask & framed[:, None])[..., None], local, np.nan)


def mean_offsets(records: Iterable[Complex]) -> Float[np.ndarray, "identity slot 3"]:
    """Mean local position of each atom of each identity, angstrom; NaN where never resolved.

    Args:
        records: Complexes to average over; tokens without a resolved frame do not count.
    """
    total = np.zeros((NUM_TOKENS, NUM_SLOTS, 3))
    count = np.zeros((NUM_TOKENS, NUM_SLOTS))
    for record in records:
        local = local_positions(record)
        known = np.isfinite(local)
        np.add.at(total, record.restype, np.where(known, local, 0.0))
        np.add.at(count, record.restype, known[..., 0])
    with np.errstate(invalid="ignore"):
        return np.asarray(total / np.where(count > 0, count, np.nan)[..., None])

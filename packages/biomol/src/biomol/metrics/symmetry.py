"""Atoms whose names are interchangeable, and the choice of names that suits a prediction."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from biomol.chem.vocab import DNA_CODES, NUM_SLOTS, RNA_CODES, SLOT_NAMES, TOKENS
from scimind.typing import Bool, Float, Int

EQUIVALENT: dict[str, tuple[tuple[str, str], ...]] = {
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "ARG": (("NH1", "NH2"),),
}
"""Atoms that a half turn (or, in arginine, resonance) makes chemically identical."""

LDDT_SWAPS: dict[str, tuple[tuple[str, str], ...]] = {
    **EQUIVALENT,
    "LEU": (("CD1", "CD2"),),
    "VAL": (("CG1", "CG2"),),
    **dict.fromkeys((*RNA_CODES, *DNA_CODES), (("OP1", "OP2"),)),
}
"""The names lDDT exchanges (Mariani et al. 2013; OpenStructure). In leucine, valine and the
phosphate group the two atoms are prochiral, not identical: lDDT forgives that naming error."""


@lru_cache(maxsize=8)
def _swap_table(lddt: bool) -> tuple[Int[np.ndarray, "restype slot"], Bool[np.ndarray, "r s"]]:
    """Slot that takes the place of each slot, and which slots take part in a swap."""
    table = np.tile(np.arange(NUM_SLOTS), (len(TOKENS), 1))
    for code, pairs in (LDDT_SWAPS if lddt else EQUIVALENT).items():
        row, names = TOKENS.index(code), SLOT_NAMES[code]
        for first, second in pairs:
            i, j = names.index(first), names.index(second)
            table[row, [i, j]] = j, i
    return table, table != np.arange(NUM_SLOTS)


def swapped_slots(
    restype: Int[np.ndarray, " token"], *, lddt: bool = False
) -> tuple[Int[np.ndarray, "token slot"], Bool[np.ndarray, "token slot"]]:
    """The other naming of each token.

    Args:
        restype: Identity of each token.
        lddt: Exchange the prochiral atoms of ``LDDT_SWAPS`` too.

    Returns:
        Slot whose atom each slot takes under the other naming, and the slots that change.
    """
    table, moved = _swap_table(lddt)
    return np.asarray(table[restype]), np.asarray(moved[restype])


def rename_for_rmsd(
    predicted: Float[np.ndarray, "token slot 3"],
    reference: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
) -> Float[np.ndarray, "token slot 3"]:
    """The prediction with identical atoms named so that each token is closest to the reference.

    Args:
        predicted: Positions in the frame of the reference, angstrom.
        reference: Positions to compare with.
        mask: Atoms that count.
        restype: Identity of each token.

    Returns:
        Predicted positions, the two names exchanged where that lowers the squared deviation.
    """
    slots, _ = swapped_slots(restype)
    other = np.take_along_axis(predicted, slots[..., None], axis=1)

    def deviation(positions: Float[np.ndarray, "token slot 3"]) -> Float[np.ndarray, " token"]:
        squares = np.sum((positions - reference) ** 2, axis=-1)
        return np.asarray(np.where(mask, squares, 0.0).sum(axis=-1))

    better = deviation(other) < deviation(predicted)
    return np.asarray(np.where(better[:, None, None], other, predicted))

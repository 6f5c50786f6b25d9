"""Side chains: torsion angles, their accuracy, and deviations given a backbone."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from biomol.chem.geometry import dihedral
from biomol.chem.vocab import BACKBONE_SLOTS, NUM_SLOTS, SLOT_NAMES, TOKENS, MolType
from biomol.metrics.symmetry import rename_for_rmsd
from scimind.typing import Bool, Float, Int

NUM_CHI = 4
CHI_TOLERANCE_DEGREES = 40.0

CHI_ATOMS: dict[str, tuple[str, ...]] = {
    "ARG": ("N CA CB CG", "CA CB CG CD", "CB CG CD NE", "CG CD NE CZ"),
    "ASN": ("N CA CB CG", "CA CB CG OD1"),
    "ASP": ("N CA CB CG", "CA CB CG OD1"),
    "CYS": ("N CA CB SG",),
    "GLN": ("N CA CB CG", "CA CB CG CD", "CB CG CD OE1"),
    "GLU": ("N CA CB CG", "CA CB CG CD", "CB CG CD OE1"),
    "HIS": ("N CA CB CG", "CA CB CG ND1"),
    "ILE": ("N CA CB CG1", "CA CB CG1 CD1"),
    "LEU": ("N CA CB CG", "CA CB CG CD1"),
    "LYS": ("N CA CB CG", "CA CB CG CD", "CB CG CD CE", "CG CD CE NZ"),
    "MET": ("N CA CB CG", "CA CB CG SD", "CB CG SD CE"),
    "PHE": ("N CA CB CG", "CA CB CG CD1"),
    "PRO": ("N CA CB CG", "CA CB CG CD"),
    "SER": ("N CA CB OG",),
    "THR": ("N CA CB OG1",),
    "TRP": ("N CA CB CG", "CA CB CG CD1"),
    "TYR": ("N CA CB CG", "CA CB CG CD1"),
    "VAL": ("N CA CB CG1",),
}
"""Atoms of each side-chain torsion (IUPAC-IUB 1970)."""

HALF_TURN: dict[str, int] = {"ASP": 1, "GLU": 2, "PHE": 1, "TYR": 1}
"""Torsion (counted from 0) whose half turn gives the same molecule."""


@lru_cache(maxsize=1)
def _tables() -> tuple[
    Int[np.ndarray, "restype chi 4"], Bool[np.ndarray, "restype chi"], Bool[np.ndarray, "r chi"]
]:
    slots = np.zeros((len(TOKENS), NUM_CHI, 4), np.int64)
    exists = np.zeros((len(TOKENS), NUM_CHI), bool)
    half_turn = np.zeros((len(TOKENS), NUM_CHI), bool)
    for code, torsions in CHI_ATOMS.items():
        row = TOKENS.index(code)
        for chi, atoms in enumerate(torsions):
            slots[row, chi] = [SLOT_NAMES[code].index(name) for name in atoms.split()]
            exists[row, chi] = True
        if code in HALF_TURN:
            half_turn[row, HALF_TURN[code]] = True
    return slots, exists, half_turn


def chi_angles(
    coords: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
) -> tuple[Float[np.ndarray, "token chi"], Bool[np.ndarray, "token chi"]]:
    """Side-chain torsions chi1 to chi4.

    Args:
        coords: Positions, angstrom.
        mask: Known positions.
        restype: Identity of each token.

    Returns:
        Angles in degrees (0 where undefined), and where they are defined.
    """
    slots, exists, _ = _tables()
    slots, exists = slots[restype], exists[restype]
    token = np.arange(len(restype))[:, None, None]
    known = exists & mask[token, slots].all(axis=-1)
    atoms = np.moveaxis(coords[token, slots].astype(np.float64), 2, 0)
    angles = np.degrees(dihedral(atoms[0], atoms[1], atoms[2], atoms[3]))
    return np.where(known, angles, 0.0), known


def chi_errors(
    predicted: Float[np.ndarray, "token chi"],
    reference: Float[np.ndarray, "token chi"],
    restype: Int[np.ndarray, " token"],
) -> Float[np.ndarray, "token chi"]:
    """Absolute error of each torsion in degrees, 0 to 180; half turns of ``HALF_TURN`` are 0."""
    difference = np.abs((predicted - reference + 180.0) % 360.0 - 180.0)
    half_turn = _tables()[2][restype]
    return np.where(half_turn, np.minimum(difference, 180.0 - difference), difference)


def chi_correct(
    predicted: Float[np.ndarray, "token slot 3"],
    reference: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
    *,
    tolerance: float = CHI_TOLERANCE_DEGREES,
) -> tuple[Bool[np.ndarray, "token chi"], Bool[np.ndarray, "token chi"]]:
    """Torsions within the tolerance, as SCWRL4 counts them.

    As there, chi2 is correct only if chi1 is too, and so on. Non-finite predictions are wrong.

    Returns:
        Correct torsions, and those that count.

    Source: Krivov, Shapovalov and Dunbrack, Proteins 77, 778 (2009).
    """
    true_angles, counted = chi_angles(reference, mask, restype)
    found, _ = chi_angles(predicted, np.ones_like(mask), restype)
    within = chi_errors(found, true_angles, restype) <= tolerance
    return np.logical_and.accumulate(within | ~counted, axis=1) & counted, counted


def side_chain_mask(
    mol_type: Int[np.ndarray, " token"], atom_mask: Bool[np.ndarray, "token slot"]
) -> Bool[np.ndarray, "token slot"]:
    """Side-chain atoms beyond the backbone (CB counts as side chain); only of proteins."""
    beyond = np.arange(NUM_SLOTS) >= BACKBONE_SLOTS[MolType.PROTEIN]
    return np.asarray(atom_mask & beyond & (mol_type == MolType.PROTEIN)[:, None])


def side_chain_deviation(
    predicted: Float[np.ndarray, "token slot 3"],
    reference: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
) -> tuple[float, int]:
    """Sum of squared deviations of the given atoms without superposition, and their number.

    Identical atoms (both oxygens of a carboxylate, both edges of a ring) are matched the better
    way round, residue by residue.

    Args:
        predicted: Positions in the frame of the reference, angstrom.
        reference: Positions to compare with.
        mask: Side-chain atoms that count.
        restype: Identity of each token.
    """
    named = rename_for_rmsd(predicted, reference, mask, restype)
    squares = np.sum((named - reference) ** 2, axis=-1)[mask]
    return float(squares.sum(dtype=np.float64)), int(mask.sum())


def side_chain_rmsd(
    predicted: Float[np.ndarray, "token slot 3"],
    reference: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
) -> float:
    """Root-mean-square deviation of side-chain atoms given the backbone, angstrom."""
    total, count = side_chain_deviation(predicted, reference, mask, restype)
    return math.sqrt(total / count) if count else math.nan

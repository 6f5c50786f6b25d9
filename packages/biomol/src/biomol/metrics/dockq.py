"""DockQ: quality of one interface between two polymers.

Source: Basu and Wallner, PLoS ONE 11, e0161879 (2016); nucleic acids as in DockQ v2 (Mirabello
and Wallner, Bioinformatics 40, btae586 (2024)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from biomol.chem.vocab import NUM_SLOTS, SLOT_NAMES, MolType
from biomol.data.complex import Complex
from biomol.metrics.matching import Correspondence
from biomol.metrics.superposition import rmsd, superpose
from scimind.typing import Bool, Float, Int

CONTACT_ANGSTROM = 5.0
INTERFACE_ANGSTROM = 10.0
SUCCESS = 0.23

_RIBOSE = ("P", "OP1", "OP2", "O3'", "O4'", "O5'", "C1'", "C2'", "C3'", "C4'", "C5'")
_BACKBONE = {
    MolType.PROTEIN: ("N", "CA", "C", "O"),
    MolType.RNA: (*_RIBOSE, "O2'"),
    MolType.DNA: _RIBOSE,
}


@dataclass(frozen=True, kw_only=True)
class InterfaceScore:
    """Scores of one interface.

    Attributes:
        dockq: Mean of the three scaled scores, 0 to 1.
        fnat: Share of native residue contacts (5 angstrom) that the model has.
        interface_rmsd: RMSD of the backbone of interface residues (10 angstrom), angstrom.
        ligand_rmsd: RMSD of the smaller chain's backbone after superposing the larger, angstrom.
    """

    dockq: float
    fnat: float
    interface_rmsd: float
    ligand_rmsd: float


def dockq(
    reference: Complex, model: Correspondence, first: int, second: int
) -> InterfaceScore | None:
    """Scores the interface between two chains of the reference.

    Args:
        reference: The structure to compare with.
        model: The prediction laid out like the reference.
        first: ``chain_id`` of one chain.
        second: ``chain_id`` of the other.

    Returns:
        The scores; None where the reference has no contact between the two, or the model lacks
        a chain.
    """
    if first not in model.chains or second not in model.chains:
        return None
    common = reference.coord_mask & model.present
    receptor, ligand = (np.flatnonzero(reference.chain_id == chain) for chain in (first, second))
    resolved = common.any(axis=1)
    if resolved[receptor].sum() < resolved[ligand].sum():
        receptor, ligand = ligand, receptor
    native = _contacts(reference.coords, reference.coord_mask, receptor, ligand, CONTACT_ANGSTROM)
    native &= resolved[receptor][:, None] & resolved[ligand][None]
    if not native.any():
        return None
    found = _contacts(model.coords, model.present, receptor, ligand, CONTACT_ANGSTROM)
    fnat = float((native & found).sum() / native.sum())
    near = _contacts(reference.coords, reference.coord_mask, receptor, ligand, INTERFACE_ANGSTROM)
    interface = np.concatenate([receptor[near.any(axis=1)], ligand[near.any(axis=0)]])
    backbone = common & backbone_atoms(reference.mol_type)
    chosen = np.zeros_like(common)
    chosen[interface] = backbone[interface]
    interface_rmsd = rmsd(model.coords[chosen], reference.coords[chosen])
    fit, moved = np.zeros_like(common), np.zeros_like(common)
    fit[receptor], moved[ligand] = backbone[receptor], backbone[ligand]
    rotation, translation = superpose(model.coords[fit], reference.coords[fit])
    ligand_rmsd = rmsd(
        model.coords[moved] @ rotation + translation, reference.coords[moved], aligned=True
    )
    scaled = [1.0 / (1.0 + (interface_rmsd / 1.5) ** 2), 1.0 / (1.0 + (ligand_rmsd / 8.5) ** 2)]
    return InterfaceScore(
        dockq=math.fsum((fnat, *scaled)) / 3.0,
        fnat=fnat,
        interface_rmsd=interface_rmsd,
        ligand_rmsd=ligand_rmsd,
    )


def backbone_atoms(mol_type: Int[np.ndarray, " token"]) -> Bool[np.ndarray, "token slot"]:
    """The backbone atoms that DockQ superposes."""
    out = np.zeros((len(mol_type), NUM_SLOTS), bool)
    for kind, code in ((MolType.PROTEIN, "ALA"), (MolType.RNA, "A"), (MolType.DNA, "DA")):
        slots = [SLOT_NAMES[code].index(name) for name in _BACKBONE[kind]]
        out[np.ix_(mol_type == kind, slots)] = True
    return out


def _contacts(
    coords: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    first: Int[np.ndarray, " first"],
    second: Int[np.ndarray, " second"],
    cutoff: float,
) -> Bool[np.ndarray, "first second"]:
    """Pairs of residues with two heavy atoms within the cutoff."""
    rows, columns = np.nonzero(mask[first])[0], np.nonzero(mask[second])[0]
    a, b = coords[first][mask[first]], coords[second][mask[second]]
    near = np.linalg.norm(a[:, None] - b[None], axis=-1) < cutoff
    out = np.zeros((len(first), len(second)), bool)
    i, j = np.nonzero(near)
    out[rows[i], columns[j]] = True
    return out

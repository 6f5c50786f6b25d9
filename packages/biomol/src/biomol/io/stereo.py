"""Molecules of a complex as RDKit molecules, and whether positions keep their stereochemistry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from biomol.chem.ccd import AROMATIC, find_component
from biomol.chem.standard import residue_bonds
from biomol.chem.vocab import REPRESENTATIVE_SLOT, TOKENS, MolType
from biomol.data.complex import Complex
from biomol.io.write import residue_units
from scimind.errors import InputError
from scimind.typing import Float

_NON_METALS = frozenset((1, 5, 6, 7, 8, 9, 14, 15, 16, 17, 33, 34, 35, 52, 53))
_FLAT_ANGSTROM3 = 0.3  # an ideal tetrahedral carbon has about 2.6
_MAX_PROTONATION_TRIES = 256


@dataclass(frozen=True)
class ChiralityCount:
    """How many stereocentres have the handedness of the record.

    Attributes:
        matches: Centres with the right handedness.
        total: Centres that could be judged.
        skipped: Centres of which a neighbour has no position, or without reference.
    """

    matches: int
    total: int
    skipped: int


def to_rdkit(
    record: Complex,
    chain: int,
    coords: Float[np.ndarray, "token slot 3"] | None = None,
) -> Any:
    """RDKit molecule of a ligand chain, its bonds from the record.

    Args:
        record: Complex.
        chain: Index of a chain of atom tokens.
        coords: Positions in angstrom, those of the record by default; they become the conformer
            (not set if an atom has none) and decide the chirality of the molecule.

    Returns:
        Sanitised ``rdkit.Chem.Mol`` with implicit hydrogens; atom i is the i-th token of the
        chain and carries its name in the property ``atom_name``.

    Raises:
        InputError: The chain holds residues, or RDKit finds its chemistry impossible.
    """
    from rdkit import Chem, rdBase
    from rdkit.Geometry import Point3D

    tokens = np.flatnonzero(record.chain_id == chain)
    slot = REPRESENTATIVE_SLOT
    if not len(tokens) or (record.mol_type[tokens] != MolType.ATOM).any():
        raise InputError(
            f"chain {chain} of {record.name} is not a ligand; give a chain of atom tokens",
            rule="ligand.chain",
        )
    kinds = {
        1: Chem.BondType.SINGLE,
        2: Chem.BondType.DOUBLE,
        3: Chem.BondType.TRIPLE,
        AROMATIC: Chem.BondType.AROMATIC,
    }
    molecule = Chem.RWMol()
    place = {}
    for token in tokens.tolist():
        atom = Chem.Atom(int(record.atom_element[token, slot]))
        atom.SetFormalCharge(int(record.atom_charge[token, slot]))
        atom.SetProp("atom_name", str(record.atom_name[token, slot]))
        if int(record.atom_element[token, slot]) not in _NON_METALS:
            atom.SetNoImplicit(True)
        place[token] = molecule.AddAtom(atom)
    kekule = _kekule_orders(record, chain)
    for i, _, j, _, order in record.bonds.tolist():
        if i not in place or j not in place:
            continue
        metals = [int(record.atom_element[t, slot]) not in _NON_METALS for t in (i, j)]
        if any(metals):
            # A metal takes an electron pair without using up a valence of its partner.
            donor, metal = (j, i) if metals[0] else (i, j)
            molecule.AddBond(place[donor], place[metal], Chem.BondType.DATIVE)
        else:
            molecule.AddBond(place[i], place[j], kinds[kekule.get((i, j), order)])
    positions = record.coords if coords is None else coords
    known = coords is not None or bool(record.coord_mask[tokens, slot].all())
    if known:
        conformer = Chem.Conformer(len(tokens))
        for token, index in place.items():
            conformer.SetAtomPosition(index, Point3D(*map(float, positions[token, slot])))
        conformer.Set3D(True)
        molecule.AddConformer(conformer, assignId=True)
    with rdBase.BlockLogs():
        molecule = _sanitise(molecule, record, chain)
        if known:
            Chem.AssignStereochemistryFrom3D(molecule)
    return molecule


def _kekule_orders(record: Complex, chain: int) -> dict[tuple[int, int], int]:
    """Plain orders of the dictionary for aromatic bonds, which settle where hydrogens are."""
    out = {}
    for unit in residue_units(record):
        entry = find_component(unit.code) if unit.chain == chain else None
        if entry is None:
            continue
        token_of = {str(record.atom_name[t, REPRESENTATIVE_SLOT]): t for t in unit.tokens}
        if not set(token_of) <= set(entry.atom_names):
            continue
        for (i, j, _), order in zip(entry.bonds.tolist(), entry.kekule_orders, strict=True):
            ends = [token_of.get(entry.atom_names[k]) for k in (i, j)]
            if ends[0] is not None and ends[1] is not None:
                out[min(ends[0], ends[1]), max(ends[0], ends[1])] = int(order)
    return out


def _sanitise(molecule: Any, record: Complex, chain: int) -> Any:
    from rdkit import Chem

    def attempt(hydrogens: tuple[int, ...]) -> Any:
        candidate = Chem.RWMol(molecule)
        for index in hydrogens:
            candidate.GetAtomWithIdx(index).SetNumExplicitHs(1)
        Chem.SanitizeMol(candidate)
        return candidate.GetMol()

    try:
        return attempt(())
    except Chem.KekulizeException as error:
        # Which nitrogens of an aromatic ring carry a hydrogen is not in a record of heavy atoms.
        nitrogens = [
            atom.GetIdx()
            for atom in molecule.GetAtoms()
            if atom.GetAtomicNum() == 7
            and atom.GetDegree() == 2
            and atom.GetFormalCharge() == 0
            and all(b.GetBondType() == Chem.BondType.AROMATIC for b in atom.GetBonds())
        ]
        choices = (c for size in (1, 2, 3) for c in combinations(nitrogens, size))
        for _, choice in zip(range(_MAX_PROTONATION_TRIES), choices, strict=False):
            try:
                return attempt(choice)
            except Chem.KekulizeException:
                continue
        reason = str(error)
    except (ValueError, RuntimeError) as error:
        reason = str(error)
    raise InputError(
        f"chain {chain} of {record.name} is not a possible molecule: {reason}",
        rule="ligand.chemistry",
    ) from None


def count_chirality_matches(
    record: Complex, coords: Float[np.ndarray, "token slot 3"] | None = None
) -> ChiralityCount:
    """Compare the handedness of positions with that of the reference conformer.

    For every atom with a CIP label the signed volume spanned by three of its bonded neighbours
    is compared between ``coords`` and ``ref_pos``. Unlike CIP labels this does not change
    meaning when a component is linked to another.

    Args:
        record: Complex with reference positions.
        coords: Positions in angstrom of all atoms, those of the record by default.

    Returns:
        Counts over residues and ligands.
    """
    positions = record.coords if coords is None else coords
    known = record.coord_mask if coords is None else record.atom_mask
    neighbours = _neighbours(record)
    matches = total = skipped = 0
    for token, slot in np.argwhere(record.chirality > 0).tolist():
        around = [p for p in neighbours.get((token, slot), ()) if known[p]]
        if not known[token, slot] or len(around) < 3:
            skipped += 1
            continue
        expected, found = (
            _signed_volume(array, (token, slot), around[:3])
            for array in (record.ref_pos, positions)
        )
        if abs(expected) < _FLAT_ANGSTROM3:
            skipped += 1
            continue
        total += 1
        # A flattened centre has neither handedness.
        matches += int(expected * found > 0 and abs(found) > _FLAT_ANGSTROM3)
    return ChiralityCount(matches, total, skipped)


def _signed_volume(
    positions: np.ndarray, centre: tuple[int, int], around: list[tuple[int, int]]
) -> float:
    vectors = np.stack([positions[p] - positions[centre] for p in around]).astype(float)
    return float(np.linalg.det(vectors))


def _neighbours(record: Complex) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Bonded atoms of the same residue or component, whose reference shares one frame."""
    out: dict[tuple[int, int], list[tuple[int, int]]] = {}
    unit_of = {t: k for k, unit in enumerate(residue_units(record)) for t in unit.tokens}
    for i, slot_i, j, slot_j, _ in record.bonds.tolist():
        if i != j and unit_of[i] == unit_of[j]:
            out.setdefault((i, slot_i), []).append((j, slot_j))
            out.setdefault((j, slot_j), []).append((i, slot_i))
    for token in np.flatnonzero(record.mol_type != MolType.ATOM).tolist():
        for a, b, _ in residue_bonds(TOKENS[int(record.restype[token])]).tolist():
            out.setdefault((token, a), []).append((token, b))
            out.setdefault((token, b), []).append((token, a))
    return out

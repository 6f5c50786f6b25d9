"""Whether a written structure file says what it should: atoms, bonds, chirality, geometry.

The file is read again by gemmi, and the ligands are rebuilt in RDKit from its positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdCIPLabeler
from rdkit.Geometry import Point3D

from biomol.chem.vocab import REPRESENTATIVE_SLOT, MolType
from biomol.data.complex import Complex
from biomol.io.structure import read_structure
from biomol.metrics.validity import Validity, validity
from scimind.errors import InputError

_BOND_TYPES = {
    1: Chem.BondType.SINGLE,
    2: Chem.BondType.DOUBLE,
    3: Chem.BondType.TRIPLE,
    4: Chem.BondType.AROMATIC,
}
_CIP = {"R": 1, "S": 2, "r": 1, "s": 2}


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """What came back from one file.

    Attributes:
        name: Name of the record.
        readable: gemmi reads the file and RDKit accepts its ligands.
        atoms: Atoms of the record.
        found_atoms: Atoms that gemmi finds.
        bonds: Ligand bonds of the record.
        found_bonds: Those that the file gives back with the right order.
        centres: Ligand stereocentres of the record with a known label.
        found_centres: Those to which RDKit gives the same label, from the positions alone.
        geometry: Bond lengths, angles, clashes and chirality of the whole structure.
        problem: Why it is not readable, "" otherwise.
    """

    name: str
    readable: bool
    atoms: int
    found_atoms: int
    bonds: int
    found_bonds: int
    centres: int
    found_centres: int
    geometry: Validity | None
    problem: str = ""


def read_back(path: Path, record: Complex) -> ReadBack:
    """Reads a structure file again and compares it with what was written.

    Args:
        path: An mmCIF file that ``write_mmcif`` wrote with all atoms of ``record``.
        record: The record.

    Returns:
        The counts; an unreadable file is a finding, not an error.
    """
    bonds = _bonds(record)
    slot = REPRESENTATIVE_SLOT
    labels = {
        _atom(record, token): int(record.chirality[token, slot])
        for token in np.flatnonzero(record.mol_type == MolType.ATOM).tolist()
        if record.chirality[token, slot]
    }
    total = int(record.atom_mask.sum())
    found_atoms, found_bonds, found_centres = 0, 0, 0
    geometry, problem = None, ""
    try:
        found_atoms = sum(model.count_atom_sites() for model in gemmi.read_structure(str(path)))
        again = read_structure(path).complexes[0]
        found_bonds = len(bonds & _bonds(again))
        hands = _hands(again)
        found_centres = sum(hands.get(atom) == label for atom, label in labels.items())
        if again.num_tokens == record.num_tokens:
            # The reference conformer of the record judges the positions of the file.
            geometry = validity(record, again.coords, again.coord_mask)
    except (InputError, RuntimeError, ValueError) as error:
        problem = str(error).splitlines()[0]
    return ReadBack(
        name=record.name,
        readable=not problem,
        atoms=total,
        found_atoms=found_atoms,
        bonds=len(bonds),
        found_bonds=found_bonds,
        centres=len(labels),
        found_centres=found_centres,
        geometry=geometry,
        problem=problem,
    )


_Atom = tuple[int, str]


def _atom(record: Complex, token: int) -> _Atom:
    """Address of an atom token: ordinal of its chain and name."""
    return int(record.chain_id[token]), str(record.atom_name[token, REPRESENTATIVE_SLOT])


def _bonds(record: Complex) -> set[tuple[frozenset[_Atom], int]]:
    atom = record.mol_type == MolType.ATOM
    return {
        (frozenset((_atom(record, i), _atom(record, j))), order)
        for i, _, j, _, order in record.bonds.tolist()
        if atom[i] and atom[j]
    }


def _hands(record: Complex) -> dict[_Atom, int]:
    """CIP label of each ligand atom, assigned by RDKit from positions and bonds alone."""
    tokens = np.flatnonzero(record.mol_type == MolType.ATOM).tolist()
    if not tokens:
        return {}
    slot = REPRESENTATIVE_SLOT
    mol = Chem.RWMol()
    conformer = Chem.Conformer(len(tokens))
    for index, token in enumerate(tokens):
        atom = Chem.Atom(int(record.atom_element[token, slot]))
        atom.SetFormalCharge(int(record.atom_charge[token, slot]))
        mol.AddAtom(atom)
        conformer.SetAtomPosition(index, Point3D(*map(float, record.coords[token, slot])))
    place = {token: index for index, token in enumerate(tokens)}
    for i, _, j, _, order in record.bonds.tolist():
        if i in place and j in place:
            mol.AddBond(place[i], place[j], _BOND_TYPES[order])
            if order == 4:
                for token in (i, j):
                    mol.GetAtomWithIdx(place[token]).SetIsAromatic(True)
    with rdBase.BlockLogs():
        _protonate_aromatic_nitrogen(mol)
        Chem.SanitizeMol(mol)
        mol.AddConformer(conformer)
        Chem.AssignStereochemistryFrom3D(mol, replaceExistingTags=True)
        rdCIPLabeler.AssignCIPLabels(mol)
    return {
        _atom(record, token): _CIP.get(mol.GetAtomWithIdx(index).GetProp("_CIPCode"), 0)
        for index, token in enumerate(tokens)
        if mol.GetAtomWithIdx(index).HasProp("_CIPCode")
    }


def _protonate_aromatic_nitrogen(mol: Chem.RWMol) -> None:
    """Gives hydrogens to aromatic nitrogens until the rings have a Kekulé structure.

    A record does not say which nitrogen of an aromatic ring carries the hydrogen.
    """
    candidates = [
        atom
        for atom in mol.GetAtoms()
        if atom.GetAtomicNum() == 7 and atom.GetIsAromatic() and atom.GetDegree() == 2
    ]
    for hydrogens in range(1 << min(len(candidates), 6)):
        for bit, atom in enumerate(candidates[:6]):
            carries = bool(hydrogens >> bit & 1)
            atom.SetNoImplicit(carries)
            atom.SetNumExplicitHs(int(carries))
        try:
            Chem.SanitizeMol(Chem.RWMol(mol))
        except (Chem.KekulizeException, Chem.AtomValenceException):
            continue
        return

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from biomol.chem.standard import residue_bonds
from biomol.chem.vocab import SLOT_NAMES, MolType
from biomol.data.complex import Complex
from biomol.io.fasta import complex_from_sequence
from biomol.io.ligand import from_smiles
from biomol.io.structure import read_structure
from biomol.metrics.validity import validity


def _conformer(smiles: str) -> Complex:
    record = from_smiles(smiles, "ligand", conformer=True)
    return replace(record, coords=record.ref_pos, coord_mask=record.atom_mask)


def _residue(letter: str) -> Complex:
    record = complex_from_sequence(letter, MolType.PROTEIN, letter)
    return replace(record, coords=record.ref_pos, coord_mask=record.atom_mask)


IBUPROFEN = "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O"


def test_a_conformer_is_valid_and_all_its_bonds_are_counted() -> None:
    found = validity(_conformer(IBUPROFEN))
    assert found.valid
    # Ibuprofen C13H18O2: 15 heavy atoms, 15 bonds, one stereocentre; 1-3 pairs from degrees.
    assert (found.atoms, found.bonds, found.centres) == (15, 15, 1)
    assert found.angles == sum(n * (n - 1) // 2 for n in (3, 2, 3, 3, 3, 3, 2, 2, 2, 2))


@pytest.mark.parametrize("letter", list("ARNDCQEGHILKMFPSTWYV"))
def test_ideal_residues_are_valid(letter: str) -> None:
    found = validity(_residue(letter))
    assert found.valid, found
    assert found.centres == {"G": 0, "I": 2, "T": 2}.get(letter, 1)


def test_a_mirror_image_has_the_wrong_hand_and_nothing_else() -> None:
    record = _residue("T")
    found = validity(record, record.coords * np.float32([1, 1, -1]))
    assert (found.centres, found.good_centres) == (2, 0)
    assert (found.good_bonds, found.good_angles, found.clashes) == (found.bonds, found.angles, 0)


def test_a_stretched_bond_is_found() -> None:
    record = _residue("S")
    coords = record.coords.copy()
    oxygen, beta = SLOT_NAMES["SER"].index("OG"), SLOT_NAMES["SER"].index("CB")
    coords[0, oxygen] += 0.4 * (coords[0, oxygen] - coords[0, beta])
    found = validity(record, coords)
    assert found.bonds - found.good_bonds == 1
    assert not found.valid


def test_atoms_on_top_of_each_other_clash() -> None:
    pair = from_smiles("CCO.CCO", "two ethanols", conformer=True)
    coords = pair.ref_pos.copy()
    coords[3:] += 20.0
    apart = validity(replace(pair, coords=coords, coord_mask=pair.atom_mask))
    assert apart.clashes == 0
    coords[3:] -= 19.0
    close = validity(replace(pair, coords=coords, coord_mask=pair.atom_mask))
    assert close.clashes > 0
    assert close.clash_score == pytest.approx(1000.0 * close.clashes / 6)


def test_residues_have_the_bonds_of_the_dictionary() -> None:
    # Acyclic residues have one bond fewer than atoms, proline one ring, tryptophan two.
    rings = {"PRO": 1, "HIS": 1, "PHE": 1, "TYR": 1, "TRP": 2}
    for code in ("ALA", "GLY", "ARG", "PRO", "HIS", "PHE", "TYR", "TRP"):
        assert len(residue_bonds(code)) == len(SLOT_NAMES[code]) - 1 + rings.get(code, 0)
    for code, count in (("A", 3), ("DA", 3), ("C", 2), ("DT", 2)):
        assert len(residue_bonds(code)) == len(SLOT_NAMES[code]) - 1 + count


def test_a_crystal_structure_is_all_but_valid(real_data: Path) -> None:
    record = read_structure(real_data / "biomol/structures/protein/1ubq.pdb").complexes[0]
    found = validity(record)
    assert found.good_bonds == found.bonds > 600
    assert found.good_angles == found.angles
    # 76 residues, 6 glycines, 7 isoleucines and 7 threonines with a second centre.
    assert found.good_centres == found.centres == 76 - 6 + 7 + 7
    # As deposited, the oxygen of arginine 72 is 2.38 angstrom from its own CG.
    assert found.clashes == 1

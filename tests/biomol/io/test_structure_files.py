"""Real structure files: every atom record accounted for, formats that agree with one another."""

import re
from pathlib import Path

import gemmi
import numpy as np
import pytest

from biomol.chem.vocab import TOKENS, MolType
from biomol.data.complex import Complex
from biomol.io.residues import NO_SLOT, OTHER_MODEL, WATER_NAMES
from biomol.io.stereo import count_chirality_matches
from biomol.io.structure import StructureFile, is_structure_file, read_structure

ARRAYS = (
    *("mol_type", "restype", "res_index", "chain_id", "entity_id", "atom_mask", "atom_element"),
    *("atom_charge", "atom_name", "coord_mask", "chirality", "bonds"),
)


@pytest.fixture(scope="module")
def biomol(real_data: Path) -> Path:
    return real_data / "biomol"


@pytest.fixture(scope="module")
def read_files(biomol: Path) -> dict[Path, StructureFile]:
    return {path: read_structure(path) for path in structure_files(biomol)}


def structure_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and is_structure_file(path))


def assert_same(first: Complex, second: Complex) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    np.testing.assert_allclose(first.coords, second.coords, atol=1e-3)
    assert first.chain_names == second.chain_names
    assert first.residue_names == second.residue_names
    assert first.residue_numbers == second.residue_numbers


def records_in(path: Path) -> int:
    """Number of atom records by a count that shares no code with the reader."""
    if path.suffix in (".pdb", ".ent"):
        return len(re.findall(rb"^(?:ATOM  |HETATM)", path.read_bytes(), re.MULTILINE))
    block = gemmi.cif.read(str(path))[0]
    return len(block.find_values("_atom_site.id")) or len(
        block.find_values("_chem_comp_atom.atom_id")
    )


def test_every_atom_record_of_every_file_is_kept_or_reported(
    read_files: dict[Path, StructureFile],
) -> None:
    assert len(read_files) >= 131
    for path, file in read_files.items():
        kept = sum(int(record.coord_mask.sum()) for record in file.complexes)
        dropped = sum(entry.count for entry in file.dropped)
        assert kept == file.totals["kept"], path
        assert kept + dropped == file.totals["records"], path
        if path.suffix != ".bcif":
            assert file.totals["records"] == records_in(path), path
        for record in file.complexes:
            assert np.isfinite(record.coords).all(), path
            assert not (record.coord_mask & ~record.atom_mask).any(), path


def test_kept_atoms_are_the_heavy_atoms_that_gemmi_sees(
    read_files: dict[Path, StructureFile],
) -> None:
    """Where no alternatives have to be chosen, the count of an independent reader must agree."""
    compared = 0
    for path, file in read_files.items():
        if path.suffix == ".bcif" or "structures" not in path.parts:
            continue
        atoms = [
            (residue.name, atom)
            for chain in gemmi.read_structure(str(path))[0]
            for residue in chain
            for atom in residue
        ]
        if any(atom.has_altloc() for _, atom in atoms):
            continue
        expected = sum(not a.is_hydrogen() and n not in WATER_NAMES for n, a in atoms)
        no_slot = sum(entry.count for entry in file.dropped if entry.reason == NO_SLOT)
        assert file.totals["kept"] + no_slot == expected, path
        compared += 1
    assert compared > 60


def test_lysozyme_is_the_same_in_three_formats(biomol: Path) -> None:
    pdb, cif, bcif = (
        read_structure(biomol / name).complexes[0]
        for name in ("formats/1aki.pdb", "structures/protein/1aki.cif", "formats/1aki.bcif")
    )
    assert_same(pdb, cif)
    assert_same(cif, bcif)
    assert pdb.num_tokens == 129
    assert pdb.coord_mask.sum() == 1000  # of 1001 heavy atoms; the terminal oxygen has no slot
    assert len(pdb.bonds) == 4  # disulfides


def test_a_protein_dna_complex_is_the_same_in_two_formats(biomol: Path) -> None:
    pdb = read_structure(biomol / "formats/5ugo.pdb").complexes[0]
    cif = read_structure(biomol / "structures/protein_dna/5ugo.cif").complexes[0]
    assert_same(pdb, cif)
    kinds, counts = np.unique(pdb.mol_type, return_counts=True)
    assert dict(zip(kinds.tolist(), counts.tolist(), strict=True)) == {
        MolType.PROTEIN: 335,
        MolType.DNA: 32,
        MolType.ATOM: 11,
    }


def test_microheterogeneity_takes_the_residue_of_highest_occupancy(biomol: Path) -> None:
    file = read_structure(biomol / "formats/altloc.cif")
    record = file.complexes[0]
    assert [TOKENS[i] for i in record.restype] == ["PRO"]
    assert record.coord_mask.sum() == 7


def test_glycans_are_branched_molecules_with_their_bonds(biomol: Path) -> None:
    record = read_structure(biomol / "formats/res_ids.cif").complexes[0]
    sizes = np.bincount(record.chain_id).tolist()
    assert sizes == [3, 24, 38, 24, 38, 24, 38, 15, 15, 15]
    assert record.entity_id.max() == 3  # peptide, two glycans, one free sugar
    # A tree of bonds within each sugar and one between neighbours: two rings in NAG-FUC.
    within = [(i, j) for i, _, j, _, _ in record.bonds.tolist() if record.chain_id[i] == 1]
    assert len(within) == 24 - 1 + 2


def test_an_ensemble_gives_one_model_and_reports_the_others(biomol: Path) -> None:
    file = read_structure(biomol / "structures/protein/1l2y.cif")
    assert file.totals["models"] == 38
    assert sum(e.reason == OTHER_MODEL for e in file.dropped) == 37
    other = read_structure(biomol / "structures/protein/1l2y.cif", model=38).complexes[0]
    assert np.abs(other.coords - file.complexes[0].coords).max() > 0.5


def test_component_files_are_read_as_one_ligand(biomol: Path) -> None:
    record = read_structure(biomol / "formats/TYR.cif").complexes[0]
    assert record.num_tokens == 13
    assert (record.mol_type == MolType.ATOM).all()
    assert record.chirality[record.atom_name == "CA"].tolist() == [2]


def test_crystal_structures_have_the_handedness_of_the_dictionary(
    read_files: dict[Path, StructureFile],
) -> None:
    matches = total = 0
    for path, file in read_files.items():
        if path.parent.name not in ("protein", "protein_ligand", "rna"):
            continue
        count = count_chirality_matches(file.complexes[0])
        matches, total = matches + count.matches, total + count.total
    assert total > 20_000
    assert matches >= 0.999 * total

"""Written files: what is read back is what was written, by us and by three other readers."""

from pathlib import Path

import gemmi
import numpy as np
import pytest
from biotite.structure.io import pdbx
from rdkit import Chem

from biomol.chem.ccd import component
from biomol.chem.standard import reference_slots
from biomol.data.complex import Complex
from biomol.io.ligand import from_smiles
from biomol.io.stereo import count_chirality_matches, to_rdkit
from biomol.io.structure import read_structure
from biomol.io.write import write_mmcif, write_pdb
from pdb_text import peptide, residue
from scimind.errors import InputError

ARRAYS = (
    *("mol_type", "restype", "res_index", "chain_id", "entity_id", "atom_mask", "atom_element"),
    *("atom_charge", "atom_name", "coord_mask", "chirality", "bonds"),
)
WRITERS = {"cif": write_mmcif, "pdb": write_pdb}


def assert_same(first: Complex, second: Complex) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    np.testing.assert_allclose(first.coords, second.coords, atol=1e-3)
    np.testing.assert_allclose(first.ref_pos, second.ref_pos, atol=1e-3)
    assert first.chain_names == second.chain_names
    assert first.residue_names == second.residue_names


@pytest.fixture
def mixed(tmp_path: Path) -> Complex:
    """Protein with a modified residue, RNA, DNA, a ligand, an ion and an unresolved residue."""
    lines = [
        "SEQRES   1 A    4  ALA SER SEP GLY",
        *residue("ALA", "A", 1, shift=0),
        *residue("SEP", "A", 3, shift=16, hetero=True),
        *residue("GLY", "A", 4, shift=24),
        "TER",
        *residue("A", "R", 1, shift=50),
        *residue("U", "R", 2, shift=62),
        "TER",
        *residue("DC", "D", 1, shift=80),
        "TER",
        *residue("ATP", "A", 101, shift=100, hetero=True),
        *residue("ZN", "A", 102, shift=120, hetero=True),
    ]
    path = tmp_path / "mixed.pdb"
    path.write_text("\n".join(lines), encoding="ascii")
    return read_structure(path).complexes[0]


@pytest.mark.parametrize("ending", WRITERS)
def test_a_mixed_complex_survives_writing_and_reading(
    mixed: Complex, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"out.{ending}"
    WRITERS[ending](mixed, None, path)
    file = read_structure(path)
    assert file.totals["dropped"] == 0
    assert_same(mixed, file.complexes[0])


def test_three_other_readers_find_every_atom(mixed: Complex, tmp_path: Path) -> None:
    from Bio.PDB import MMCIFParser

    path = tmp_path / "out.cif"
    write_mmcif(mixed, None, path)
    expected = int(mixed.coord_mask.sum())
    structure = gemmi.read_structure(str(path))
    assert structure[0].count_atom_sites() == expected
    kinds = {entity.entity_type.name for entity in structure.entities}
    assert kinds == {"Polymer", "NonPolymer"}
    sequence = next(e for e in structure.entities if e.polymer_type.name == "PeptideL")
    assert sequence.full_sequence == ["ALA", "SER", "SEP", "GLY"]
    array = pdbx.get_structure(pdbx.CIFFile.read(path), model=1)
    assert array.array_length() == expected
    found = MMCIFParser(QUIET=True).get_structure("x", path)
    assert len(list(found.get_atoms())) == expected
    np.testing.assert_allclose(
        np.sort(array.coord.sum(axis=1)), np.sort(mixed.coords[mixed.coord_mask].sum(axis=1)),
        atol=2e-3,
    )  # fmt: skip


def test_predicted_positions_and_confidence_are_written_for_all_atoms(
    mixed: Complex, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    coords = generator.normal(scale=20, size=mixed.coords.shape).astype(np.float32)
    confidence = generator.uniform(0, 100, size=mixed.num_tokens)
    path = tmp_path / "out.cif"
    write_mmcif(mixed, coords, path, b_factors=confidence)
    file = read_structure(path)
    record = file.complexes[0]
    np.testing.assert_array_equal(record.coord_mask, mixed.atom_mask)
    np.testing.assert_allclose(record.coords[record.coord_mask], coords[mixed.atom_mask], atol=1e-3)
    expected = np.broadcast_to(confidence[:, None], mixed.atom_mask.shape)[mixed.atom_mask]
    np.testing.assert_allclose(file.b_factors[0][record.coord_mask], expected, atol=0.01)


@pytest.mark.parametrize(
    "smiles",
    ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "c1ccc2[nH]ccc2c1", "O=C([O-])C#C[N+](C)(C)C",
     "C[C@H](F)[C@@H](Cl)Br", "c1c[nH]cn1"],
)  # fmt: skip
def test_a_ligand_from_smiles_has_its_bonds_and_stereochemistry_in_the_file(
    smiles: str, tmp_path: Path
) -> None:
    record = from_smiles(smiles, "ligand", conformer=True)
    path = tmp_path / "ligand.cif"
    write_mmcif(record, record.ref_pos, path)
    back = read_structure(path).complexes[0]
    for name in ("atom_name", "atom_charge", "atom_element", "bonds", "chirality"):
        np.testing.assert_array_equal(getattr(back, name), getattr(record, name), err_msg=name)
    np.testing.assert_allclose(back.ref_pos, record.ref_pos, atol=1e-3)
    assert Chem.MolToSmiles(to_rdkit(back, 0)) == Chem.CanonSmiles(smiles)


def test_two_different_ligands_of_one_name_get_two_names(tmp_path: Path) -> None:
    lines = [
        *residue("BNZ", "A", 1, shift=0, hetero=True, named="LIG"),
        *residue("PYR", "A", 2, shift=20, hetero=True, named="LIG"),
    ]
    path = tmp_path / "two.pdb"
    path.write_text("\n".join(lines), encoding="ascii")
    record = read_structure(path).complexes[0]
    write_mmcif(record, None, tmp_path / "two.cif")
    back = read_structure(tmp_path / "two.cif").complexes[0]
    assert len(set(back.residue_names)) == 2
    np.testing.assert_array_equal(back.bonds, record.bonds)


def test_positions_that_are_not_finite_are_refused(mixed: Complex, tmp_path: Path) -> None:
    coords = mixed.coords.copy()
    coords[0, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write_mmcif(mixed, coords, tmp_path / "x.cif")
    assert not (tmp_path / "x.cif").exists()


def test_a_name_too_long_for_pdb_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "x.cif"
    record = from_smiles("CCO", "ligand", conformer=True)
    object.__setattr__(record, "chain_names", ("Chain",))
    with pytest.raises(InputError, match="write mmCIF"):
        write_pdb(record, record.ref_pos, path)


def test_mirror_images_lose_every_stereocentre(mixed: Complex) -> None:
    right = count_chirality_matches(mixed)
    assert right.total > 15
    assert right.matches == right.total
    mirrored = mixed.coords * np.array((1, 1, -1), np.float32)
    flipped = mixed.__class__(**{**mixed.__dict__, "coords": mirrored})
    assert count_chirality_matches(flipped).matches == 0


@pytest.mark.parametrize("code", ["HEM", "ATP", "BTN", "NAG", "FES", "TRP", "ZN"])
def test_dictionary_ligands_become_rdkit_molecules(code: str, tmp_path: Path) -> None:
    path = tmp_path / "x.pdb"
    entry = component(code)
    keep = list(entry.atom_names)
    path.write_text("\n".join(residue(code, "A", 1, shift=0, hetero=True, keep=keep)))
    molecule = to_rdkit(read_structure(path).complexes[0], 0)
    assert molecule.GetNumAtoms() == int((entry.elements > 1).sum())
    if code == "BTN":
        expected = Chem.CanonSmiles("OC(=O)CCCC[C@@H]1SC[C@@H]2NC(=O)N[C@H]12")
        assert Chem.MolToSmiles(molecule) == expected


def test_component_file_and_sdf_are_one_molecule(real_data: Path) -> None:
    for code in ("HWB", "03F"):
        folder = real_data / "biomol" / "formats"
        record = read_structure(folder / f"{code}.cif").complexes[0]
        molecule = Chem.MolFromMolFile(str(folder / f"{code}.sdf"))
        assert Chem.MolToSmiles(to_rdkit(record, 0)) == Chem.MolToSmiles(Chem.RemoveHs(molecule))


def test_real_files_survive_writing_and_reading(real_data: Path, tmp_path: Path) -> None:
    names = """structures/protein_dna/5ugo.cif structures/protein_protein/1igy.cif
    structures/rna/4ts2.pdb structures/protein/3htn.pdb structures/protein/1pin.pdb
    structures/protein_ligand/1k6p.cif structures/rna/4p5j.cif structures/protein_dna/1bf4.pdb
    benchmarks/foldbench/predictions/5sbj/sample_0.cif benchmarks/posebusters/1ia1/1ia1_protein_one_lig_removed.pdb
    structures/protein_ligand/1dil.pdb formats/res_ids.cif""".split()  # noqa: E501, SIM905
    for name in names:
        record = read_structure(real_data / "biomol" / name).complexes[0]
        write_mmcif(record, None, tmp_path / "x.cif")
        assert_same(record, read_structure(tmp_path / "x.cif").complexes[0])


def test_reference_slots_and_written_names_agree(tmp_path: Path) -> None:
    path = tmp_path / "x.pdb"
    path.write_text("\n".join(peptide(["TRP", "ARG"])), encoding="ascii")
    record = read_structure(path).complexes[0]
    np.testing.assert_array_equal(record.atom_name[0], reference_slots("TRP").names)

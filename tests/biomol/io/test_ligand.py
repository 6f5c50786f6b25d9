import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from biomol.chem.vocab import TOKENS, MolType
from biomol.io.ligand import chain_name, from_smiles, read_sdf
from scimind.errors import InputError

# L-alanine with its hydrogens, drawn by hand in 3D; the last record is cut off.
ALANINE = """alanine
  made by hand

  6  5  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 C   0  0
   -0.5000   -0.7000   -1.2000 N   0  0
   -0.5000    1.4000    0.0000 C   0  0
    2.1000    1.0500    0.0000 O   0  0
    2.1000   -1.0500    0.0000 O   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  2  5  2  0
  2  6  1  0
M  END
> <activity>
7.25

> <comment>
not a number

"""


def test_benzene_has_six_aromatic_bonds_and_no_hydrogens() -> None:
    record = from_smiles("c1ccccc1", "benzene")
    assert record.num_tokens == 6
    assert (record.mol_type == MolType.ATOM).all()
    assert [TOKENS[token] for token in record.restype] == ["@C"] * 6
    assert record.bonds[:, 4].tolist() == [4] * 6
    degree = np.bincount(record.bonds[:, [0, 2]].ravel())
    assert degree.tolist() == [2] * 6
    assert (record.atom_mask.sum(axis=1) == 1).all()
    assert record.atom_mask[:, 1].all()
    assert not record.coord_mask.any()


@pytest.mark.parametrize(
    ("smiles", "code"),
    [("C[C@@H](C(=O)O)N", 2), ("C[C@H](C(=O)O)N", 1), ("CC(C(=O)O)N", 0)],
)
def test_alanine_is_s_in_its_l_form(smiles: str, code: int) -> None:
    record = from_smiles(smiles, "alanine")
    assert record.chirality[:, 1].tolist() == [0, code, 0, 0, 0, 0]
    assert (np.delete(record.chirality, 1, axis=1) == 0).all()


def test_bond_orders_and_charges_are_those_of_the_molecule() -> None:
    record = from_smiles("C=CC#N.[O-][N+](C)(C)C", "mixture")
    orders = {(int(i), int(j)): int(o) for i, _, j, _, o in record.bonds}
    assert orders[0, 1] == 2
    assert orders[1, 2] == 1
    assert orders[2, 3] == 3
    assert record.atom_charge[:, 1].tolist() == [0, 0, 0, 0, -1, 1, 0, 0, 0]


def test_fragments_are_chains_and_equal_fragments_share_the_entity() -> None:
    record = from_smiles("[Na+].CC(=O)[O-].[Na+]", "sodium acetate")
    assert record.chain_id.tolist() == [0, 1, 1, 1, 1, 2]
    assert record.entity_id.tolist() == [0, 1, 1, 1, 1, 0]
    assert record.atom_name[:, 1].tolist() == ["NA1", "C1", "C2", "O1", "O2", "NA1"]
    assert record.chain_names == ("A", "B", "C")
    assert record.residue_names == ("LIG", "01", "01", "01", "01", "LIG")


def test_atom_names_within_a_chain_are_unique() -> None:
    record = from_smiles("OCC3OC(OCC2OC(OC(C#N)c1ccccc1)C(O)C(O)C2O)C(O)C(O)C3O", "amygdalin")
    names = record.atom_name[:, 1].tolist()
    assert len(set(names)) == len(names)


def test_a_conformer_has_bond_lengths_of_molecules_and_repeats_with_its_seed() -> None:
    first = from_smiles("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "ibuprofen", conformer=True, seed=3)
    again = from_smiles("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "ibuprofen", conformer=True, seed=3)
    other = from_smiles("CC(C)Cc1ccc(cc1)C(C)C(=O)O", "ibuprofen", conformer=True, seed=4)
    np.testing.assert_array_equal(first.ref_pos, again.ref_pos)
    assert not np.array_equal(first.ref_pos, other.ref_pos)
    i, j = first.bonds[:, 0], first.bonds[:, 2]
    length = np.linalg.norm(first.ref_pos[i, 1] - first.ref_pos[j, 1], axis=-1)
    assert length.min() > 1.1
    assert length.max() < 1.65


def test_a_conformer_that_cannot_be_found_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = from_smiles("C1#CC1", "cyclopropyne", conformer=True)
    assert not record.ref_pos.any()
    assert "cyclopropyne" in caplog.text


@pytest.mark.parametrize(
    ("smiles", "rule"),
    [
        ("", "smiles.empty"),
        ("  ", "smiles.empty"),
        ("C1CC", "smiles.syntax"),
        ("Xx", "smiles.syntax"),
        ("CN(=O)(C)(C)C", "smiles.valence"),
        ("c1cccc1", "smiles.kekulize"),
        ("CCO ethanol", "smiles.blank"),
        ("C*", "ligand.dummy_atom"),
        ("[H][H]", "ligand.no_heavy_atom"),
        ("[2H]O[2H].[H+]", None),
        ("C" * 6000, "smiles.length"),
    ],
)
def test_bad_smiles_are_refused_with_their_rule(smiles: str, rule: str | None) -> None:
    if rule is None:
        assert from_smiles(smiles, "heavy water").num_tokens == 1
        return
    with pytest.raises(InputError) as caught:
        from_smiles(smiles, "bad")
    assert caught.value.rule == rule


def test_an_sdf_gives_coordinates_chirality_and_numeric_items(tmp_path: Path) -> None:
    path = tmp_path / "alanine.sdf"
    path.write_text(f"{ALANINE}$$$$\n")
    file = read_sdf(path)
    (record,) = file.complexes
    assert file.dropped == ()
    assert record.name == "alanine"
    assert record.coord_mask[:, 1].all()
    np.testing.assert_allclose(record.coords[2, 1], [-0.5, -0.7, -1.2])
    assert record.properties == {"activity": 7.25}
    mol = Chem.MolFromMolBlock(ALANINE)
    expected = dict(Chem.FindMolChiralCenters(mol, useLegacyImplementation=False))
    assert record.chirality[0, 1] == {"R": 1, "S": 2}[expected[0]]


def test_every_record_of_an_sdf_is_read_or_reported_with_its_line(tmp_path: Path) -> None:
    bad_valence = ALANINE.replace("  1  3  1  0", "  1  3  3  0").replace(
        "  1  4  1  0", "  1  4  3  0"
    )
    truncated = ALANINE.split("M  END")[0]
    too_few = ALANINE.replace("  6  5", "  5  5")
    # An atom count one short shifts an atom line into the bonds; RDKit must not guess.
    records = [ALANINE, bad_valence, ALANINE, truncated, too_few, "\n", ALANINE]
    path = tmp_path / "many.sdf.gz"
    with gzip.open(path, "wt") as file:
        file.write("".join(f"{record}$$$$\n" for record in records))
    found = read_sdf(path)
    assert found.totals["records"] == len(records)
    assert len(found.complexes) == 3
    assert [drop.rule for drop in found.dropped] == [
        "sdf.valence",
        "sdf.truncated",
        "sdf.syntax",
        "sdf.empty_record",
    ]
    lines = "".join(f"{record}$$$$\n" for record in records).split("\n")
    for drop in found.dropped[:3]:
        assert drop.line is not None
        assert lines[drop.line - 1] == "alanine"


def test_an_empty_sdf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.sdf"
    path.write_text("\n\n")
    with pytest.raises(InputError, match="no record"):
        read_sdf(path)


def test_a_drawing_is_not_a_structure(tmp_path: Path) -> None:
    from rdkit.Chem import rdDepictor

    mol = Chem.MolFromSmiles("c1ccccc1O")
    rdDepictor.Compute2DCoords(mol)
    path = tmp_path / "drawing.mol"
    path.write_text(Chem.MolToMolBlock(mol))
    assert not read_sdf(path).complexes[0].coord_mask.any()


def test_v2000_and_v3000_of_one_ligand_give_the_same_record(real_data: Path) -> None:
    folder = real_data / "biomol" / "formats"
    old, new = (read_sdf(folder / name).complexes[0] for name in ("03F.sdf", "03F.v3000.sdf"))
    np.testing.assert_array_equal(old.bonds, new.bonds)
    np.testing.assert_array_equal(old.chirality, new.chirality)
    np.testing.assert_allclose(old.coords, new.coords, atol=1e-3)


def test_chain_names_count_like_a_spreadsheet() -> None:
    assert [chain_name(i) for i in (0, 25, 26, 51, 52, 701, 702)] == [
        "A", "Z", "AA", "AZ", "BA", "ZZ", "AAA",
    ]  # fmt: skip

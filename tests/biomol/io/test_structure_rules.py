"""What read_structure makes of the corner cases of the formats, on small hand-made files."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from biomol.chem.vocab import TOKENS, MolType
from biomol.io.structure import StructureFile, read_structure
from pdb_text import atom, peptide, residue
from scimind.errors import InputError


def read(folder: Path, lines: list[str], **options: object) -> StructureFile:
    path = folder / "made.pdb"
    path.write_text("\n".join([*lines, "END", ""]), encoding="ascii")
    file = read_structure(path, **options)
    records = sum(line.startswith(("ATOM", "HETATM")) for line in lines)
    assert file.totals["kept"] + file.totals["dropped"] == file.totals["records"] == records
    assert sum(entry.count for entry in file.dropped) == file.totals["dropped"]
    return file


def codes(file: StructureFile) -> list[str]:
    return [TOKENS[i] for i in file.complexes[0].restype]


def reasons(file: StructureFile) -> dict[str, int]:
    return {entry.reason: entry.count for entry in file.dropped}


def test_a_residue_is_one_token_and_its_atoms_stand_in_their_slots(tmp_path: Path) -> None:
    record = read(tmp_path, residue("SER", "A", 7, shift=1.0)).complexes[0]
    assert record.num_tokens == 1
    assert record.mol_type[0] == MolType.PROTEIN
    assert record.atom_name[0, :6].tolist() == ["N", "CA", "C", "O", "CB", "OG"]
    assert record.coord_mask[0].sum() == record.atom_mask[0].sum() == 6
    np.testing.assert_allclose(record.coords[0, 1] - record.ref_pos[0, 1], (1, 0, 0), atol=1e-3)
    assert record.residue_numbers == ("7",)


def test_selenomethionine_is_methionine_with_selenium_in_the_place_of_sulphur(
    tmp_path: Path,
) -> None:
    lines = [*peptide(["ALA"]), *residue("MSE", "A", 2, shift=8.0, hetero=True), "TER"]
    file = read(tmp_path, lines)
    assert codes(file) == ["ALA", "MET"]
    assert file.complexes[0].coord_mask[1, 6]
    assert file.complexes[0].atom_name[1, 6] == "SD"


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ("HID", "HIS"),
        ("HSE", "HIS"),
        ("CYX", "CYS"),
        ("ASH", "ASP"),
        ("GLH", "GLU"),
        ("LYN", "LYS"),
    ],
)
def test_force_field_names_are_standard_residues(tmp_path: Path, named: str, code: str) -> None:
    assert codes(read(tmp_path, residue(code, "A", 1, shift=0, named=named))) == [code]


def test_the_alternative_of_highest_occupancy_is_read_as_a_whole(tmp_path: Path) -> None:
    lines = [
        *residue("SER", "A", 1, shift=0.0, altloc="A", occupancy=0.4),
        *residue("SER", "A", 1, shift=0.5, altloc="B", occupancy=0.6),
    ]
    file = read(tmp_path, lines)
    record = file.complexes[0]
    assert record.num_tokens == 1
    shifts = (record.coords - record.ref_pos)[record.coord_mask][:, 0]
    np.testing.assert_allclose(shifts, 0.5, atol=1e-3)
    assert reasons(file) == {"alternative position not chosen": 6}
    other = read(tmp_path, lines, altloc="A").complexes[0]
    np.testing.assert_allclose((other.coords - other.ref_pos)[other.coord_mask], 0.0, atol=1e-3)


def test_equal_occupancies_give_the_first_alternative(tmp_path: Path) -> None:
    lines = [
        *residue("SER", "A", 1, shift=0.5, altloc="B", occupancy=0.5),
        *residue("SER", "A", 1, shift=0.0, altloc="A", occupancy=0.5),
    ]
    record = read(tmp_path, lines).complexes[0]
    np.testing.assert_allclose(record.coords[0, 1, 0] - record.ref_pos[0, 1, 0], 0.5, atol=1e-3)


def test_insertion_codes_and_negative_numbers_keep_their_order(tmp_path: Path) -> None:
    lines = [
        *residue("GLY", "A", -1, shift=0),
        *residue("ALA", "A", 52, shift=8),
        *residue("SER", "A", 52, shift=16, insertion="A"),
        *residue("VAL", "A", 52, shift=24, insertion="B"),
    ]
    record = read(tmp_path, lines).complexes[0]
    assert record.residue_numbers == ("-1", "52", "52A", "52B")
    assert record.res_index.tolist() == [0, 53, 54, 55]


def test_declared_residues_without_atoms_are_tokens_without_positions(tmp_path: Path) -> None:
    lines = [
        "SEQRES   1 A    6  GLY SER GLY SER ALA LYS",
        *residue("GLY", "A", 3, shift=0),
        *residue("ALA", "A", 5, shift=16),
    ]
    record = read(tmp_path, lines).complexes[0]
    assert [TOKENS[i] for i in record.restype] == ["GLY", "SER", "GLY", "SER", "ALA", "LYS"]
    # Numbering says which of the two glycines is resolved.
    assert record.coord_mask.any(axis=1).tolist() == [False, False, True, False, True, False]
    assert record.res_index.tolist() == list(range(6))
    assert (record.coords[~record.coord_mask] == 0).all()


def test_names_without_sugar_are_rna_or_dna_by_the_atoms_of_the_sugar(tmp_path: Path) -> None:
    rna = read(tmp_path, [*residue("A", "A", 1, shift=0, named="ADE"),
                          *residue("C", "A", 2, shift=9, named="CYT")])  # fmt: skip
    assert codes(rna) == ["A", "C"]
    dna = read(tmp_path, [*residue("DA", "A", 1, shift=0, named="ADE"),
                          *residue("DT", "A", 2, shift=9, named="THY")])  # fmt: skip
    assert codes(dna) == ["DA", "DT"]
    old = read(tmp_path, [line.replace("'", "*").replace(" OP1", " O1P")
                          for line in residue("DG", "A", 1, shift=0, named="G")])  # fmt: skip
    assert codes(old) == ["DG"]
    assert old.complexes[0].coord_mask[0].sum() == old.totals["records"]


def test_elements_are_inferred_from_the_columns_of_the_name(tmp_path: Path) -> None:
    lines = [line[:66] for line in residue("ALA", "A", 1, shift=0)]
    lines.append("HETATM   10 CA    CA A 101      20.000   0.000   0.000  1.00 10.00")
    record = read(tmp_path, lines).complexes[0]
    assert record.atom_element[0, 1] == 6
    assert record.atom_element[1, 1] == 20
    assert TOKENS[record.restype[1]] == "@Ca"


def test_a_modified_residue_is_atoms_bonded_to_its_neighbours(tmp_path: Path) -> None:
    lines = [
        *peptide(["ALA"]),
        *residue("SEP", "A", 2, shift=8, hetero=True),
        *residue("GLY", "A", 3, shift=16),
        "TER",
    ]
    record = read(tmp_path, lines).complexes[0]
    atoms = record.mol_type == MolType.ATOM
    assert atoms.sum() == 10
    assert set(record.res_index[atoms].tolist()) == {1}
    names = [
        (record.atom_name[i, a], record.atom_name[j, b])
        for i, a, j, b, _ in record.bonds.tolist()
        if atoms[i] != atoms[j]
    ]
    assert names == [("C", "N"), ("C", "N")]
    assert len(set(record.chain_id.tolist())) == 1


def test_waters_hydrogens_and_other_models_are_counted(tmp_path: Path) -> None:
    hydrogen = atom(1, "HA", "ALA", "A", 1, (1, 1, 1), element="H")
    water = atom(2, "O", "HOH", "A", 201, (9, 9, 9), element="O", hetero=True)
    model = [*residue("ALA", "A", 1, shift=0), hydrogen, water]
    lines = ["MODEL        1", *model, "ENDMDL", "MODEL        2", *model, "ENDMDL"]
    file = read(tmp_path, lines)
    assert reasons(file) == {"hydrogen": 1, "water": 1, "other model": 7}
    assert file.totals["models"] == 2
    wet = read(tmp_path, lines, keep_water=True, model=2)
    assert wet.complexes[0].num_tokens == 2
    with pytest.raises(InputError, match="choose 1 to 2"):
        read(tmp_path, lines, model=3)


def test_a_repeated_atom_is_reported(tmp_path: Path) -> None:
    lines = residue("ALA", "A", 1, shift=0)
    assert reasons(read(tmp_path, [*lines, lines[1]])) == {"atom given twice": 1}


def test_terminal_oxygens_are_reported_because_residues_have_no_slot(tmp_path: Path) -> None:
    lines = [*residue("ALA", "A", 1, shift=0), atom(9, "OXT", "ALA", "A", 1, (3, 3, 3))]
    entries = read(tmp_path, lines).dropped
    assert [(entry.item, entry.count) for entry in entries] == [("ALA OXT", 1)]


def test_chains_that_share_one_name_and_numbering_are_two_chains(tmp_path: Path) -> None:
    other = [line[:30] + f"{float(line[30:38]) + 30:8.3f}" + line[38:] for line in peptide(["ALA"])]
    record = read(tmp_path, [*peptide(["ALA"]), "TER", *other, "TER"]).complexes[0]
    assert record.chain_id.tolist() == [0, 1]
    assert record.entity_id.tolist() == [0, 0]


def test_disulfides_are_bonds_even_when_the_file_is_silent(tmp_path: Path) -> None:
    sulphur = [atom(i, "SG", "CYS", "A", n, (x, 0, 0), element="S") for i, n, x in
               ((1, 1, 0.0), (2, 9, 2.05))]  # fmt: skip
    record = read(tmp_path, sulphur).complexes[0]
    assert record.bonds.tolist() == [[0, 5, 1, 5, 1]]


def test_linked_sugars_are_one_branched_molecule(tmp_path: Path) -> None:
    lines = [
        *residue("ASN", "A", 1, shift=0),
        *residue("NAG", "A", 101, shift=10, hetero=True),
        *residue("NAG", "A", 102, shift=20, hetero=True),
        "LINK         ND2 ASN A   1                 C1  NAG A 101     1555   1555  1.45  ",
        "LINK         O4  NAG A 101                 C1  NAG A 102     1555   1555  1.40  ",
    ]
    record = read(tmp_path, sorted(lines, key=lambda line: not line.startswith("LINK"))).complexes[
        0
    ]
    assert len(record.chain_names) == 2
    assert "O1" not in record.atom_name[:, 1].tolist()  # it leaves when the bond forms
    numbers = record.residue_numbers
    between = [(numbers[i], numbers[j]) for i, _, j, _, _ in record.bonds.tolist()]
    assert sorted(pair for pair in between if pair[0] != pair[1]) == [("1", "101"), ("101", "102")]


def test_a_ligand_has_all_atoms_of_the_dictionary_resolved_or_not(tmp_path: Path) -> None:
    lines = residue("ATP", "A", 1, shift=0, hetero=True, keep=["PG", "O1G", "PB", "O3B", "N9"])
    record = read(tmp_path, lines).complexes[0]
    assert record.num_tokens == 31
    assert record.coord_mask.sum() == 5
    assert sorted(set(record.bonds[:, 4].tolist())) == [1, 2, 4]


def test_all_atoms_of_a_ligand_are_known_by_name_whatever_their_positions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = residue("BNZ", "A", 1, shift=0, hetero=True)
    moved = [
        line[:30] + "".join(f"{v:8.3f}" for v in rng.uniform(-20, 20, 3)) + line[54:]
        for line in lines
    ]
    file = read(tmp_path, moved)
    record = file.complexes[0]
    assert file.notes == ()
    assert len(record.bonds) == 6
    # Of another element, or with atoms missing and positions without bonds, the name says little.
    other = [line[:76] + " N" + line[78:] for line in moved]
    assert any("BNZ" in note for note in read(tmp_path, other).notes)
    assert any("BNZ" in note for note in read(tmp_path, moved[:4]).notes)


def test_unknown_ligands_get_bonds_from_distances_and_a_note(tmp_path: Path) -> None:
    lines = residue("BNZ", "A", 1, shift=0, hetero=True, named="ZZ9")
    file = read(tmp_path, lines)
    assert len(file.complexes[0].bonds) == 6
    assert any("ZZ9" in note for note in file.notes)
    assert np.abs(file.complexes[0].ref_pos).max() > 1.0


def test_atom_names_that_occur_twice_in_an_unknown_ligand_are_told_apart(tmp_path: Path) -> None:
    lines = [atom(i, "C", "LIG", "A", 1, (1.5 * i, 0, 0), hetero=True) for i in range(3)]
    record = read(tmp_path, lines).complexes[0]
    assert len(set(record.atom_name[:, 1].tolist())) == 3
    assert len(record.bonds) == 2


def test_an_unknown_polymer_residue_is_an_error_with_its_line_and_a_way_out(tmp_path: Path) -> None:
    lines = [*peptide(["ALA"]), *residue("ALA", "A", 2, shift=8, named="ZZ9")]
    with pytest.raises(InputError) as failure:
        read(tmp_path, lines)
    assert failure.value.rule == "structure.unknown_residue"
    assert failure.value.line == 6
    assert "unknown_residues" in failure.value.message
    file = read(tmp_path, lines, unknown_residues="unknown")
    assert codes(file) == ["ALA", "UNK"]


def test_a_declared_chain_without_atoms_is_an_error(tmp_path: Path) -> None:
    lines = ["SEQRES   1 A    1  ALA", "SEQRES   1 B    2  GLY SER", *peptide(["ALA"])]
    with pytest.raises(InputError, match="'B' is declared with 2 residues"):
        read(tmp_path, lines)


@pytest.mark.parametrize(
    ("lines", "rule", "line"),
    [
        ([], "structure.empty", None),
        (["HEADER    NOTHING"], "structure.empty", None),
        (["ATOM      1  N   ALA A   1      11.104"], "pdb.record", 1),
        (["ATOM      1  N   ALA A   1      11.1x4   6.134  -6.504"], "pdb.number", 1),
        (["REMARK", "ATOM      1  N   ALA A   !      11.104   6.134  -6.504"], "pdb.number", 2),
        (["ATO8      1  N   ALA A   1      11.104   6.134  -6.504"], "pdb.record", 1),
        (["HETAT     1  N   ALA A   1      11.104   6.134  -6.504"], "pdb.record", 1),
        (["REMARK" + peptide(["ALA"])[0], peptide(["ALA"])[1]], "pdb.record", 1),
        (["CONECT  708  707" + peptide(["ALA"])[0]], "pdb.record", 1),
        (["ATOM      1  N   ALA A   1       1_000   6.134  -6.504"], "pdb.number", 1),
        (["ATOM      1  N   ALA A 1_0      11.104   6.134  -6.504"], "pdb.number", 1),
        (["ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00 1_0.0"], "pdb.number", 1),
        (["ATOM      1  N   ALA A   1      11.104\u00a0  6.134  -6.504"], "pdb.number", 1),
        (["data_1abc"], "structure.format", None),
    ],
)
def test_broken_pdb_files_are_refused_with_rule_and_line(
    tmp_path: Path, lines: list[str], rule: str, line: int | None
) -> None:
    path = tmp_path / "broken.pdb"
    path.write_text("\n".join(lines), encoding="latin-1")
    with pytest.raises(InputError) as failure:
        read_structure(path)
    assert (failure.value.rule, failure.value.line) == (rule, line)
    assert failure.value.path == str(path)


def test_lines_that_are_no_record_are_named_in_a_note(tmp_path: Path) -> None:
    lines = [*peptide(["ALA"]), " 20.00           C", "HELLO world"]
    (note,) = read(tmp_path, lines).notes
    assert note.startswith("2 lines that are no PDB record")
    assert " 20.00" in note
    assert "HELLO" in note


@pytest.mark.parametrize("number", ["1_0", "1\u00b2"])
def test_a_link_whose_numbers_are_damaged_binds_no_other_residue(
    tmp_path: Path, number: str
) -> None:
    link = f"LINK         ND2 ASN A   1                 C1  NAG A {number:>3}     1555   1555  1.45"
    lines = [link, *residue("ASN", "A", 1, shift=0), *residue("NAG", "A", 10, shift=10)]
    path = tmp_path / "made.pdb"
    path.write_text("\n".join(lines), encoding="latin-1")
    record = read_structure(path).complexes[0]
    numbers = record.residue_numbers
    assert all(numbers[i] == numbers[j] for i, _, j, _, _ in record.bonds.tolist())


CIF = """data_x
loop_
_atom_site.group_PDB
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.auth_asym_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
"""


def test_unknown_positions_of_mmcif_are_counted_and_wrong_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.cif"
    rows = "HETATM ZN ZN ZN A Long1 1.0 2.0 3.0\nHETATM ZN ZN ZN B Long1 ? 2.0 3.0\n"
    path.write_text(CIF + rows, encoding="ascii")
    file = read_structure(path)
    assert file.totals["kept"] == 1
    assert reasons(file) == {"no position in the file": 1}
    assert file.complexes[0].chain_names == ("Long1",)
    for wrong in ("abc", "1_000", "\uff11\uff12", "1\u00a0"):
        path.write_text(CIF + rows.replace("?", wrong), encoding="utf-8")
        with pytest.raises(InputError) as failure:
            read_structure(path)
        assert failure.value.rule in ("cif.number", "cif.syntax")
        assert failure.value.line is not None
    path.write_text(CIF + rows.replace("?", "1.5(3)"), encoding="ascii")
    assert read_structure(path).complexes[0].coords[1, 1, 0] == 1.5


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("data_x\nloop_\n_atom_site.id\n_atom_site.Cartn_x\n1\n", "cif.syntax"),
        ("not cif at all", "cif.syntax"),
        ("data_x\n_cell.length_a 3.0\n", "structure.empty"),
        (CIF.replace("_atom_site.Cartn_z\n", "") + "ATOM N N ALA A A 1 2\n", "cif.columns"),
        ("data_x\0", "text.null"),
    ],
)
def test_broken_mmcif_files_are_refused(tmp_path: Path, text: str, rule: str) -> None:
    path = tmp_path / "x.cif"
    path.write_text(text, encoding="ascii")
    with pytest.raises(InputError) as failure:
        read_structure(path)
    assert failure.value.rule == rule


def test_gzipped_files_are_read_and_damaged_archives_refused(tmp_path: Path) -> None:
    text = "\n".join(peptide(["ALA", "GLY"])).encode()
    path = tmp_path / "x.pdb.gz"
    path.write_bytes(gzip.compress(text))
    assert codes(read_structure(path)) == ["ALA", "GLY"]
    path.write_bytes(gzip.compress(text)[:-20])
    with pytest.raises(InputError, match="damaged"):
        read_structure(path)


def test_files_that_are_no_structures_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.pdb, \.ent, \.cif"):
        read_structure(tmp_path / "x.txt")


def test_the_assembly_copies_chains_by_its_operators(tmp_path: Path) -> None:
    lines = [
        "REMARK 350 BIOMOLECULE: 1",
        "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A",
        "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000",
        "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000",
        "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000",
        "REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000       10.00000",
        "REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000",
        "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        5.00000",
        *peptide(["ALA", "SER"]),
    ]
    unit = read(tmp_path, lines).complexes[0]
    whole = read(tmp_path, lines, assembly="1").complexes[0]
    assert whole.chain_names == ("A", "A-2")
    assert whole.entity_id.tolist() == [0, 0, 0, 0]
    expected = unit.coords * (-1, -1, 1) + (10, 0, 5)
    np.testing.assert_allclose(
        whole.coords[2:][unit.coord_mask], expected[unit.coord_mask], atol=1e-5
    )
    with pytest.raises(InputError, match="describes 1"):
        read(tmp_path, lines, assembly="7")

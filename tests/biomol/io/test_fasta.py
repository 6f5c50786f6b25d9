from pathlib import Path

import numpy as np
import pytest

from biomol.chem.vocab import TOKENS, MolType
from biomol.io.fasta import complex_from_sequence, guess_mol_type, read_fasta
from scimind.errors import InputError


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_peptide_has_the_atoms_of_its_residues() -> None:
    record = complex_from_sequence("GAW", MolType.PROTEIN)
    assert [TOKENS[token] for token in record.restype] == ["GLY", "ALA", "TRP"]
    assert record.atom_mask.sum(axis=1).tolist() == [4, 5, 14]
    assert record.atom_name[2, :5].tolist() == ["N", "CA", "C", "O", "CB"]
    assert record.atom_element[0, :4].tolist() == [7, 6, 6, 8]
    assert record.res_index.tolist() == [0, 1, 2]
    # L-alanine is S; the ideal residue has the CA-C bond of 1.5 angstrom.
    assert record.chirality[1, 1] == 2
    bond = np.linalg.norm(record.ref_pos[1, 1] - record.ref_pos[1, 2])
    assert abs(bond - 1.52) < 0.05


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("ACGU", MolType.RNA),
        ("ACGT", MolType.DNA),
        ("ACGTN", MolType.DNA),
        ("ACDEF", MolType.PROTEIN),
        ("NNN", MolType.PROTEIN),
        ("ACGUT", MolType.PROTEIN),
    ],
)
def test_the_letters_decide_the_type(letters: str, expected: MolType) -> None:
    assert guess_mol_type(letters) is expected


def test_headers_decide_before_letters(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fasta", ">one|rna\nACGT\n>two|protein\nACGT\n>three\nACGT\n")
    types = [int(record.mol_type[0]) for record in read_fasta(path).complexes]
    assert types == [MolType.RNA, MolType.PROTEIN, MolType.DNA]
    rna = read_fasta(path).complexes[0]
    assert [TOKENS[token] for token in rna.restype] == ["A", "C", "G", "U"]
    assert rna.name == "one"


def test_unknown_letters_are_counted_and_the_final_stop_is_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fasta", ">p\r\nMKXB\r\nZU*\r\n")
    file = read_fasta(path)
    (record,) = file.complexes
    codes = [TOKENS[token] for token in record.restype]
    assert codes == ["MET", "LYS", "UNK", "UNK", "UNK", "CYS"]
    assert file.totals == {
        "records": 1,
        "residues": 6,
        "unknown_letters": 3,
        "duplicates": 0,
    }


def test_every_bad_record_is_reported_with_its_line(tmp_path: Path) -> None:
    text = (
        ">good\nMKV\n>empty\n>stop\nMK*V\n>gap\nM-KV\n>digit\nMK1V\n>\nMKV\n>good\nAAA\n>twin\nMKV\n"
        ">greek\nMKΩ\n"
    )
    file = read_fasta(write(tmp_path / "a.fasta", text))
    assert [record.name for record in file.complexes] == ["good", "twin"]
    assert {(drop.rule, drop.line) for drop in file.dropped} == {
        ("fasta.empty_record", 3),
        ("sequence.stop", 4),
        ("sequence.gap", 6),
        ("sequence.letter", 8),
        ("fasta.name", 10),
        ("fasta.duplicate_name", 12),
        ("sequence.letter", 16),
    }
    assert file.totals["records"] == 9
    assert file.totals["duplicates"] == 1


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "fasta.empty"),
        (b"\n \n", "fasta.empty"),
        (b"MKV\n", "fasta.header"),
        (b" >a\nMKV\n", "fasta.header"),
        ("\u2028>a\nMKV\n".encode(), "fasta.header"),
        (b">a\nM\xffV\n", "text.encoding"),
        (b">a\nM\x00V\n", "text.null"),
    ],
)
def test_files_that_are_no_fasta_are_refused(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "bad.fasta"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_fasta(path)
    assert caught.value.rule == rule

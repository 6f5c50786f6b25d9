import json
from pathlib import Path

import pytest

from biomol.io.folder import kind_of, read_all, scan, write_rejected
from biomol.io.rejection import Rejection
from scimind.errors import InputError

PDB = (
    "ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00  0.00           N\n"
    "ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00  0.00           C\n"
    "ATOM      3  C   ALA A   1      13.159   6.124  -5.200  1.00  0.00           C\n"
    "ATOM      4  O   ALA A   1      13.700   6.900  -5.980  1.00  0.00           O\n"
    "END\n"
)


def test_five_inputs_of_which_one_is_bad_give_four_records_and_one_refusal(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"good{number}.pdb").write_text(PDB)
    (tmp_path / "bad.cif").write_text("data_x\nloop_\n_atom_site.id\n")
    result = scan(tmp_path)
    rejected: list[Rejection] = []
    found = list(read_all(result, "structure", rejected))
    assert len(found) == 4
    assert [Path(item.path).name for item in rejected] == ["bad.cif"]
    assert rejected[0].rule
    assert rejected[0].message


def test_kinds_are_sorted_and_other_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "x.PDB").write_text(PDB)
    (tmp_path / "a.fa").write_text(">a\nMKV\n")
    (tmp_path / "t.csv").write_text("smiles,y\nCCO,1\n")
    (tmp_path / "index.csv").write_text("path,size\nt.csv,1\n")
    (tmp_path / "notes.docx").write_text("x")
    (tmp_path / "empty.sdf").touch()
    result = scan(tmp_path)
    assert {kind: len(paths) for kind, paths in result.files.items()} == {
        "structure": 1,
        "ligand": 0,
        "fasta": 1,
        "table": 1,
    }
    assert result.ignored == {".docx": 1}
    assert result.excluded == 1
    assert [item.rule for item in result.rejected] == ["file.empty"]


def test_flip_files_are_named_for_their_own_reader(tmp_path: Path) -> None:
    task = tmp_path / "ss"
    task.mkdir()
    for name in ("sequences.fasta", "sampled.fasta", "mask.fasta"):
        (task / name).write_text(">a\nMKV\n")
    (tmp_path / "gb1.csv").write_text("sequence,target,set,validation\nMKV,1,train,\n")
    result = scan(tmp_path)
    assert result.flip_residues == (task,)
    assert [path.name for path in result.flip_values] == ["gb1.csv"]
    assert result.files["fasta"] == ()


def test_benchmarks_of_the_project_layout_are_never_read(real_data: Path) -> None:
    result = scan(real_data / "biomol")
    everything = [path for paths in result.files.values() for path in paths]
    read = {path.relative_to(result.root).parts[0] for path in everything}
    assert read == {"structures", "property"}
    assert len(result.files["structure"]) == 128
    assert [path.stem for path in result.files["table"]] == [
        "bbbp", "esol", "freesolv", "lipophilicity", "tox21",
    ]  # fmt: skip
    assert len(result.flip_values) == 5
    assert len(result.flip_residues) == 1


def test_a_folder_without_molecules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.md").write_text("x")
    with pytest.raises(InputError, match="no file to read"):
        scan(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        scan(tmp_path / "absent")


def test_refusals_are_written_one_per_line(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rejected.jsonl"
    write_rejected(path, [Rejection("a.csv", 3, "table.ragged", "two cells – not three")])
    (line,) = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "path": "a.csv",
        "line": 3,
        "rule": "table.ragged",
        "message": "two cells – not three",
    }


def test_endings_decide_the_kind() -> None:
    names = ("a.cif.gz", "a.bcif", "A.ENT", "a.sdf", "a.fasta.gz", "a.csv.gz", "a.parquet", "a.txt")
    assert [kind_of(Path(name)) for name in names] == [
        "structure", "structure", "structure", "ligand", "fasta", "table", "table", None,
    ]  # fmt: skip

import gzip
from pathlib import Path

import pandas as pd
import pytest

from biomol.io.tables import read_table
from scimind.errors import InputError


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_columns_and_kinds_are_found_and_blanks_are_missing(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "mol_id,smiles,solubility,active,comment\n1,CCO,-0.5,1,fine\n2,CCC,,0,\n3,CCN,1e-3,,x\n",
    )
    table = read_table(path)
    assert (table.content, table.column) == ("smiles", "smiles")
    assert [(p.name, p.kind) for p in table.targets] == [
        ("solubility", "regression"),
        ("active", "binary"),
    ]
    assert [row.values for row in table.rows] == [
        {"solubility": -0.5, "active": 1.0},
        {"active": 0.0},
        {"solubility": 1e-3},
    ]
    assert table.rejected == ()


def test_an_unnamed_smiles_column_is_found_by_content(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "compound;structure;y\nx1;CCO;1.5\nx2;c1ccccc1;2\n")
    table = read_table(path)
    assert table.column == "structure"
    assert [target.name for target in table.targets] == ["y"]


def test_a_sequence_column_is_found_by_content(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tsv", "construct\tfitness\nMKVLAAGIVGLCAK\t0.1\nMKVLAAGIVGLCAW\t0.2\n"
    )
    table = read_table(path)
    assert (table.column, table.content) == ("construct", "sequence")


def test_byte_order_mark_crlf_quotes_and_gzip_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    text = '\ufeffname,smiles,y\r\n"N,N-dimethyl\r\namide",CN(C)C=O,1.5\r\n\r\nb,CCO,2\r\n'
    with gzip.open(path, "wb") as file:
        file.write(text.encode())
    table = read_table(path)
    assert [(row.text, row.line) for row in table.rows] == [("CN(C)C=O", 2), ("CCO", 5)]


def test_bad_rows_are_reported_with_their_lines_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "smiles,y\nCCO,1\nCCC\nCCN,2,3\n,4\nCCF,oops\nCCCl,inf\nCCBr,5\n",
    )
    table = read_table(path, targets=["y"])
    assert [row.text for row in table.rows] == ["CCO", "CCBr"]
    assert [(bad.line, bad.rule) for bad in table.rejected] == [
        (3, "table.ragged"),
        (4, "table.ragged"),
        (5, "table.no_molecule"),
        (6, "table.value"),
        (7, "table.value"),
    ]


def test_the_split_of_the_table_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.csv",
        "sequence,target,set,validation\nMKVA,1,train,\nMKVC,2,train,True\nMKVD,3,test,\nMKVE,4,?,\n",
    )
    table = read_table(path)
    assert [row.part for row in table.rows] == ["train", "valid", "test"]
    assert [bad.rule for bad in table.rejected] == ["table.split"]


def test_parquet_equals_csv(tmp_path: Path) -> None:
    frame = pd.DataFrame({"smiles": ["CCO", "CCC"], "y": [0.25, None], "flag": [True, False]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    first, second = read_table(tmp_path / "a.parquet"), read_table(tmp_path / "a.csv")
    assert first.rows == second.rows
    assert first.targets == second.targets


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "table.empty"),
        (b"smiles,y\n", "table.no_rows"),
        (b"smiles,y,y\nC,1,2\n", "table.duplicate_column"),
        (b"a,b\n1,2\n", "table.molecule_column"),
        (b"smiles,y\nC\xe9O,1\n", "text.encoding"),
        ("smiles,y\nCCO,1\n".encode("utf-16"), "text.encoding"),
        (b'smiles,y\n"CCO,1\n', "table.syntax"),
        (b"smiles,y\n,1\n", "table.no_rows"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path: Path, content: bytes, rule: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert caught.value.rule == rule
    assert str(path) in str(caught.value)


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "smiles,y\nCCO,1\n")
    with pytest.raises(InputError, match="smiles, y"):
        read_table(path, targets=["z"])


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(InputError) as caught:
        read_table(path)
    assert caught.value.rule == "table.parquet"

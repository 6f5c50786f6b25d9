"""Tables of molecules or sequences with measured values: CSV, TSV and Parquet, plain or gzipped.

A table has one column of SMILES or of sequences and any number of numeric columns. A blank cell
is a missing value. Every row that cannot be used is recorded with its line.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from biomol.chem.vocab import PROTEIN_LETTERS
from biomol.io.ligand import parse_smiles
from biomol.io.rejection import Rejection
from scimind.errors import EnvironmentProblem, InputError
from scimind.reading import read_bytes, read_text

Kind = Literal["regression", "binary"]
Content = Literal["smiles", "sequence"]

SMILES_COLUMNS = ("smiles", "canonical_smiles", "isomeric_smiles", "smi", "mol", "drug", "ligand")
SEQUENCE_COLUMNS = ("sequence", "seq", "mutated_sequence", "protein", "aa_seq", "protein_sequence")
SPLIT_COLUMNS = ("set", "split")
_VALIDATION = "validation"
_NOT_TARGETS = ("id", "idx", "index", "num", "no", "name", "row", "fold", "unnamed: 0")
_PARTS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_PROBED_ROWS = 50
_BOOLEANS = {"true": "1", "false": "0", "yes": "1", "no": "0"}
_BLANKS = ("", "na", "nan", "none", "null", "n/a", "-")


@dataclass(frozen=True)
class Property:
    """A scalar label.

    Attributes:
        name: Name within the project, unique over all data sets of a run.
        kind: ``"regression"`` or ``"binary"`` (0 or 1).
        unit: Unit of the values, "" if unknown or none.
    """

    name: str
    kind: Kind
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """One usable row.

    Attributes:
        line: One-based line of the file (row number plus one for Parquet).
        text: The SMILES or the sequence.
        values: Known values by column name.
        texts: Cells of the text columns that were asked for.
        part: ``"train"``, ``"valid"``, ``"test"`` or None when the table does not say.
    """

    line: int
    text: str
    values: dict[str, float]
    part: str | None = None
    texts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table that was read.

    Attributes:
        path: The file.
        content: What the molecule column holds.
        column: Its name.
        targets: The numeric columns, named as in the file.
        rows: Usable rows in file order.
        rejected: Rows and cells that were refused.
    """

    path: str
    content: Content
    column: str
    targets: tuple[Property, ...]
    rows: tuple[Row, ...]
    rejected: tuple[Rejection, ...]


def read_table(
    path: str | Path,
    *,
    molecule: str | None = None,
    targets: Sequence[str] | None = None,
    texts: Sequence[str] = (),
) -> Table:
    """Read a table of molecules or sequences.

    Args:
        path: ``.csv``, ``.tsv``, ``.txt`` (each also ``.gz``) or ``.parquet``.
        molecule: Column of SMILES or sequences; found by name, then by content, when not given.
        targets: Columns of values; by default every numeric column but identifiers.
        texts: Columns to be kept as text.

    Returns:
        Usable rows; a row with a ragged length, without molecule or with a value that is no
        finite number is refused and recorded. Whether a SMILES is a possible molecule is
        decided when it is parsed, see ``ligand.parse_smiles``.

    Raises:
        InputError: The file is unreadable or empty, a column is named twice or is missing, or no
            molecule column can be found.
    """
    path = Path(path)
    rejected: list[Rejection] = []
    frame, lines = _frame(path, rejected)
    column, content = _molecule_column(frame, molecule, path)
    target_columns = _target_columns(frame, column, targets, path)
    _check_columns(frame, texts, path)
    values, bad = _values(frame, target_columns, lines, path)
    rejected.extend(bad)
    parts = _parts(frame, lines, path, rejected)
    refused = {rejection.line for rejection in rejected}
    rows = []
    molecules = frame[column].tolist()
    cells = {name: frame[name].tolist() for name in texts}
    for index, line in enumerate(lines):
        if line in refused:
            continue
        text = molecules[index].strip()
        if text.lower() in _BLANKS[:5]:
            rejected.append(
                Rejection(
                    str(path),
                    line,
                    "table.no_molecule",
                    f"column {column!r} is blank; the row has no molecule",
                )
            )
            continue
        known = {
            name: value
            for name, value in zip(target_columns, values[index], strict=True)
            if not math.isnan(value)
        }
        kept = {name: column[index].strip() for name, column in cells.items()}
        rows.append(Row(line, text, known, parts[index], kept))
    if not rows:
        raise InputError(
            f"no row of {len(lines) + len(rejected)} can be used; first reason: "
            f"{rejected[0].message if rejected else 'the table has a header only'}",
            path=path,
            rule="table.no_rows",
        )
    return Table(
        path=str(path),
        content=content,
        column=column,
        targets=tuple(
            Property(name, _kind(values[:, place])) for place, name in enumerate(target_columns)
        ),
        rows=tuple(rows),
        rejected=tuple(sorted(rejected, key=lambda rejection: rejection.line or 0)),
    )


def _frame(path: Path, rejected: list[Rejection]) -> tuple[pd.DataFrame, list[int]]:
    """All cells as text, with the line of each row."""
    if path.name.lower().endswith((".parquet", ".pq")):
        return _parquet(path)
    text = read_text(path)
    if not text.strip():
        raise InputError(
            "the file is empty; a table has a header and one row at least",
            path=path,
            rule="table.empty",
        )
    delimiter = _delimiter(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        for cells in reader:
            here, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells, path)
            elif len(cells) != len(header):
                rejected.append(
                    Rejection(
                        str(path),
                        here,
                        "table.ragged",
                        f"the row has {len(cells)} cells and the header {len(header)}; "
                        "quote cells that hold the delimiter",
                    )
                )
            else:
                rows.append(cells)
                lines.append(here)
    except csv.Error as error:
        raise InputError(
            f"not a table: {error}; check the quotes", path=path, line=line, rule="table.syntax"
        ) from None
    return pd.DataFrame(rows, columns=header, dtype=str), lines


def _parquet(path: Path) -> tuple[pd.DataFrame, list[int]]:
    data = read_bytes(path)
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except ImportError as error:
        raise EnvironmentProblem(
            f"Parquet needs pyarrow, which cannot be imported ({str(error).strip()[-160:]}); "
            "install a pyarrow that fits the installed numpy"
        ) from None
    except Exception as error:  # pyarrow raises its own hierarchy, OSError, KeyError and more
        raise InputError(
            f"not a Parquet table ({str(error).splitlines()[0][:120]}); write it again",
            path=path,
            rule="table.parquet",
        ) from None
    _header([str(name) for name in frame.columns], path)
    text = {
        str(name): ["" if pd.isna(cell) is True else str(cell) for cell in frame[name]]
        for name in frame.columns
    }
    return pd.DataFrame(text, dtype=str), list(range(2, len(frame) + 2))


def _delimiter(path: Path, text: str) -> str:
    names = path.name.lower().removesuffix(".gz")
    if names.endswith(".tsv"):
        return "\t"
    header = text.lstrip().split("\n", 1)[0]
    counts = {mark: header.count(mark) for mark in (",", "\t", ";")}
    return max(counts, key=lambda mark: counts[mark]) if any(counts.values()) else ","


def _header(cells: Sequence[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(
            f"columns {', '.join(map(repr, twice))} occur more than once; rename one",
            path=path,
            line=1,
            rule="table.duplicate_column",
        )
    return [name or f"unnamed: {place}" for place, name in enumerate(names)]


def _check_columns(frame: pd.DataFrame, wanted: Sequence[str], path: Path) -> None:
    columns = [str(column) for column in frame.columns]
    for name in wanted:
        if name not in columns:
            raise InputError(
                f"there is no column {name!r}; the columns are {', '.join(columns)}",
                path=path,
                line=1,
                rule="table.column",
            )


def _molecule_column(frame: pd.DataFrame, wanted: str | None, path: Path) -> tuple[str, Content]:
    columns = [str(column) for column in frame.columns]
    if wanted is not None:
        _check_columns(frame, [wanted], path)
        if wanted.lower() in SEQUENCE_COLUMNS:
            return wanted, "sequence"
        if wanted.lower() in SMILES_COLUMNS:
            return wanted, "smiles"
        return wanted, _content(frame[wanted]) or "smiles"
    by_name = {column.lower(): column for column in columns}
    for name in SMILES_COLUMNS[:4]:
        if name in by_name:
            return by_name[name], "smiles"
    for name in SEQUENCE_COLUMNS:
        if name in by_name and _content(frame[by_name[name]]) != "smiles":
            return by_name[name], "sequence"
    found = [(column, content) for column in columns if (content := _content(frame[column]))]
    if len(found) == 1:
        return found[0]
    raise InputError(
        f"which column holds the molecules? Candidates: {[name for name, _ in found] or columns}; "
        "name it 'smiles' or 'sequence'",
        path=path,
        line=1,
        rule="table.molecule_column",
    )


def _content(column: pd.Series[str]) -> Content | None:
    """What at least nine in ten of the first cells are."""
    cells = [cell.strip() for cell in column.tolist() if cell.strip()][:_PROBED_ROWS]
    if not cells:
        return None
    letters = set(f"{PROTEIN_LETTERS}XUBZO*")
    sequences = sum(len(cell) >= 10 and set(cell.upper()) <= letters for cell in cells)
    if sequences >= 0.9 * len(cells):
        return "sequence"
    return "smiles" if sum(map(_is_smiles, cells)) >= 0.9 * len(cells) else None


def _is_smiles(cell: str) -> bool:
    # A single letter or a number is a legal SMILES or close to it, and also an ordinary label.
    if len(cell) < 2 or cell.replace(".", "").isdigit():
        return False
    try:
        parse_smiles(cell)
    except InputError:
        return False
    return True


def _target_columns(
    frame: pd.DataFrame, molecule: str, wanted: Sequence[str] | None, path: Path
) -> list[str]:
    columns = [str(column) for column in frame.columns]
    if wanted is not None:
        _check_columns(frame, wanted, path)
        return list(wanted)
    found = []
    for column in columns:
        lower = column.lower()
        identifier = lower in _NOT_TARGETS or lower.endswith(("_id", " id"))
        if column == molecule or identifier or lower in (*SPLIT_COLUMNS, _VALIDATION):
            continue
        numbers, blank = _numbers(frame[column])
        given = int((~blank).sum())
        if given and int((~np.isnan(numbers)).sum()) >= 0.5 * given:
            found.append(column)
    return found


def _numbers(column: pd.Series[str]) -> tuple[np.ndarray, np.ndarray]:
    """Value of each cell, NaN where it is none, and whether the cell is blank."""
    text = column.str.strip().str.lower()
    blank = text.isin(_BLANKS).to_numpy(np.bool_)
    values = pd.to_numeric(text.replace(_BOOLEANS), errors="coerce").to_numpy(np.float64)
    return np.where(blank, np.nan, values), blank


def _values(
    frame: pd.DataFrame, columns: Sequence[str], lines: Sequence[int], path: Path
) -> tuple[np.ndarray, list[Rejection]]:
    """Values, NaN where missing, and the cells that are no finite number."""
    values = np.full((len(lines), len(columns)), np.nan)
    rejected = []
    for place, column in enumerate(columns):
        numbers, blank = _numbers(frame[column])
        finite = np.isfinite(numbers)
        values[finite, place] = numbers[finite]
        for index in np.flatnonzero(~finite & ~blank):
            cell = frame[column].iloc[index].strip()[:40]
            message = (
                f"column {column!r} holds {cell!r}, no finite number; "
                "write a number or leave the cell blank"
            )
            rejected.append(Rejection(str(path), lines[index], "table.value", message))
    return values, rejected


def _kind(values: np.ndarray) -> Kind:
    known = values[~np.isnan(values)]
    return "binary" if len(known) and set(np.unique(known)) <= {0.0, 1.0} else "regression"


def _parts(
    frame: pd.DataFrame, lines: Sequence[int], path: Path, rejected: list[Rejection]
) -> list[str | None]:
    """Split of each row from a ``set``/``split`` column and FLIP's ``validation`` flag."""
    by_name = {str(column).lower(): str(column) for column in frame.columns}
    column = next((by_name[name] for name in SPLIT_COLUMNS if name in by_name), None)
    if column is None:
        return [None] * len(lines)
    flag = by_name.get(_VALIDATION)
    flags = frame[flag].tolist() if flag else [""] * len(lines)
    parts: list[str | None] = []
    for index, cell in enumerate(frame[column].tolist()):
        part = _PARTS.get(cell.strip().lower())
        if part is None:
            rejected.append(
                Rejection(
                    str(path),
                    lines[index],
                    "table.split",
                    f"column {column!r} holds {cell.strip()[:40]!r}; use train, valid or test",
                )
            )
        elif part == "train" and flags[index].strip().lower() == "true":
            part = "valid"
        parts.append(part)
    return parts

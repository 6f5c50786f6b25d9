"""The tables of an ANDES workbook or JSON file: model by model, row by row."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dae_solver.physics.case import BusId
from dae_solver.physics.io.values import number, positive
from scimind.errors import InputError
from scimind.reading import read_bytes, read_text

_MAX_BYTES = 1 << 28


@dataclass(frozen=True)
class Row:
    """A device of a table.

    Attributes:
        model: Name of the table.
        id: Its ``idx``, or ``MODEL_k`` where it has none.
        values: By column; empty cells are left out.
        path: The file.
    """

    model: str
    id: str
    values: Mapping[str, Any]
    path: Path

    def number(self, name: str, default: float | None = None) -> float:
        """A number.

        Raises:
            InputError: It is none, or missing without a default.
        """
        return number(self._value(name, default), self._place(name), self.path)

    def positive(self, name: str, default: float) -> float:
        """A number above zero.

        Raises:
            InputError: It is something else.
        """
        return positive(self._value(name, default), self._place(name), self.path)

    def key(self, name: str) -> BusId:
        """A whole number or a text that names a device.

        Raises:
            InputError: It is something else, or missing.
        """
        value = self._value(name, None)
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise InputError(
            f"{self._place(name)} is {value!r:.60}, neither a whole number nor a text; correct it",
            path=self.path,
            rule="power.id",
        )

    def has(self, name: str) -> bool:
        """Whether a cell is filled."""
        return name in self.values

    @property
    def on(self) -> bool:
        """Whether the device is in service."""
        value = self.values.get("u", 1)
        return value if isinstance(value, bool) else self.number("u", 1.0) != 0

    def _value(self, name: str, default: float | None) -> Any:
        value = self.values.get(name, default)
        if value is None:
            raise InputError(
                f"{self._place(name)} is empty; fill it in", path=self.path, rule="power.missing"
            )
        return value

    def _place(self, name: str) -> str:
        return f"{name} of {self.model} {self.id}"


def read_tables(path: Path) -> dict[str, list[Row]]:
    """All tables of a file; a text in the place of one is a remark.

    Raises:
        InputError: The file is no workbook or JSON object of tables.
    """
    content = _workbook(path) if path.suffix.lower() == ".xlsx" else parse_json(path)
    if not isinstance(content, dict):
        raise InputError(
            "the file holds no object of tables such as Bus and Line; give an ANDES case",
            path=path,
            rule="power.format",
        )
    tables: dict[str, list[Row]] = {}
    for model, entries in content.items():
        if isinstance(entries, str):
            continue
        if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
            raise InputError(
                f"table {model:.60} is no list of objects; write one object a device",
                path=path,
                rule="power.format",
            )
        tables[model] = [_row(model, k, each, path) for k, each in enumerate(entries, start=1)]
    return tables


def _row(model: str, place: int, entries: dict[str, Any], path: Path) -> Row:
    values = {name.strip(): each for name, each in entries.items() if each is not None}
    row = Row(model, f"{model}_{place}", values, path)
    return Row(model, str(row.key("idx")), values, path) if row.has("idx") else row


def parse_json(path: Path) -> Any:
    """Content of a JSON file in which, as ANDES writes it, NaN stands for an empty cell.

    Raises:
        InputError: The text is no JSON.
    """
    try:
        return json.loads(
            read_text(path, _MAX_BYTES),
            parse_constant=lambda name: None if name == "NaN" else float(name),
        )
    except json.JSONDecodeError as error:
        raise InputError(
            f"{error.msg}; correct the JSON", path=path, line=error.lineno, rule="json.syntax"
        ) from error
    except (RecursionError, ValueError) as error:  # too deep, or too many digits
        raise InputError(f"{error}; correct the JSON", path=path, rule="json.syntax") from error


def _workbook(path: Path) -> dict[str, list[dict[str, Any]]]:
    import pandas as pd  # slow to import

    content = read_bytes(path, _MAX_BYTES)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > _MAX_BYTES:
            raise InputError(
                f"the workbook unpacks to {size} bytes, and {_MAX_BYTES} are read; split it",
                path=path,
                rule="file.size",
            )
        sheets = pd.read_excel(
            io.BytesIO(content), sheet_name=None, engine="openpyxl", dtype=object
        )
        return {
            str(name): [
                {str(key): each for key, each in row.items() if not pd.isna(each)}
                for row in sheet.dropna(how="all").to_dict("records")
            ]
            for name, sheet in sheets.items()
        }
    except InputError:
        raise
    except Exception as error:  # openpyxl raises whatever a damaged part leads to
        raise InputError(
            f"the workbook is damaged ({type(error).__name__}: {error}); save it again",
            path=path,
            rule="xlsx.damaged",
        ) from error

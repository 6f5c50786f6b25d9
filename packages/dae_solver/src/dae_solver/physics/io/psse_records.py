"""Records of PSS/E files in free format: commas or blanks between values, quotes, ``/`` to end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dae_solver.physics.io.values import number, positive, whole
from scimind.errors import InputError
from scimind.reading import read_text

_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|,|/|[^\s,'"/]+|['"]""")
_BEFORE_31 = (
    *("bus", "load", "generator", "branch", "transformer", "area", "two-terminal dc", "vsc dc"),
    *("switched shunt", "impedance correction", "multi-terminal dc", "multi-section line", "zone"),
    *("inter-area transfer", "owner", "facts"),
)
_FROM_31 = (
    *("bus", "load", "fixed shunt", "generator", "branch", "transformer", "area"),
    *("two-terminal dc", "vsc dc", "impedance correction", "multi-terminal dc"),
    *("multi-section line", "zone", "inter-area transfer", "owner", "facts", "switched shunt"),
    *("gne", "induction machine"),
)
_FROM_34 = ("system-wide", *_FROM_31[:5], "switching device", *_FROM_31[5:], "substation")
_MAY_LACK = ("gne", "induction machine", "substation")


@dataclass(frozen=True)
class Record:
    """The values of a record.

    Attributes:
        what: For messages, such as ``branch record``.
        values: In the order of the file; None where one is left to its default.
        line: Its first line.
        path: The file.
    """

    what: str
    values: tuple[str | None, ...]
    line: int
    path: Path

    def text(self, place: int, name: str, default: str | None = None) -> str:
        """A text without blanks around it.

        Raises:
            InputError: It is missing without a default.
        """
        value = self._value(place, name, default)
        return value.strip()

    def number(self, place: int, name: str, default: float | None = None) -> float:
        """A number.

        Raises:
            InputError: It is none, or missing without a default.
        """
        value = self._value(place, name, None if default is None else repr(default))
        return number(value, self.place(name), self.path, self.line)

    def positive(self, place: int, name: str, default: float | None = None) -> float:
        """A number above zero.

        Raises:
            InputError: It is something else.
        """
        value = self._value(place, name, None if default is None else repr(default))
        return positive(value, self.place(name), self.path, self.line)

    def whole(self, place: int, name: str, default: int | None = None) -> int:
        """A whole number.

        Raises:
            InputError: It is none, or missing without a default.
        """
        value = self._value(place, name, None if default is None else str(default))
        return whole(value, self.place(name), self.path, self.line)

    def place(self, name: str) -> str:
        """The name of a value, for messages."""
        return f"{name} of the {self.what}"

    def refuse(self, message: str, rule: str) -> InputError:
        """An error at this record."""
        return InputError(message, path=self.path, line=self.line, rule=rule)

    def _value(self, place: int, name: str, default: str | None) -> str:
        value = self.values[place] if place < len(self.values) else None
        value = default if value is None else value
        if value is None:
            raise self.refuse(
                f"{self.place(name)} is missing (value {place + 1}); fill it in", "power.missing"
            )
        return value


def split(text: str, path: Path, line: int) -> tuple[list[str | None], bool]:
    """Values of a line, and whether a ``/`` ends the record.

    Raises:
        InputError: A quote is not closed.
    """
    values: list[str | None] = []
    waiting = True  # for a value, after a comma
    for token in _TOKEN.findall(text):
        if token == "/":
            return values, True
        if token == ",":
            if waiting:
                values.append(None)
            waiting = True
            continue
        if token in ("'", '"'):
            raise InputError(
                f"the quote {token} in {text.strip():.60} is not closed; close it",
                path=path,
                line=line,
                rule="psse.quote",
            )
        values.append(token[1:-1] if token[0] in "'\"" else token)
        waiting = False
    return values, False


def read_sections(path: Path) -> tuple[Record, int, dict[str, list[Record]]]:
    """Header, version and records of a ``.raw`` file by section; one record a line.

    Raises:
        InputError: The version is unknown or not supported, or the file ends too early.
    """
    lines = [
        (line, text)
        for line, text in enumerate(read_text(path).split("\n"), start=1)
        if not text.startswith("@!")  # names of columns
    ]
    first, text = lines[0] if lines else (1, "")
    values, _ = split(text, path, first)
    header = Record("first line", tuple(values), first, path)
    version = _version(header, text)
    order = _BEFORE_31 if version < 31 else _FROM_31 if version < 34 else _FROM_34
    sections: dict[str, list[Record]] = {name: [] for name in (*_FROM_34, *_FROM_31)}
    current = 0
    for line, text in lines[3:]:  # after two lines of title
        if current == len(order) or text.strip() == "Q":
            return header, version, sections
        if not text.strip():
            continue
        values, _ = split(text, path, line)
        if values and values[0] == "0" and (len(values) == 1 or _is_text(values[1])):
            current += 1
            continue
        record = Record(f"{order[current]} record", tuple(values), line, path)
        sections[order[current]].append(record)
    if current < len(order) and order[current] not in _MAY_LACK:
        raise InputError(
            f"the file ends within its {order[current]} data; sections end with 0 and the file "
            "with Q: complete it",
            path=path,
            line=lines[-1][0],
            rule="psse.end",
        )
    return header, version, sections


def _is_text(value: str | None) -> bool:
    """Whether a value begins like a word, as in ``0 END OF BUS DATA``."""
    return value is not None and value[:1].isalpha()


def _version(header: Record, text: str) -> int:
    """The version of the format; that of version 30 stands in the comment."""
    if len(header.values) > 2 and header.values[2] is not None:
        version = header.whole(2, "REV")
    elif found := re.search(r"PSS\S{0,6}E\D{0,2}(\d\d)", text):
        version = int(found[1])
    else:
        raise header.refuse(
            f"the first line {text.strip()!r:.60} names no version; write the version of the "
            "format, 30 to 34, as its third value",
            "psse.version",
        )
    if not 30 <= version <= 34:
        raise header.refuse(
            f"the file has version {version} of the format, and 30 to 34 are read; save it in one "
            "of these",
            "psse.version",
        )
    return version

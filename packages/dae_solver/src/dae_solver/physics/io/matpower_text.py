"""The text of a MATPOWER case file: assignments of plain data, without evaluating anything."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from dae_solver.physics.io.values import number, positive, whole
from scimind.errors import InputError
from scimind.reading import read_text

_TOKEN = re.compile(
    r"""
    (?P<blank>[^\S\n]+)
    | (?P<more>\.\.\.[^\n]*(\n|\Z))
    | (?P<comment>[%#][^\n]*)
    | (?P<number>[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?=[\s,;\]}%#]|\.\.\.|\Z)|[+-]?(Inf|NaN)\b)
    | (?P<text>'([^'\n]|'')*'|"([^"\n]|"")*")
    | (?P<name>[A-Za-z]\w*(\.\w+)*)
    | (?P<sign>[\[\]{};,=\n])
    """,
    re.VERBOSE,
)
_BLOCK = re.compile(r"^[^\S\n]*%\{[^\S\n]*\n.*?^[^\S\n]*%\}[^\S\n]*$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Token:
    """A piece of the text; blanks and comments are left out.

    Attributes:
        kind: ``number``, ``text``, ``name`` or ``sign``.
        text: As it stands.
        line: Where.
    """

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class MatrixRow:
    """A row with names for its columns."""

    values: Mapping[str, str]
    matrix: str
    line: int
    path: Path

    def number(self, name: str) -> float:
        """A number.

        Raises:
            InputError: It is none.
        """
        return number(self.values[name], f"{name} of mpc.{self.matrix}", self.path, self.line)

    def positive(self, name: str) -> float:
        """A number above zero.

        Raises:
            InputError: It is something else.
        """
        return positive(self.values[name], f"{name} of mpc.{self.matrix}", self.path, self.line)

    def whole(self, name: str) -> int:
        """A whole number.

        Raises:
            InputError: It is none.
        """
        return whole(self.values[name], f"{name} of mpc.{self.matrix}", self.path, self.line)

    def refuse(self, message: str, rule: str) -> InputError:
        """An error at this row."""
        return InputError(message, path=self.path, line=self.line, rule=rule)


@dataclass(frozen=True)
class Matrix:
    """The numbers of a matrix as they stand, with the line of each row."""

    cells: tuple[tuple[int, tuple[str, ...]], ...]
    rows: tuple[MatrixRow, ...] = ()

    def named(self, name: str, columns: tuple[str, ...], path: Path) -> Matrix:
        """With rows by column name; further columns are left out.

        Raises:
            InputError: A row has too few columns.
        """
        rows = []
        for line, cells in self.cells:
            if len(cells) < len(columns):
                raise InputError(
                    f"a row of mpc.{name} has {len(cells)} columns; the first {len(columns)} are "
                    f"needed: {', '.join(columns)}",
                    path=path,
                    line=line,
                    rule="matpower.width",
                )
            rows.append(MatrixRow(dict(zip(columns, cells, strict=False)), name, line, path))
        return Matrix(self.cells, tuple(rows))


def read_fields(path: Path) -> dict[str, object]:
    """The fields of ``mpc``: numbers and texts as strings, matrices as :class:`Matrix`.

    Raises:
        InputError: A statement is none of ``function ...`` and ``mpc.field = data``.
    """
    return _Parser(_tokens(path), path).fields()


def _tokens(path: Path) -> list[Token]:
    text = read_text(path)
    text = _BLOCK.sub(lambda found: "\n" * found[0].count("\n"), text)
    tokens, place, line = [], 0, 1
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            shown = text[place : place + 20].split("\n")[0]
            raise InputError(
                f"{shown!r} is no plain data; write numbers, texts and matrices only",
                path=path,
                line=line,
                rule="matpower.syntax",
            )
        kind = str(found.lastgroup)
        if kind not in ("blank", "more", "comment"):
            tokens.append(Token(kind, found[0], line))
        line += found[0].count("\n")
        place = found.end()
    tokens.append(Token("sign", "\n", line))
    return tokens


class _Parser:
    def __init__(self, tokens: list[Token], path: Path) -> None:
        self.tokens, self.path, self.place = tokens, path, 0

    def fields(self) -> dict[str, object]:
        fields: dict[str, object] = {}
        while self.place < len(self.tokens):
            token = self._next()
            if token.text in ("\n", ";", ","):
                continue
            if token.text == "function":
                while self._next().text != "\n":
                    pass
                continue
            if token.text in ("end", "return"):
                continue
            target = token.text.split(".")
            if token.kind != "name" or len(target) != 2 or self._next().text != "=":
                self._refuse(token, "is no statement of the form mpc.field = data")
            value = self._value()
            after = self._next()
            if after.text not in ("\n", ";", ","):
                self._refuse(after, "follows the data; nothing is computed, write plain data")
            if target[1] in fields:
                self._refuse(token, "is given twice; keep one")
            fields[target[1]] = value
        return fields

    def _value(self) -> object:
        token = self._next()
        if token.kind == "number":
            return token.text
        if token.kind == "text":
            return token.text[1:-1]
        if token.text == "[":
            return self._rows("]", ("number",))
        if token.text == "{":
            return self._rows("}", ("number", "text"))
        self._refuse(token, "is no plain data; write a number, a text or a matrix")

    def _rows(self, closing: str, kinds: tuple[str, ...]) -> Matrix:
        """Cells up to the closing bracket; rows end with ``;`` or a new line."""
        rows: list[tuple[int, tuple[str, ...]]] = []
        row: list[Token] = []
        while True:
            token = self._next()
            if token.text in (";", "\n", closing):
                if row:
                    rows.append((row[0].line, tuple(each.text for each in row)))
                    row = []
                if token.text == closing:
                    break
            elif token.kind in kinds:
                row.append(token)
            elif token.text != ",":
                self._refuse(token, "is no number; matrices hold plain numbers")
        widths = {len(cells) for _, cells in rows}
        if len(widths) > 1:
            line, cells = next(row for row in rows if len(row[1]) != len(rows[0][1]))
            raise InputError(
                f"the row has {len(cells)} columns and the first one {len(rows[0][1])}; give all "
                "rows as many",
                path=self.path,
                line=line,
                rule="matpower.width",
            )
        return Matrix(tuple(rows))

    def _next(self) -> Token:
        if self.place == len(self.tokens):
            last = self.tokens[-1]
            raise InputError(
                "the file ends within a statement; complete it",
                path=self.path,
                line=last.line,
                rule="matpower.end",
            )
        self.place += 1
        return self.tokens[self.place - 1]

    def _refuse(self, token: Token, problem: str) -> NoReturn:
        raise InputError(
            f"{token.text!r:.40} {problem}", path=self.path, line=token.line, rule="matpower.syntax"
        )

"""A recording as C++ functions of a few scenarios at once.

Numbers are no part of the source but of a table beside it, so that grids which differ in nothing
else share one library. Operations on arrays of the same length are done in one loop wherever no
other operation lies between them, so that most results never leave the processor's registers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dae_solver.recorded.recording import Operation

_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
    "equal": "==",
    "not_equal": "!=",
    "logical_and": "&",
    "logical_or": "|",
}
_PREFIX = {"neg": "-", "logical_not": "!"}
_MASKS = {
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("logical_and", "logical_or", "logical_not"),
}
_WHOLE = {"rows", "concat", "matmul", "spread"}


@dataclass
class Table:
    """The numbers of a grid.

    Attributes:
        values: All of them.
    """

    values: list[float] = field(default_factory=list)
    known: dict[bytes, int] = field(default_factory=dict)

    def place(self, numbers: np.ndarray) -> int:
        """Where some numbers are in the table."""
        listed = np.ascontiguousarray(numbers, float).reshape(-1)
        key = listed.tobytes()
        if key not in self.known:
            self.known[key] = len(self.values)
            self.values += listed.tolist()
        return self.known[key]


@dataclass(frozen=True)
class Array:
    """An array in the source, from some row on."""

    name: str
    first: int = 0


def truths(operations: Sequence[Operation]) -> set[Operation]:
    """Those of the operations that hold truth values."""
    found: set[Operation] = set()
    for each in operations:
        inside = [argument in found for argument in each.arguments]
        if (
            each.kind in _MASKS
            or (each.constant and each.value.dtype == bool)
            or (each.kind in ("rows", "concat") and any(inside))
            or (each.kind == "where" and all(inside))
        ):
            found.add(each)
    return found


class Function:
    """Writes the body of one function.

    Args:
        table: Of all functions of the grid.
        inputs: Where the results of operations are already.
        masks: What holds truth values, see :func:`truths`.
    """

    def __init__(
        self, table: Table, inputs: Mapping[Operation, Array], masks: Collection[Operation]
    ) -> None:
        self.table, self.arrays, self.masks = table, dict(inputs), masks
        self.level: dict[Operation, int] = dict.fromkeys(inputs, -1)
        self.number: dict[Operation, int] = {}

    def body(
        self, operations: Sequence[Operation], results: Sequence[tuple[Operation, Array]]
    ) -> list[str]:
        """Lines that work out the operations and write each result to an array."""
        todo = [each for each in operations if each not in self.arrays]
        for each in todo:
            self.number[each] = len(self.number)
            self._place(each)
        kept = self._kept(todo, [each for each, _ in results])
        lines = []
        for level in sorted({self.level[each] for each in todo}):
            here = [each for each in todo if self.level[each] == level and self._is_made(each)]
            for each in here:
                if each.kind in _WHOLE:
                    lines += self._whole(each)
            loops: dict[int, list[Operation]] = {}
            for each in here:
                if each.kind not in _WHOLE:
                    loops.setdefault(each.rows, []).append(each)
            for rows, members in loops.items():
                lines += self._loop(rows, members, kept)
        for each, to in results:
            target = f"{to.name}[{to.first} + r]"
            lines.append(f"for (int r = 0; r < {each.rows}; ++r) {target} = {self._at(each)};")
        return lines

    def _is_made(self, operation: Operation) -> bool:
        """Whether something is computed for it, and it is no part of another array."""
        return not operation.constant and operation not in self.arrays

    def _place(self, operation: Operation) -> None:
        """Its level: after those of all that it needs as a whole."""
        kind, arguments = operation.kind, operation.arguments
        level = -1
        for each in arguments:
            joins = kind not in _WHOLE and self._joins(each, operation)
            level = max(level, self.level[each] + (0 if joins else 1))
        self.level[operation] = max(level, 0)
        if operation.constant:
            self.level[operation] = -1
        if kind == "rows" and (np.diff(operation.value) == 1).all():
            (whole,) = arguments
            base = self.arrays.get(whole, Array(f"a{self.number.get(whole, -1)}"))
            first = int(operation.value[0]) if len(operation.value) else 0
            self.arrays[operation] = Array(base.name, base.first + first)
            self.level[operation] = self.level[whole]

    def _joins(self, argument: Operation, operation: Operation) -> bool:
        """Whether both are worked out in the same loop."""
        made = argument.kind not in _WHOLE and argument not in self.arrays
        return made and not argument.constant and argument.rows == operation.rows

    def _kept(self, todo: list[Operation], results: list[Operation]) -> set[Operation]:
        """What is needed outside the loop that works it out."""
        kept = set(results)
        for each in todo:
            for argument in each.arguments:
                same = self._joins(argument, each) and self.level[argument] == self.level[each]
                if each.kind in _WHOLE or not same:
                    kept.add(argument)
        return kept

    def _type(self, operation: Operation) -> str:
        return "Mask<V>" if operation in self.masks else "V"

    def _name(self, operation: Operation) -> str:
        return f"v{self.number[operation]}"

    def _at(self, operation: Operation, row: str = "r") -> str:
        """A row of what is kept in an array or in the table."""
        if operation.rows == 1:
            row = "0"
        if operation.constant:
            value = f"c[{self.table.place(operation.value)} + {row}]"
            return f"splat<V>({value})" if operation not in self.masks else f"truth<V>({value})"
        array = self.arrays.get(operation, Array(f"a{self.number.get(operation, -1)}"))
        return f"{array.name}[{array.first} + {row}]"

    def _loop(self, rows: int, members: list[Operation], kept: set[Operation]) -> list[str]:
        inside = set(members)
        lines = [
            f"{self._type(each)} a{self.number[each]}[{max(each.rows, 1)}];"
            for each in members
            if each in kept
        ]
        lines.append(f"for (int r = 0; r < {rows}; ++r) {{")
        for each in members:
            values = [self._name(a) if a in inside else self._at(a) for a in each.arguments]
            lines.append(f"  const {self._type(each)} {self._name(each)} = {_call(each, values)};")
            if each in kept:
                lines.append(f"  a{self.number[each]}[r] = {self._name(each)};")
        return [*lines, "}"]

    def _whole(self, operation: Operation) -> list[str]:
        name, rows, value = f"a{self.number[operation]}", operation.rows, operation.value
        lines = [f"{self._type(operation)} {name}[{max(rows, 1)}];"]
        if operation.kind == "spread":
            place = self.table.place(value)
            return [
                *lines,
                f"for (int r = 0; r < {rows}; ++r) {name}[r] = splat<V>(c[{place} + r]);",
            ]
        if operation.kind == "concat":
            first = 0
            for part in operation.arguments:
                lines.append(
                    f"for (int r = 0; r < {part.rows}; ++r) {name}[{first} + r] = {self._at(part)};"
                )
                first += part.rows
            return lines
        (argument,) = operation.arguments
        if operation.kind == "rows":
            index = ", ".join(map(str, value.tolist()))
            lines.append(f"static const int i{name}[] = {{{index}}};")
            taken = self._at(argument, f"i{name}[r]")
            return [*lines, f"for (int r = 0; r < {rows}; ++r) {name}[r] = {taken};"]
        ends = np.cumsum([0, *(value != 0).sum(1)]).tolist()
        columns = np.nonzero(value)[1].tolist() or [0]
        place = self.table.place(value[value != 0])
        return [
            *lines,
            f"static const int e{name}[] = {{{', '.join(map(str, ends))}}};",
            f"static const int i{name}[] = {{{', '.join(map(str, columns))}}};",
            f"for (int r = 0; r < {rows}; ++r) {{",
            "  V sum = splat<V>(0.0);",
            f"  for (int k = e{name}[r]; k < e{name}[r + 1]; ++k)",
            f"    sum += c[{place} + k] * {self._at(argument, f'i{name}[k]')};",
            f"  {name}[r] = sum;",
            "}",
        ]


def _call(operation: Operation, values: list[str]) -> str:
    kind = operation.kind
    if kind in _INFIX:
        return f"{values[0]} {_INFIX[kind]} {values[1]}"
    if kind in _PREFIX:
        return f"{_PREFIX[kind]}{values[0]}"
    return f"{kind}({', '.join(values)})"

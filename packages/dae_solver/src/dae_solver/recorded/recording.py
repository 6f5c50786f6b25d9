"""Arrays that record what is done to them, so that equations in NumPy's words run elsewhere.

The models are written for arrays ``[row, scenario]`` and a namespace of functions, see
:mod:`dae_solver.physics.mathematics`. Called once with recorded arrays they leave a list of
operations; what depends on constants alone is worked out by NumPy on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(eq=False)
class Operation:
    """One step of a recording.

    Attributes:
        kind: ``input``, ``constant``, ``rows``, ``concat``, ``matmul`` or an elementwise function.
        arguments: Operations before it.
        rows: Of the result.
        value: Of a constant; the rows that are taken; the name of an input.
    """

    kind: str
    arguments: tuple[Operation, ...]
    rows: int
    value: Any = None

    @property
    def constant(self) -> bool:
        """Whether it is the same for all scenarios."""
        return self.kind == "constant"


@dataclass
class Recording:
    """What was recorded; equal operations are one."""

    operations: list[Operation] = field(default_factory=list)
    known: dict[Any, Operation] = field(default_factory=dict)

    def add(self, kind: str, arguments: tuple[Operation, ...], rows: int, value: Any = None) -> Any:
        """An operation, which may have been recorded before."""
        content = (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        key = (kind, rows, tuple(map(id, arguments)), content)
        if key not in self.known:
            self.known[key] = Operation(kind, arguments, rows, value)
            self.operations.append(self.known[key])
        return self.known[key]

    def input(self, name: str, rows: int) -> Recorded:
        """A variable ``[row, scenario]``."""
        return Recorded(self, self.add("input", (), rows, name))

    def constant(self, value: Any) -> Operation:
        """A number, or an array ``[row, 1]``."""
        value = np.asarray(value)
        shaped = value.reshape(-1, 1) if value.ndim < 2 else value
        if shaped.shape[1] != 1:
            raise ValueError(f"a constant of shape {value.shape} depends on the scenario")
        if (shaped == shaped[:1]).all():
            shaped = shaped[:1]
        kind = bool if shaped.dtype == bool else float
        found: Operation = self.add("constant", (), len(shaped), shaped.astype(kind))
        return found


_NUMPY: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "neg": np.negative,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_not": np.logical_not,
    "abs": np.abs,
    "sin": np.sin,
    "cos": np.cos,
    "atan2": np.arctan2,
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "where": np.where,
}
_KINDS = {value: kind for kind, value in _NUMPY.items() if isinstance(value, np.ufunc)}
_KINDS |= {np.bitwise_and: "logical_and", np.bitwise_or: "logical_or", np.invert: "logical_not"}


def _binary(kind: str, swapped: bool = False) -> Any:
    def method(self: Recorded, other: Any) -> Any:
        pair = (other, self) if swapped else (self, other)
        return elementwise(kind, *pair)

    return method


class Recorded:
    """An array ``[row, scenario]`` whose operations are recorded."""

    def __init__(self, recording: Recording, operation: Operation) -> None:
        self.recording, self.operation = recording, operation

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and one scenario: constants of this shape hold for any number."""
        return self.operation.rows, 1

    def __len__(self) -> int:
        return self.operation.rows

    def __getitem__(self, rows: slice | np.ndarray | int) -> Recorded:
        return take(self, np.atleast_1d(np.arange(len(self))[rows]))

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy's functions of recorded arrays, and its arrays to the left of them."""
        if method != "__call__" or options:
            return NotImplemented
        if ufunc is np.matmul:
            return self.__rmatmul__(inputs[0])
        if ufunc in (np.minimum, np.maximum):
            return getattr(RecordingMath, ufunc.__name__)(*inputs)
        return elementwise(_KINDS[ufunc], *inputs) if ufunc in _KINDS else NotImplemented

    def __pow__(self, power: Any) -> Any:
        if isinstance(power, int) and 1 <= power <= 4:
            found: Any = self
            for _ in range(power - 1):
                found = found * self
            return found
        return RecordingMath.exp(power * RecordingMath.log(self))

    def __rmatmul__(self, matrix: np.ndarray) -> Recorded:
        made = self.recording.add(
            "matmul", (self.operation,), len(matrix), np.asarray(matrix, float)
        )
        return Recorded(self.recording, made)

    def __neg__(self) -> Any:
        return elementwise("neg", self)

    def __invert__(self) -> Any:
        return elementwise("logical_not", self)

    __add__, __radd__ = _binary("add"), _binary("add")
    __sub__, __rsub__ = _binary("sub"), _binary("sub", True)
    __mul__, __rmul__ = _binary("mul"), _binary("mul")
    __truediv__, __rtruediv__ = _binary("div"), _binary("div", True)
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")
    __eq__, __ne__ = _binary("equal"), _binary("not_equal")
    __and__, __rand__ = _binary("logical_and"), _binary("logical_and")
    __or__, __ror__ = _binary("logical_or"), _binary("logical_or")


def elementwise(kind: str, *arguments: Any) -> Any:
    """A function of each element; of constants alone it is worked out by NumPy."""
    recording = next(each.recording for each in arguments if isinstance(each, Recorded))
    operands = tuple(
        each.operation if isinstance(each, Recorded) else recording.constant(each)
        for each in arguments
    )
    rows = max(each.rows for each in operands)
    if any(each.rows not in (1, rows) for each in operands):
        raise ValueError(f"{kind} of {[each.rows for each in operands]} rows")
    if all(each.constant for each in operands):
        value = _NUMPY[kind](*(each.value for each in operands))
        value = np.ascontiguousarray(np.broadcast_to(value, (rows, 1)))
        return Recorded(recording, recording.add("constant", (), rows, value))
    same = _unchanged(kind, operands, rows)
    return Recorded(recording, same or recording.add(kind, operands, rows))


def _unchanged(kind: str, operands: tuple[Operation, ...], rows: int) -> Operation | None:
    """The operand that ``x + 0``, ``1 * x`` and a choice that is always the same return."""

    def all_are(k: int, number: Any) -> bool:
        return operands[k].constant and bool((operands[k].value == number).all())

    kept = None
    if kind == "where":
        kept = 1 if all_are(0, True) else 2 if all_are(0, False) else None
    elif kind in ("add", "mul"):
        neutral = 0.0 if kind == "add" else 1.0
        kept = 0 if all_are(1, neutral) else 1 if all_are(0, neutral) else None
    elif kind in ("sub", "div"):
        kept = 0 if all_are(1, 0.0 if kind == "sub" else 1.0) else None
    return operands[kept] if kept is not None and operands[kept].rows == rows else None


def take(x: Recorded, index: np.ndarray) -> Recorded:
    """Some rows, from where they were put together or taken before."""
    index, operation = np.asarray(index), x.operation
    while True:
        if np.array_equal(index, np.arange(operation.rows)):
            return Recorded(x.recording, operation)
        if operation.kind == "rows":
            index, operation = operation.value[index], operation.arguments[0]
            continue
        part = _part(operation, index)
        if part is None:
            break
        operation, index = part
    return Recorded(x.recording, x.recording.add("rows", (operation,), len(index), index))


def _part(operation: Operation, index: np.ndarray) -> tuple[Operation, np.ndarray] | None:
    """The part of a concatenation from which all rows come, if it is one that varies."""
    if operation.kind != "concat":
        return None
    end = 0
    for part in operation.arguments:
        begin, end = end, end + part.rows
        if len(index) and begin <= index.min() and index.max() < end:
            return (part, index - begin)
    return None


def _function(kind: str) -> Any:
    def function(*arguments: Any) -> Any:
        if any(isinstance(each, Recorded) for each in arguments):
            return elementwise(kind, *arguments)
        return _NUMPY[kind](*arguments)

    return staticmethod(function)


class RecordingMath:
    """The counterpart of :class:`dae_solver.physics.mathematics.NumPyMath` for recorded arrays."""

    abs = _function("abs")
    sin = _function("sin")
    cos = _function("cos")
    atan2 = _function("atan2")
    exp = _function("exp")
    log = _function("log")
    sqrt = _function("sqrt")
    where = _function("where")

    # Where both are equal the slope is that of the second, in MindSpore's gradient too: a limit
    # that is just reached holds, and a dead band of no width is none.

    @staticmethod
    def minimum(a: Any, b: Any) -> Any:
        """The smaller of each two elements."""
        if isinstance(a, Recorded) or isinstance(b, Recorded):
            return RecordingMath.where(b <= a, b, a)
        return np.minimum(a, b)

    @staticmethod
    def maximum(a: Any, b: Any) -> Any:
        """The larger of each two elements."""
        if isinstance(a, Recorded) or isinstance(b, Recorded):
            return RecordingMath.where(b >= a, b, a)
        return np.maximum(a, b)

    @staticmethod
    def concat(parts: Sequence[Any]) -> Any:
        """Arrays one below the other."""
        if not any(isinstance(each, Recorded) for each in parts):
            return np.concatenate(parts)
        recording = next(each.recording for each in parts if isinstance(each, Recorded))
        pieces = [_varying(recording, each) for each in parts if len(each)]
        rows = sum(each.rows for each in pieces)
        return Recorded(recording, recording.add("concat", tuple(pieces), rows))

    @staticmethod
    def matmul(matrix: Any, x: Any) -> Any:
        """A constant matrix times an array."""
        return matrix @ x

    @staticmethod
    def rows(x: Any, index: np.ndarray | slice) -> Any:
        """Some rows of an array, in the order of ``index``."""
        return x[index]


def _varying(recording: Recording, part: Any) -> Operation:
    """An operation whose result has a column for each scenario."""
    if isinstance(part, Recorded):
        if not part.operation.constant:
            return part.operation
        part = part.operation.value
    made: Operation = recording.add("spread", (), len(part), np.asarray(part, float))
    return made

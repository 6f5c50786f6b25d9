"""A recording as a function of MindSpore tensors.

MindSpore compiles a function from its source, so the recording is written as a module of straight
lines, ``v7 = ops.mul(v5, v6)``, which runs in pynative mode and inside ``ms.jit``.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from dae_solver.differentiable.recording import Operation, Recorded
from scimind.typing import Bool

_numbers = itertools.count()


class Program:
    """The operations that lead to a result, in order.

    Attributes:
        recorded: The result as it was recorded.
        inputs: Variables that the function takes, in this order.
        result: What it returns.
        operations: Those that the result needs.
    """

    def __init__(self, result: Recorded, inputs: Sequence[Recorded]) -> None:
        self.recorded, self.inputs = result, [each.operation for each in inputs]
        self.result = result.operation
        needed = _needed(self.result)
        self.operations = [o for o in result.recording.operations if id(o) in needed]

    @cached_property
    def pattern(self) -> Bool[np.ndarray, "result variable"]:
        """Which rows of the result depend on which rows of the inputs, one below the other."""
        total = sum(each.rows for each in self.inputs)
        found: dict[int, np.ndarray] = {}
        begin = 0
        for each in self.inputs:
            found[id(each)] = np.eye(total, dtype=bool)[begin : begin + each.rows]
            begin += each.rows
        for each in self.operations:
            if each.kind != "input":
                found[id(each)] = _depends(each, [found[id(a)] for a in each.arguments], total)
        return found[id(self.result)]

    def function(self, dtype: Any) -> Callable[..., Any]:
        """The result as a function of the inputs, tensors ``[row, scenario]`` of type ``dtype``.

        It may be called in pynative mode, inside ``ms.jit``, and differentiated.
        """
        names = [each.value for each in self.inputs]
        writer = _Writer(self.operations, names[0], dtype)
        lines = [f"def function({', '.join(names)}):", *writer.write([self.result])]
        made: Callable[..., Any] = _module(lines, writer.constants)["function"]
        return made

    def staged(self, late: Recorded, dtype: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The result in two functions, so that a loop over ``late`` repeats only what it changes.

        Returns:
            ``before(*others)``, a tuple of tensors, and ``after(late, that)``, the result.
        """
        moving = {id(late.operation)}
        for each in self.operations:
            if any(id(a) in moving for a in each.arguments):
                moving.add(id(each))
        used = {id(a) for each in self.operations if id(each) in moving for a in each.arguments}
        still = [each for each in self.operations if id(each) not in moving]
        given = [each for each in still if id(each) in used and not each.constant]
        names = [each.value for each in self.inputs if each is not late.operation]
        writer = _Writer(still, names[0], dtype)
        lines = [f"def before({', '.join(names)}):", *writer.write(given, several=True), "", ""]
        late_ones = [each for each in self.operations if id(each) in moving or each.constant]
        name = late.operation.value
        after = _Writer(late_ones, name, dtype, writer)
        after.names |= {id(each): f"g{k}" for k, each in enumerate(given)}
        listed = ", ".join(f"g{k}" for k in range(len(given)))
        lines += [f"def after({name}, given):", f"    {listed}, = given"]
        lines += after.write([self.result])
        made = _module(lines, writer.constants)
        return made["before"], made["after"]


def _needed(result: Operation) -> set[int]:
    found: set[int] = set()
    open_ = [result]
    while open_:
        operation = open_.pop()
        if id(operation) not in found:
            found.add(id(operation))
            open_ += operation.arguments
    return found


def _depends(operation: Operation, parts: list[np.ndarray], total: int) -> np.ndarray:
    kind, rows = operation.kind, operation.rows
    if not parts:
        return np.zeros((rows, total), bool)
    if kind == "rows":
        return np.asarray(parts[0][operation.value])
    if kind == "concat":
        return np.concatenate(parts)
    if kind == "matmul":
        return np.asarray((operation.value != 0) @ parts[0])
    return np.asarray(np.logical_or.reduce([np.broadcast_to(p, (rows, total)) for p in parts]))


class _Writer:
    """Turns operations into the lines of a function."""

    def __init__(
        self, operations: list[Operation], first: str, dtype: Any, before: _Writer | None = None
    ) -> None:
        self.operations, self.first, self.dtype = operations, first, dtype
        self.names: dict[int, str] = {}
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {} if before is None else before.constants
        self.known: dict[Any, str] = {} if before is None else before.known

    def write(self, results: list[Operation], *, several: bool = False) -> list[str]:
        pieces = self._pieces()
        for each in self.operations:
            if each.kind == "input":
                self.names[id(each)] = each.value
            elif each.kind == "constant":
                self.names[id(each)] = self._constant(each.value)
            elif id(each) not in self.names:  # else a piece that was split off already
                self._assign(each, self._call(each))
            if id(each) in pieces:
                self._split(each, pieces[id(each)])
        if any(each.constant for each in results):
            raise ValueError("a result is a constant")
        names = ", ".join(self.names[id(each)] for each in results)
        self.lines.append(f"return {f'({names},)' if several else names}")
        return [f"    {line}" for line in self.lines]

    def _assign(self, operation: Operation, call: str) -> None:
        name = self.names[id(operation)] = f"v{len(self.names)}"
        self.lines.append(f"{name} = {call}")

    def _constant(self, value: np.ndarray) -> str:
        whole = np.issubdtype(value.dtype, np.integer)
        kind = ms.bool_ if value.dtype == bool else ms.int32 if whole else self.dtype
        key = (str(kind), value.shape, value.tobytes())
        if key not in self.known:
            name = self.known[key] = f"C{len(self.known)}"
            self.constants[name] = ms.Tensor(np.ascontiguousarray(value), kind)
        return self.known[key]

    def _call(self, operation: Operation) -> str:
        names = [self.names[id(each)] for each in operation.arguments]
        kind, value = operation.kind, operation.value
        if kind == "rows":
            return f"ops.gather({names[0]}, {self._constant(value.astype(np.int32))}, 0)"
        if kind == "concat":
            return f"ops.concat(({', '.join(names)},), 0)"
        if kind == "matmul":
            return f"ops.matmul({self._constant(value)}, {names[0]})"
        if kind == "spread":
            # All rows of one input, so that the result has its scenarios.
            like = f"ops.sum({self.first}, 0, True)"
            zero = self._constant(np.zeros((1, 1)))
            return f"ops.add(ops.mul({like}, {zero}), {self._constant(value)})"
        return f"ops.{kind}({', '.join(names)})"

    def _pieces(self) -> dict[int, list[Operation]]:
        """For each operation the disjoint ranges of its rows that are taken from it."""
        taken: dict[int, list[Operation]] = {}
        for each in self.operations:
            if each.kind == "rows" and (np.diff(each.value) == 1).all():
                taken.setdefault(id(each.arguments[0]), []).append(each)
        for key, parts in taken.items():
            parts.sort(key=lambda part: int(part.value[0]))
            ends = [int(part.value[-1]) for part in parts]
            taken[key] = [
                part for k, part in enumerate(parts) if k == 0 or int(part.value[0]) > max(ends[:k])
            ]
        return taken

    def _split(self, operation: Operation, parts: list[Operation]) -> None:
        """One operator for all ranges instead of one for each."""
        sizes, names, end = [], [], 0
        for part in [*parts, None]:
            begin = operation.rows if part is None else int(part.value[0])
            if begin > end:
                sizes.append(begin - end)
                names.append("_")
            if part is not None:
                name = self.names[id(part)] = f"v{len(self.names)}"
                sizes.append(part.rows)
                names.append(name)
                end = begin + part.rows
        call = f"ops.split({self.names[id(operation)]}, ({', '.join(map(str, sizes))},), 0)"
        self.lines.append(f"{', '.join(names)}, = {call}")


class _Folder:
    """Where modules are written, until the process ends."""

    path: tempfile.TemporaryDirectory[str] | None = None


def _module(lines: list[str], constants: dict[str, Any]) -> dict[str, Any]:
    """The names of a module with these lines."""
    if _Folder.path is None:
        _Folder.path = tempfile.TemporaryDirectory(prefix="dae_solver_")
    name = f"dae_solver_recorded_{next(_numbers)}"
    path = Path(_Folder.path.name) / f"{name}.py"
    head = ['"""Written from a recording."""', "", "from mindspore import ops", "", ""]
    path.write_text("\n".join([*head, *lines, ""]))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # MindSpore looks the names of a function up in the module that it finds there.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    vars(module).update(constants)
    return vars(module)

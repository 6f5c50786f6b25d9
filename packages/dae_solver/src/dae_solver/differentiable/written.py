"""A recording as a function of MindSpore tensors.

MindSpore compiles a function from its source, so the recording is written as a module of straight
lines, ``v7 = ops.mul(v5, v6)``, which runs in pynative mode and inside ``ms.jit``.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np

from dae_solver.recorded import Program, Recorded
from dae_solver.recorded.recording import Operation

_numbers = itertools.count()


def function(program: Program, dtype: Any) -> Callable[..., Any]:
    """The result as a function of the inputs, tensors ``[row, scenario]`` of type ``dtype``.

    It may be called in pynative mode, inside ``ms.jit``, and differentiated.
    """
    names = [each.value for each in program.inputs]
    writer = _Writer(program.operations, names[0], dtype)
    lines = [f"def function({', '.join(names)}):", *writer.write([program.result])]
    made: Callable[..., Any] = _module(lines, writer.constants)["function"]
    return made


def staged(
    program: Program, late: Recorded, dtype: Any
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The result in two functions, so that a loop over ``late`` repeats only what it changes.

    Returns:
        ``before(*others)``, a tuple of tensors, and ``after(late, that)``, the result.
    """
    stages = program.stages(late)
    names = [each.value for each in program.inputs if each is not late.operation]
    writer = _Writer(stages.still, names[0], dtype)
    lines = [f"def before({', '.join(names)}):"]
    lines += [*writer.write(stages.given, several=True), "", ""]
    name = late.operation.value
    after = _Writer(stages.late, name, dtype, writer)
    after.names |= {id(each): f"g{k}" for k, each in enumerate(stages.given)}
    listed = ", ".join(f"g{k}" for k in range(len(stages.given)))
    lines += [f"def after({name}, given):", f"    {listed}, = given"]
    lines += after.write([program.result])
    made = _module(lines, writer.constants)
    return made["before"], made["after"]


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

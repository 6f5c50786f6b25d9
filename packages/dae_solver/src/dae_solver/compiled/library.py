"""The library of a grid's equations: written, compiled once, kept, and called."""

from __future__ import annotations

import ctypes
import hashlib
import re
from collections.abc import Sequence
from importlib import resources

import numpy as np

from dae_solver.compiled.source import Array, Function, Table, truths
from dae_solver.config.model import MOST_NODES
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.voltages import MOST_ROUNDS, PLAIN_ROUNDS
from dae_solver.recorded import Program, Recording
from dae_solver.recorded.equations import RecordedDAE
from dae_solver.recorded.recording import Operation
from scimind.device.compile_cache import cache_root
from scimind.device.compiler import BuildError, flags, instruction_set, libraries

# What its functions may need on the stack, which has 8 MB.
MOST_STACK = 6 << 20
# Stages of a method whose steps are compiled.
MOST_STAGES = 8

X, Y, P, OUT = Array("x"), Array("y"), Array("p"), Array("out")


def lanes(level: str | None) -> int:
    """Scenarios that are evaluated at once: as many as registers hold, as wider vectors are slow.

    Args:
        level: Of the instruction set, see :func:`scimind.device.compiler.instruction_set`.
    """
    return {"x86-64-v4": 8, "x86-64-v3": 4}.get(level or "", 2)


def source(dae: PowerDAE, rows: dict[str, int], *, windows: bool = False) -> tuple[str, np.ndarray]:
    """The C++ source of the equations, and the table of its numbers.

    Args:
        dae: The grid.
        rows: How many each parameter has, in the order in which they are given.
        windows: Whether it is to have those of a learned operator too, which take as long again to
            compile.

    Raises:
        BuildError: The grid is too large.
    """
    recording, recorded = Recording(), RecordedDAE(dae)
    x = recording.input("x", len(dae.states))
    y = recording.input("y", len(dae.algebraics))
    p = recording.input("p", sum(rows.values()))
    ends = np.cumsum([0, *rows.values()]).tolist()
    named = {name: p[begin:end] for name, begin, end in zip(rows, ends[:-1], ends[1:], strict=True)}
    slopes = Program(recorded.f(0.0, x, y, named), (x, y, p))
    limits = Program(recorded.limit(0.0, x, named), (x, p))
    turn, currents = recorded.turned(x, y, named)
    angle, stages = Program(turn, (x, p)), Program(currents, (x, y, p)).stages(y)
    early = {*stages.still, *angle.operations}
    masks = truths(recording.operations)
    held = {mask: [each for each in stages.given if (each in masks) == mask] for mask in (0, 1)}
    given = _places("g", held[False]) | _places("h", held[True])
    _check_size(len(x), len(y), sum(each.rows for each in recording.operations))
    table, there = Table(), {x.operation: X, y.operation: Y, p.operation: P}
    parts = [
        f"constexpr int LANES = {lanes(instruction_set())}, MOST_STAGES = {MOST_STAGES};",
        f"constexpr int MOST_ROUNDS = {MOST_ROUNDS}, PLAIN_ROUNDS = {PLAIN_ROUNDS};",
        header("lanes.h"),
        f"constexpr int STATES = {len(x)}, BUSES = {len(y) // 2}, PARAMETERS = {max(len(p), 1)};",
        f"constexpr int GIVEN = {_rows(held[False])}, MASKS = {_rows(held[True])};",
        *_function(
            "slopes(const V* x, const V* y, const V* p, const Real<V>* c, V* out)",
            Function(table, there, masks),
            slopes.operations,
            [(slopes.result, OUT)],
        ),
        *_function(
            "limits(const V* x, const V* p, const Real<V>* c, V* out)",
            Function(table, there, masks),
            limits.operations,
            [(limits.result, OUT)],
        ),
        *_function(
            "prepare(const V* x, const V* p, const Real<V>* c, V* t, V* g, Mask<V>* h)",
            Function(table, there, masks),
            [each for each in recording.operations if each in early],
            [(angle.result, Array("t")), *given.items()],
        ),
        *_function(
            "currents(const V* y, const V* g, const Mask<V>* h, const Real<V>* c, V* out)",
            Function(table, {y.operation: Y, **given}, masks),
            stages.late,
            [(currents.operation, OUT)],
        ),
        header("batch.h"),
        *([f"constexpr int MOST_NODES = {MOST_NODES};", header("windows.h")] if windows else []),
    ]
    return "\n".join(parts), np.array([*table.values, 0.0])


def _check_size(states: int, algebraics: int, rows: int) -> None:
    """The functions keep what they work out on the stack; a grid must not need more than there is.

    Args:
        states: Their number.
        algebraics: Their number.
        rows: Of all operations together.
    """
    step = 2 * (2 * states + (2 + MOST_STAGES) * algebraics) + MOST_STAGES * states
    needed = lanes(instruction_set()) * np.dtype(float).itemsize * (step + 16 * algebraics + rows)
    if needed > MOST_STACK:
        raise BuildError(
            f"its {states} states and {algebraics} algebraic variables need {needed >> 20} MB of "
            f"the stack, more than {MOST_STACK >> 20}"
        )


def _function(
    head: str,
    function: Function,
    operations: Sequence[Operation],
    results: Sequence[tuple[Operation, Array]],
) -> list[str]:
    lines = [f"  {line}" for line in function.body(operations, results)]
    return ["template <class V>", f"void {head} {{", *lines, "}"]


def _places(name: str, operations: Sequence[Operation]) -> dict[Operation, Array]:
    """Where each is among the rows of one array."""
    begins = np.cumsum([0, *(each.rows for each in operations)]).tolist()
    return {each: Array(name, begin) for each, begin in zip(operations, begins, strict=False)}


def _rows(operations: Sequence[Operation]) -> int:
    return max(sum(each.rows for each in operations), 1)


def header(name: str) -> str:
    """A header, with those that it includes from this folder."""
    text = resources.files("dae_solver.compiled").joinpath(name).read_text()
    return re.sub(r'^#include "(.*)"$', lambda found: header(found[1]), text, flags=re.MULTILINE)


def compiled(text: str) -> ctypes.CDLL:
    """The library of a source, compiled on first use.

    Raises:
        BuildError: There is no compiler, or it refuses the source.
    """
    path = cache_root() / "equations" / f"grid-{hashlib.sha256(text.encode()).hexdigest()[:16]}.cc"
    if not path.exists():
        from scimind.eval.writing import write_whole

        write_whole(path, text)
    # Sums of products may be fused, as in the libraries that NumPy calls. -O3 takes five times as
    # long as -O2 for a library that is a twentieth faster.
    (found,) = libraries([path], [*flags(instruction_set()), "-O2", "-ffp-contract=fast"])
    return ctypes.CDLL(str(found))

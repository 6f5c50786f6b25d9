"""Differentiation index of symbolic systems, and its reduction to 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scimind.errors import InputError

HIGHEST_INDEX = 4
# Ranks are those at random points; a symbolic rank would miss what never vanishes but is not
# simplified.
POINTS = 3


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """An index-1 system with the same solutions.

    Attributes:
        index: Of the system as it was given; 0 without algebraic variables.
        g: One residual per algebraic variable, with a regular Jacobian by them.
        invariants: Constraints on the states alone.
    """

    index: int
    g: list[Any]
    invariants: list[Any]


def reduce_index(
    t: Any, x: list[Any], f: list[Any], y: list[Any], g: list[Any], *, reduce: bool
) -> Reduced:
    """Differentiate constraints along the solution until they determine every algebraic variable.

    For combinations ``n`` of the rows with ``n g_y = 0`` each solution also satisfies
    ``n (g_x f + g_t) = 0``, which is added; the number of rounds plus one is the index.

    Raises:
        InputError: The index is above 1 and ``reduce`` is off, or the equations do not determine
            the algebraic variables.

    Source: Campbell and Gear, Numer. Math. 72, 173 (1995); Hairer and Wanner II, VII.1.
    """
    import sympy

    if not y:
        return Reduced(index=0, g=[], invariants=[])
    rows, index = list(g), 1
    combined: list[Any] = []
    fresh = list(range(len(rows)))
    while _rank(rows, t, x, y) < len(y):
        if not reduce:
            raise InputError(
                f"the equations have an index above {index}: their Jacobian by {y} is singular; "
                "allow reduce=True",
                rule="dae.index",
            )
        index += 1
        added = []
        if index <= HIGHEST_INDEX:
            matrix = sympy.Matrix(rows)
            slope = matrix.jacobian(sympy.Matrix(y)).applyfunc(sympy.simplify)
            along = matrix.jacobian(sympy.Matrix(x)) * sympy.Matrix(f) + matrix.diff(t)
            for vector in slope.T.nullspace():
                if not any(vector[row] != 0 for row in fresh):
                    continue
                constraint = sympy.simplify((vector.T * along)[0, 0])
                if constraint != 0:
                    added.append(constraint)
                    combined.append(sympy.simplify((vector.T * matrix)[0, 0]))
        if not added:
            raise InputError(
                f"the equations do not determine the algebraic variables {y}: after "
                f"{index - 1} differentiations their Jacobian is still singular",
                rule="dae.singular",
            )
        fresh = list(range(len(rows), len(rows) + len(added)))
        rows += added
    chosen = _independent(rows, t, x, y)
    # What the chosen rows leave of the others is in the combinations that were differentiated.
    for row in combined:
        if row.free_symbols & set(y):
            raise InputError(
                f"the constraint {row} = 0 has algebraic variables and does not determine them; "
                "write it without them",
                rule="dae.index",
            )
    return Reduced(index=index, g=[rows[number] for number in chosen], invariants=combined)


def _slopes(rows: list[Any], t: Any, x: list[Any], y: list[Any]) -> list[np.ndarray]:
    """Jacobians by ``y`` at random points, other symbols included."""
    import sympy

    slope = sympy.Matrix(rows).jacobian(sympy.Matrix(y))
    symbols = sorted(slope.free_symbols | {t, *x, *y}, key=str)
    function = sympy.lambdify(symbols, slope, modules="numpy")
    rng = np.random.default_rng(0)
    found = [
        np.asarray(function(*rng.uniform(0.3, 1.7, len(symbols))), float) for _ in range(POINTS)
    ]
    return [each / np.maximum(np.abs(each).max(1, keepdims=True), 1e-300) for each in found]


def _rank(rows: list[Any], t: Any, x: list[Any], y: list[Any]) -> int:
    return max(int(np.linalg.matrix_rank(each, tol=1e-9)) for each in _slopes(rows, t, x, y))


def _independent(rows: list[Any], t: Any, x: list[Any], y: list[Any]) -> list[int]:
    """The first rows that together determine all of ``y``, in order."""
    chosen: list[int] = []
    slopes = _slopes(rows, t, x, y)
    for number in range(len(rows)):
        trial = [*chosen, number]
        if any(np.linalg.matrix_rank(each[trial], tol=1e-9) == len(trial) for each in slopes):
            chosen = trial
        if len(chosen) == len(y):
            break
    return chosen

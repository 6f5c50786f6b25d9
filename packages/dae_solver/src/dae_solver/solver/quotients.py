"""Difference quotients of functions of a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dae_solver.solver.parameters import Parameters, take
from scimind.typing import Float

_EPSILON = float(np.finfo(np.float64).eps)
# Evaluations at once, so that memory stays bounded for large systems.
MOST_AT_ONCE = 1 << 22


def quotients(
    function: Callable[[Any, Any, Any], Any],
    t: Any,
    z: Float[np.ndarray, "variable scenario"],
    p: Parameters,
    scale: Float[np.ndarray, " variable"],
    *,
    central: bool = False,
    moving: slice = slice(None),
) -> Float[np.ndarray, "scenario row column"]:
    """Derivatives of ``function(t, z, p)``, ``[row, scenario]``, by some of its variables.

    Args:
        function: Evaluated for many scenarios at once.
        t: One time, or one for each scenario.
        z: Where.
        p: Parameters of the scenarios.
        scale: A change is relative to the variable or to this, whichever is larger.
        central: Two-sided: about 1e-10 relative instead of 1e-8, at twice the cost.
        moving: The variables that are the columns.
    """
    variables = np.arange(len(z))[moving]
    scenarios = z.shape[-1]
    at_once = max(1, MOST_AT_ONCE // max(1, z.size))
    relative = _EPSILON ** (1 / 3) if central else _EPSILON**0.5
    middle = None if central else np.asarray(function(t, z, p))
    parts = []
    for first in range(0, len(variables), at_once):
        columns = variables[first : first + at_once]
        every = np.tile(np.arange(scenarios), len(columns))
        times, part = (t[every] if np.ndim(t) else t), take(p, every)
        change = relative * np.maximum(np.abs(z[columns]), scale[columns, None])
        change = (z[columns] + change) - z[columns]  # what is added is what is divided by
        moved = np.tile(z, len(columns)).reshape(len(z), len(columns), scenarios)
        each = np.arange(len(columns))

        def at(sign: float, moved: np.ndarray = moved) -> np.ndarray:
            moved[columns, each] = z[columns] + sign * change  # noqa: B023
            found = np.asarray(function(times, moved.reshape(len(z), -1), part))  # noqa: B023
            return found.reshape(len(found), len(columns), scenarios)  # noqa: B023

        if middle is None:
            parts.append((at(1.0) - at(-1.0)) / (2.0 * change))
        else:
            parts.append((at(1.0) - middle[:, None]) / change)
    slope = np.concatenate(parts, axis=1)
    return np.ascontiguousarray(slope.transpose(2, 0, 1))

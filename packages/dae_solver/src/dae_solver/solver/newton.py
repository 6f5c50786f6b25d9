"""Damped Newton for the algebraic equations of a batch."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dae_solver.solver.parameters import Parameters, some, take
from scimind.typing import Bool, Float, Int

HALVINGS = 12


@runtime_checkable
class Residual(Protocol):
    """What Newton needs of a system."""

    y_scale: Any

    def g(self, t: Any, x: Any, y: Any, p: Any) -> Any: ...  # noqa: D102

    def jacobian_y(self, t: Any, x: Any, y: Any, p: Any) -> Any: ...  # noqa: D102


@dataclass(kw_only=True)
class Root:
    """Where Newton ended, per scenario.

    Attributes:
        y: The last iterate.
        residual: Its largest absolute residual.
        iterations: Done.
        converged: The residual is within the tolerance, or a full step no longer changes ``y``
            beyond rounding.
    """

    y: Float[np.ndarray, "algebraic scenario"]
    residual: Float[np.ndarray, " scenario"]
    iterations: Int[np.ndarray, " scenario"]
    converged: Bool[np.ndarray, " scenario"]


def newton(
    system: Residual,
    t: Any,
    x: Float[np.ndarray, "state scenario"],
    y: Float[np.ndarray, "algebraic scenario"],
    p: Parameters,
    *,
    tolerance: float,
    iterations: int,
    offset: Float[np.ndarray, "algebraic scenario"] | None = None,
) -> Root:
    """Solve ``g(t, x, y, p) = offset`` from ``y``; a step is halved until the residual falls.

    Args:
        system: The equations.
        t: ``[scenario]``.
        x: States.
        y: Where to start.
        p: Parameters of these scenarios.
        tolerance: Largest absolute residual of a solution.
        iterations: At most.
        offset: Right side, zero by default.
    """
    y = np.array(y, float)
    scenarios = x.shape[-1]
    t = np.broadcast_to(np.asarray(t, float), (scenarios,))
    off = np.zeros_like(y) if offset is None else offset
    count = np.zeros(scenarios, int)
    with np.errstate(all="ignore"):
        r = np.asarray(system.g(t, x, y, p)) - off
        size = size_of(r)
        converged = size <= tolerance
        active = np.flatnonzero(~converged & np.isfinite(size))
        for _ in range(iterations):
            if not len(active):
                break
            part = some(p, active, scenarios)
            ta, xa, ya = t[active], x[:, active], y[:, active]
            step = _solve(system.jacobian_y(ta, xa, ya, part), r[:, active])
            count[active] += 1
            still = (np.abs(step) <= 1e-14 * (np.abs(ya) + system.y_scale[:, None])).all(0)
            factor, moved = np.ones(len(active)), np.zeros(len(active), bool)
            for _ in range(HALVINGS):
                rest = np.flatnonzero(~moved)
                if not len(rest):
                    break
                trial = ya[:, rest] - factor[rest] * step[:, rest]
                new = np.asarray(system.g(ta[rest], xa[:, rest], trial, take(part, rest)))
                new = new - off[:, active[rest]]
                smaller = size_of(new) < size[active[rest]]
                taken = active[rest[smaller]]
                y[:, taken], r[:, taken] = trial[:, smaller], new[:, smaller]
                size[taken] = size_of(new)[smaller]
                moved[rest[smaller]] = True
                factor[rest[~smaller]] *= 0.5
                if still[rest].all():
                    break
            converged[active] = (size[active] <= tolerance) | still
            active = active[moved & ~converged[active]]
    return Root(y=y, residual=size, iterations=count, converged=converged)


def size_of(r: Float[np.ndarray, "row scenario"]) -> Float[np.ndarray, " scenario"]:
    """Largest absolute value per scenario; infinity where one is not a number."""
    size: np.ndarray = np.abs(r).max(axis=0, initial=0.0)
    size[np.isnan(size)] = np.inf
    return size


def _solve(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions ``[row, scenario]``; not a number where a matrix is singular."""
    try:
        return np.ascontiguousarray(np.linalg.solve(matrix, right.T[..., None])[..., 0].T)
    except np.linalg.LinAlgError:
        found = np.full(right.shape, np.nan)
        for each in range(len(matrix)):
            with contextlib.suppress(np.linalg.LinAlgError):
                found[:, each] = np.linalg.solve(matrix[each], right[:, each])
        return found

"""Consistent algebraic variables: at the start, and again after each event.

Differential variables are never moved. A guess is tried with damped Newton; where that ends
without a solution the next guess is tried, and at last the equations are deformed from ones that
the guess solves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_solver.solver.newton import Root, newton, size_of
from dae_solver.solver.parameters import Parameters, some, take
from dae_solver.solver.system import DAESystem
from scimind.typing import Bool, Float, Int

Guess = Callable[[Any, Any, Any, Parameters], Any]
HALVINGS = 12
HOMOTOPY_STEPS = 200


@dataclass(kw_only=True)
class Consistency:
    """How the algebraic equations were solved, per scenario.

    Attributes:
        converged: Whether the residual is within the tolerance.
        residual: Largest absolute residual.
        iterations: Newton iterations, of all guesses together.
        guess: Name of the guess that led to the solution; ``homotopy`` where a deformation was
            needed, ``none`` where nothing helped.
    """

    converged: Bool[np.ndarray, " scenario"]
    residual: Float[np.ndarray, " scenario"]
    iterations: Int[np.ndarray, " scenario"]
    guess: np.ndarray

    def text(self, names: Sequence[str] = ()) -> str:
        """One line for people."""
        solved = ", ".join(
            f"{int(np.sum(self.guess == name))} from {name}"
            for name in dict.fromkeys(self.guess.tolist())
            if name != "none"
        )
        worst = float(np.max(self.residual, initial=0.0))
        line = f"{int(self.converged.sum())} of {len(self.converged)} solved ({solved or 'none'}); "
        line += f"largest residual {worst:.1e}"
        failed = np.flatnonzero(~self.converged)
        if len(failed):
            shown = ", ".join(str(names[i]) if names else str(i) for i in failed[:5])
            line += f"; not solved: {shown}{' …' if len(failed) > 5 else ''}"
        return line


def flat(system: DAESystem) -> Guess:
    """The guess that the system brings along, or zeros."""
    start = system.y0 if system.y0 is not None else np.zeros(len(system.algebraics))

    def guess(t: Any, x: Any, y: Any, p: Parameters) -> np.ndarray:
        return np.repeat(np.asarray(start)[:, None], x.shape[-1], axis=1)

    return guess


def _itself(t: Any, x: Any, y: Any, p: Parameters) -> Any:
    return y


def consistent(
    system: DAESystem,
    t: Float[np.ndarray, " scenario"],
    x: Float[np.ndarray, "state scenario"],
    y: Float[np.ndarray, "algebraic scenario"],
    p: Parameters,
    *,
    guesses: Sequence[tuple[str, Guess]] = (),
    tolerance: float = 1e-11,
    iterations: int = 30,
) -> tuple[Float[np.ndarray, "algebraic scenario"], Consistency]:
    """Solve ``g(t, x, y, p) = 0`` for ``y``.

    Args:
        system: The equations.
        t: Times.
        x: States, kept as they are.
        y: The guess that is tried first, named ``previous``.
        p: Parameters of these scenarios.
        guesses: Further guesses by name, tried in this order where those before failed; the guess
            of the system (:func:`flat`) comes after them.
        tolerance: Of the residual, absolute and largest.
        iterations: Newton iterations for each guess.

    Returns:
        The solution, and how it was found. Where nothing converged, ``y`` is the best that was
        seen.
    """
    scenarios = x.shape[-1]
    with np.errstate(all="ignore"):
        settled, residual = system.settled(t, x, y, p)
    first = np.array(settled, float)
    report = Consistency(
        converged=residual <= tolerance,
        residual=residual,
        iterations=np.zeros(scenarios, int),
        guess=np.full(scenarios, "previous", object),
    )
    if report.converged.all():
        return first, report
    found = first.copy()
    report.guess[~report.converged] = "none"
    for name, guess in (("previous", _itself), *guesses, ("flat", flat(system))):
        open_ = np.flatnonzero(~report.converged)
        if not len(open_):
            return found, report
        part = some(p, open_, scenarios)
        start = np.asarray(guess(t[open_], x[:, open_], first[:, open_], part), float)
        trial = newton(
            system, t[open_], x[:, open_], start, part, tolerance=tolerance, iterations=iterations
        )
        _keep(report, found, open_, trial, name)
    open_ = np.flatnonzero(~report.converged)
    if len(open_):
        part = take(p, open_)
        trial = _homotopy(
            system, t[open_], x[:, open_], found[:, open_], part, tolerance, iterations
        )
        _keep(report, found, open_, trial, "homotopy")
    return found, report


def _keep(
    report: Consistency, found: np.ndarray, scenarios: np.ndarray, trial: Root, name: str
) -> None:
    better = trial.converged | (trial.residual < report.residual[scenarios])
    chosen = scenarios[better]
    found[:, chosen] = trial.y[:, better]
    report.residual[chosen] = trial.residual[better]
    report.iterations[scenarios] += trial.iterations
    solved = scenarios[trial.converged]
    report.converged[solved] = True
    report.guess[solved] = name


def _homotopy(
    system: DAESystem,
    t: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    p: Parameters,
    tolerance: float,
    iterations: int,
) -> Root:
    """Follow ``g(y) = (1 - s) g(y_start)`` from ``s = 0`` to 1 with steps that adapt."""
    scenarios = x.shape[-1]
    with np.errstate(all="ignore"):
        start = np.asarray(system.g(t, x, y, p))
    y = np.array(y)
    s, width = np.zeros(scenarios), np.full(scenarios, 0.1)
    count = np.zeros(scenarios, int)
    alive = np.isfinite(start).all(0)
    for _ in range(HOMOTOPY_STEPS):
        active = np.flatnonzero(alive & (s < 1.0))
        if not len(active):
            break
        goal = np.minimum(1.0, s[active] + width[active])
        trial = newton(
            system,
            t[active],
            x[:, active],
            y[:, active],
            take(p, active),
            tolerance=tolerance,
            iterations=iterations // 2,
            offset=(1.0 - goal) * start[:, active],
        )
        count[active] += trial.iterations
        good = trial.converged
        y[:, active[good]] = trial.y[:, good]
        s[active[good]] = goal[good]
        width[active] *= np.where(good, 2.0, 0.25)
        alive[active] = width[active] > 1e-6
    with np.errstate(all="ignore"):
        residual = size_of(np.asarray(system.g(t, x, y, p)))
    return Root(y=y, residual=residual, iterations=count, converged=s >= 1.0)

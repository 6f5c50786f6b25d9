"""The classical engine over one window of each scenario."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.separation import angle_spread
from dae_solver.solver.methods import Point, Tolerances, method_of
from dae_solver.solver.parameters import take
from scimind.typing import Bool, Float

# (scenarios by place, times from the start of the window before and after, both points)
Passed = Callable[[np.ndarray, np.ndarray, np.ndarray, Point, Point], None]


def integrate(
    grid: PowerDAE,
    x: Float[np.ndarray, "state scenario"],
    y: Float[np.ndarray, "algebraic scenario"],
    p: dict[str, np.ndarray],
    length: Float[np.ndarray, " scenario"],
    step: float,
    tolerance: float,
    passed: Passed,
) -> tuple[np.ndarray, np.ndarray, Bool[np.ndarray, " scenario"], Float[np.ndarray, " scenario"]]:
    """Runge-Kutta steps of equal size per scenario, at most ``step``.

    Args:
        grid: The equations.
        x: States at the start.
        y: Voltages at the start.
        p: Parameters.
        length: Of each window, seconds.
        step: Longest step, seconds.
        tolerance: Of the voltages, per unit.
        passed: Told of each step, to keep it.

    Returns:
        States and voltages at the end, where all could be solved, and the largest spread of the
        angles.
    """
    method, tolerances = method_of("rk4"), Tolerances(algebraic=tolerance)
    number = np.ceil(length / step - 1e-9).astype(int)
    h = length / number
    x, y = x.copy(), y.copy()
    f = np.asarray(grid.f(0.0, x, y, p))
    slope = np.zeros_like(y)
    good, angles = np.ones(x.shape[1], bool), grid.rows("delta")
    spread = angle_spread(x[angles], p.get("online"))
    for k in range(int(number.max())):
        some = np.flatnonzero(good & (number > k))
        if not len(some):
            break
        every = len(some) == len(good)
        start = Point(
            t=np.zeros(len(some)),
            x=x[:, some],
            y=y[:, some],
            f=f[:, some],
            slope=slope[:, some],
        )
        part = p if every else take(p, some)
        with np.errstate(all="ignore"):
            trial = method.step(grid, start, h[some], part, tolerances)
        fine = trial.solved & np.isfinite(trial.end.x).all(0)
        good[some[~fine]] = False
        passed(some, k * h[some], (k + 1) * h[some], start, trial.end)
        x[:, some], y[:, some] = trial.end.x, trial.end.y
        f[:, some], slope[:, some] = trial.end.f, trial.end.slope
        reached = angle_spread(trial.end.x[angles], part.get("online"))
        spread[some] = np.maximum(spread[some], reached)
    return x, y, good, spread

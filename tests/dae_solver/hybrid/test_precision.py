"""What single precision costs: networks and modes are float32, all the rest is float64."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from dae_solver.hybrid.residual import Start, residual, slopes
from dae_solver.model.modes import relative
from dae_solver.model.operator import TrajectoryOperator
from trained_operator import Trained

# The tightest bound that is asked for, degrees; corrections of a window, windows of 5 s.
BOUND, CORRECTIONS, WINDOWS = 0.1, 3, 6


def in_double(operator: TrajectoryOperator) -> TrajectoryOperator:
    """The same operator in double precision."""

    def double(part: Any) -> Any:
        values = {each.name: np.asarray(getattr(part, each.name)) for each in fields(part)}
        single = {name: value for name, value in values.items() if value.dtype == np.float32}
        return replace(part, **{name: value.astype(float) for name, value in single.items()})

    return replace(
        operator,
        modes=double(operator.modes),
        scaling=double(operator.scaling),
        weights={name: np.asarray(value, float) for name, value in operator.weights.items()},
    )


def left_in_double(
    trained: Trained, operator: TrajectoryOperator, start: Start, coefficients: np.ndarray
) -> np.ndarray:
    """The residual without any single precision, in the modes."""
    modes = operator.modes
    deviation = modes.decode(coefficients)
    center = np.tensordot(modes.inertia, deviation[modes.angles], 1)
    f, _, solved = slopes(trained.grid.dae, start, deviation, center, 1e-11)
    assert solved.all()
    moved = np.einsum("jk,skw->sjw", operator.window.integrate, f) - deviation
    rows = relative(moved, modes.angles, modes.inertia) * modes.weight[:, None, None]
    found: np.ndarray = modes.basis @ rows.reshape(-1, rows.shape[2])
    return found


def test_single_precision_costs_a_tenth_of_the_tightest_bound_at_most(trained: Trained) -> None:
    grid, windows = trained.grid.dae, trained.windows
    single, double = trained.operator, in_double(trained.operator)
    features = double.scaling.features(windows.features.astype(float))
    ours, theirs = single.predict(features.astype(np.float32)), double.predict(features)
    for _ in range(CORRECTIONS):
        left = residual(grid, single, windows.start, ours, 1e-8)
        ours = ours + single.correction(features.astype(np.float32), ours, left.coefficients)
        exact = left_in_double(trained, double, windows.start, theirs)
        theirs = theirs + double.correction(features, theirs, exact)
    assert ours.dtype == np.float32
    assert theirs.dtype == np.float64
    angles = grid.rows("delta")
    difference = single.modes.decode(ours, angles) - double.modes.decode(theirs, angles)
    worst = np.degrees(np.abs(difference).max())
    assert 0.0 < WINDOWS * worst < 0.1 * BOUND

"""What errors are measured against: it agrees with another integrator and does not stop early."""

from __future__ import annotations

import numpy as np

from dae_solver.hybrid.calibration import angle_errors
from trained_operator import Trained

# The tightest bound that errors are judged by is 0.1 degree.
NEGLIGIBLE = 1e-3


def test_references_agree_with_adaptive_steps_of_another_method(trained: Trained) -> None:
    truth, until = trained.truth, 3.0
    assert (truth.solution.ended == 5.0).all()  # nothing stops early
    some, part = np.flatnonzero(truth.separated > until)[:24], truth.t <= until
    runs = trained.grid.simulate(
        trained.scenarios.take(some),
        t_end=until,
        every=1 / 30,
        method="dopri5",
        step=None,
        rtol=1e-8,
        atol=1e-9,
        tolerance=1e-11,
    )
    difference = np.degrees(np.abs(runs.delta_coi - truth.delta_coi[np.ix_(some, part)]))
    assert 0.0 < difference.max() < NEGLIGIBLE


def test_trajectories_that_stop_early_are_infinitely_wrong(trained: Trained) -> None:
    x = trained.truth.solution.x.copy()
    x[:, -10:] = np.nan
    error = angle_errors(trained.truth, x)
    assert np.isinf(error[trained.truth.stable]).all()

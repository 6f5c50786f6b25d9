"""Scenarios of which no more is asked leave a batch."""

from __future__ import annotations

import numpy as np

from dae_solver.solver import DAESystem, simulate


def test_a_scenario_ends_at_the_first_output_at_which_the_condition_is_true() -> None:
    system = DAESystem.from_callable(lambda t, x, y, p: [x[0]], None, states=["x"])
    start = np.array([[1.0], [0.1]])
    found = simulate(
        system,
        np.linspace(0.0, 2.0, 9),
        start,
        method="rk4",
        step=0.05,
        until=lambda t, x, y, p: x[0] > 2.0,
    )
    # e^t passes 2 at 0.69.
    assert found.ended.tolist() == [0.75, 2.0]
    assert found.success.all()
    assert np.isfinite(found.x[0, :4]).all()
    assert np.isnan(found.x[0, 4:]).all()
    assert np.allclose(found.x[1, :, 0], 0.1 * np.exp(found.t), rtol=1e-6)

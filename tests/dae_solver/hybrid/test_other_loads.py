"""An operator of impedances on a grid whose loads keep their power: nothing wrong is believed."""

from __future__ import annotations

import numpy as np

from dae_solver.hybrid.calibration import angle_errors, reference
from dae_solver.physics import PowerSystem
from trained_operator import Trained, drawn_for


def test_half_of_the_power_constant_and_deep_sags(trained: Trained) -> None:
    grid = PowerSystem(trained.grid.case, "zip 0.3 0.2 0.5")
    assert trained.operator.facts["load"] == "zip 1 0 0"
    scenarios = drawn_for(grid, trained.lines.held_out[1:], trained.config, "constant power", 40)
    truth = reference(grid, scenarios, 3.0, 1 / 30)
    loads = [
        k
        for k, bus in enumerate(grid.case.buses)
        if bus.id in {each.bus for each in grid.case.loads}
    ]
    lowest = np.nanmin(np.abs(truth.voltages()[:, :, loads]), axis=(1, 2))
    assert (lowest < 0.7).sum() >= 10  # loads turn into impedances there
    runs = grid.simulate(
        scenarios,
        t_end=3.0,
        every=1 / 30,
        solver="hybrid",
        operator=trained.operator,
        audit=0.0,
    )
    error = angle_errors(truth, runs.solution.x)
    assert (error <= 3.0).all()
    np.testing.assert_array_equal(runs.stable, truth.stable)

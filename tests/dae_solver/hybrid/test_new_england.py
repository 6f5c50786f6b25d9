"""The hybrid solver on the New England system: ten machines, 39 buses, ZIP loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bus_power import mismatches
from dae_solver.hybrid.calibration import angle_errors
from dae_solver.physics import Trajectories
from dae_solver.physics.io.native import write_native
from power_cases import reference_case
from trained_operator import Trained, load_small, small_config, train_small

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def trained(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("ieee39")
    case = folder / "ieee39.json"
    write_native(reference_case(real_data / "dae_solver" / "ieee39.json"), case)
    config = replace(small_config(1500), case=str(case), load="zip 0.4 0.3 0.3")
    config.model.modes = 200
    config.data.scenarios = 600
    train_small(folder, config)
    return load_small(folder)


@pytest.fixture(scope="module")
def runs(trained: Trained) -> Trajectories:
    return trained.grid.simulate(
        trained.scenarios, every=1 / 30, solver="hybrid", operator=trained.operator, audit=0.0
    )


def test_errors_stay_within_certificates(trained: Trained, runs: Trajectories) -> None:
    assert len(trained.grid.case.buses) == 39
    assert len(trained.grid.dae.states) == 100
    error = angle_errors(trained.truth, runs.solution.x)
    assert (error <= 3.0).all()
    assert (error <= runs.certificate).mean() >= 0.95
    assert runs.solution.windows[:2].sum() > 0.2 * runs.solution.windows.sum()
    stable = trained.truth.stable
    np.testing.assert_array_equal(runs.stable[stable], True)


def test_power_balances_at_every_bus(trained: Trained, runs: Trajectories) -> None:
    for scenario in range(len(runs.scenarios)):
        assert np.abs(mismatches(trained.grid, runs, scenario)).max() <= 1e-8

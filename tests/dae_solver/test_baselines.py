"""The baselines: what each of them is exact for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dae_solver.data.draws import TrainingDraws
from dae_solver.data.windows import SAMPLES
from dae_solver.hybrid.calibration import angle_errors
from dae_solver.model.operator import Scaling
from dae_solver.physics import (
    PowerSystem,
    Scenarios,
    fault,
    generator_trip,
    load_pulse,
    trip_reclose,
    unsuccessful_reclose,
    vref_step,
)
from dae_solver.tasks.baselines.nearest import Library, NearestTrajectory, make_library
from dae_solver.tasks.baselines.rest import AtRest
from dae_solver.tasks.baselines.segments import Course, SegmentSolver
from dae_solver.tasks.baselines.step_map import HORIZON, StepMap, make_pairs
from dae_solver.trained import Trained
from scimind.errors import InputError
from scimind.seeding import numpy_generator

EVERY = 1 / 60


class Exact(SegmentSolver):
    """Integrates everything in pieces of at most 0.4 s: only the driver can make an error."""

    name = "exact"

    def advance(self, course: Course, scenarios: np.ndarray, length: np.ndarray) -> np.ndarray:
        return self._integrate(course, scenarios, np.minimum(length, 0.4))


def several(grid: PowerSystem) -> Scenarios:
    return grid.scenarios(
        [],
        fault(7, t=0.11, clear=0.08, trip="5-7"),
        trip_reclose("4-6", t=0.2, after=0.333),
        unsuccessful_reclose(8, t=0.1, clear=0.05, trip="8-9", after=0.4),
        [load_pulse(5, t=0.3, p=1.3, last=0.5), vref_step("G2", t=0.9, by=0.03)],
        generator_trip("G3", t=0.0),
    )


@pytest.fixture(scope="module")
def loaded(trained_run: Path) -> Trained:
    return Trained.load(trained_run)


@pytest.fixture(scope="module")
def library(loaded: Trained) -> Library:
    return make_library(loaded, 40)


def test_the_driver_of_segments_makes_no_error_of_its_own() -> None:
    grid = PowerSystem.load("wscc9")
    scenarios = several(grid)
    truth = grid.simulate(scenarios, t_end=2.0, every=EVERY, step=1 / 120)
    found = Exact(grid, 1 / 120).simulate(scenarios, t_end=2.0, every=EVERY)
    assert found.solution.success.all()
    assert angle_errors(truth, found.solution.x).max() < 1e-3
    assert np.abs(found.voltages() - truth.voltages()).max() < 1e-4


def test_rest_is_exact_where_nothing_happens_and_stays_where_something_does() -> None:
    grid = PowerSystem.load("wscc9")
    scenarios = several(grid).take(np.arange(5))  # the machine that trips drifts off
    truth = grid.simulate(scenarios, t_end=1.0, every=EVERY, step=1 / 60)
    found = AtRest(grid, EVERY).simulate(scenarios, t_end=1.0, every=EVERY)
    assert np.array_equal(found.solution.x, np.repeat(scenarios.x0.T[:, None], len(found.t), 1))
    moved = np.degrees(np.abs(truth.delta_coi - truth.delta_coi[:, :1]).max((1, 2)))
    assert angle_errors(truth, found.solution.x) == pytest.approx(moved, abs=1e-9)
    assert moved[0] < 1e-6 < moved[1:].min()


def test_the_nearest_trajectory_is_exact_on_its_own_training_data(
    loaded: Trained, library: Library
) -> None:
    settings = loaded.known_settings()
    rng = numpy_generator(settings.seed, "windows", "train", 0)
    draws = TrainingDraws(loaded.grid, loaded.lines, settings.data, rng)
    scenarios = draws.batch(settings.data.scenarios).take(np.arange(20))
    # The library begins after the last event: what lies between two faults is none of it.
    once = np.array([len({event.time for event in each}) <= 2 for each in scenarios.events])
    assert once.sum() > 10
    scenarios = scenarios.take(np.flatnonzero(once))
    every = loaded.operator.config.horizon / SAMPLES
    truth = loaded.grid.simulate(
        scenarios, t_end=5.0, every=every, step=settings.data.step, tolerance=1e-9
    )
    found = NearestTrajectory(loaded, library).simulate(scenarios, t_end=5.0, every=every)
    # What is left is the tolerance of the voltages while the fault lasts.
    assert angle_errors(truth, found.solution.x).max() < 0.01
    shifted = NearestTrajectory(loaded, library).simulate(scenarios, t_end=5.0, every=1 / 77)
    truth = loaded.grid.simulate(scenarios, t_end=5.0, every=1 / 77, step=settings.data.step)
    assert angle_errors(truth, shifted.solution.x).max() < 0.1


def test_a_library_is_a_part_of_the_training(loaded: Trained, library: Library) -> None:
    assert len(library) == 40
    fewer = make_library(loaded, 3)
    np.testing.assert_allclose(fewer.x, library.x[:3], atol=1e-9)
    assert len(make_library(loaded, 10**6)) == loaded.known_settings().data.scenarios
    near = NearestTrajectory(loaded, library)
    assert near.nearest(library.features.T).tolist() == list(range(40))


def test_a_step_map_of_constant_rates_moves_in_straight_lines(loaded: Trained) -> None:
    grid, features = loaded.grid, len(loaded.operator.scaling.center)
    states = len(grid.dae.states)
    slope = np.linspace(-0.3, 0.3, states).astype(np.float32)
    weights = {
        "predictor.enter.weight": np.zeros((4, features + 1), np.float32),
        "predictor.enter.bias": np.zeros(4, np.float32),
        "predictor.leave.weight": np.zeros((states, 4), np.float32),
        "predictor.direct.weight": np.zeros((states, features + 1), np.float32),
        "predictor.leave.bias": slope,
    }
    spread = np.full(states, 0.5, np.float32)
    solver = StepMap(loaded, weights, spread, 0.0)
    scenarios = grid.scenarios(vref_step("G1", t=0.25, by=0.01))
    found = solver.simulate(scenarios, t_end=1.0, every=1 / 30)
    since = np.maximum(found.t - 0.25, 0.0)
    expected = scenarios.x0.T[:, None] + since[:, None] * 0.5 * slope
    assert np.abs(found.solution.x - expected).max() < 1e-6


def test_pairs_of_a_step_map_are_steps_of_the_library(loaded: Trained, library: Library) -> None:
    pairs = make_pairs(library, unscaled(loaded), seed=0)
    assert pairs.h[-1] == pytest.approx(HORIZON)
    assert len(pairs.features) == len(pairs.rate) > 300
    # The first features are the states, then their slopes: small steps move along these.
    states = len(loaded.grid.dae.states)
    slope = pairs.features[:, states : 2 * states] / 0.2
    omega = loaded.grid.dae.rows("omega")
    error = np.abs(pairs.rate[:, 0, omega] - slope[:, omega])
    assert np.median(error) < 0.1 * np.median(np.abs(slope[:, omega]))


def unscaled(loaded: Trained) -> Scaling:
    scaling = loaded.operator.scaling
    return Scaling(
        center=np.zeros_like(scaling.center),
        spread=np.ones_like(scaling.spread),
        reach=np.full_like(scaling.reach, np.inf),
        residual=scaling.residual,
        change=scaling.change,
    )


def test_without_the_settings_of_the_training_there_is_no_library(
    trained_run: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "operator.safetensors"
    alone.write_bytes((trained_run / "operator.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"no config\.yaml") as refused:
        Trained.load(alone)
    assert refused.value.rule == "operator.case"
    with pytest.raises(InputError, match="trained on is unknown") as refused:
        make_library(Trained.load(alone, case="wscc9"), 3)
    assert refused.value.rule == "operator.settings"

"""Trajectories that come to rest at the limit of stability: the engine's steps decide where to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dae_solver.config.model import ModelConfig
from dae_solver.hybrid import marginal
from dae_solver.hybrid.calibration import angle_errors
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.marginal import FAR, LONG
from dae_solver.hybrid.solver import HybridRun
from dae_solver.model.modes import Modes
from dae_solver.model.operator import Scaling, TrajectoryOperator
from dae_solver.physics import PowerSystem, Scenarios, Trajectories, fault
from power_cases import reference_case

TIMES = np.linspace(0.0, 3.0, 91)


@pytest.fixture(scope="module")
def grid(real_data: Path) -> PowerSystem:
    """The New England system, whose machines may come to rest 170 degrees apart."""
    case = reference_case(real_data / "dae_solver" / "ieee39.json")
    return PowerSystem(case, "zip 0.4 0.3 0.3")


@pytest.fixture(scope="module")
def critical(grid: PowerSystem) -> tuple[Scenarios, Trajectories]:
    """Faults that last about as long as they may, with trajectories of very short steps."""
    longest = grid.cct(7, t_end=3.0, step=1 / 240, tolerance=1e-6, coarse=None).cct[0]
    offsets = np.array([-2e-2, -1e-3, -1e-4, -1e-5, -3e-6, 3e-6, 1e-5, 1e-4, 1e-3, 2e-2])
    scenarios = grid.scenarios(*(fault(7, t=0.1, clear=longest + by) for by in offsets))
    truth = grid.simulate(scenarios, t_end=3.0, every=1 / 30, step=1 / 960, tolerance=1e-12)
    assert truth.stable.tolist() == [True] * 5 + [False] * 5
    return scenarios, truth


def never_asked(grid: PowerSystem) -> TrajectoryOperator:
    """The engine alone needs an operator of the grid, not what it has learned."""
    deviations = np.random.default_rng(3).standard_normal((len(grid.dae.states), 3, 10))
    none = np.zeros(0, np.float32)
    return TrajectoryOperator(
        states=grid.dae.states,
        config=ModelConfig(name="none", nodes=3, modes=4),
        modes=Modes.fit(grid.dae, deviations, 4),
        scaling=Scaling(center=none, spread=none, reach=none, residual=none, change=none),
        weights={},
        facts={},
    )


def run_of(
    grid: PowerSystem, scenarios: Scenarios, **options: bool
) -> tuple[HybridRun, np.ndarray]:
    """By the engine alone, with a certificate that holds for it elsewhere."""
    certificate = Certificate(
        bound=3.0,
        factor=1.0,
        residual=2.0,
        floor=0.3,
        classical=0.05,
        step=1 / 30,
        corrections=3,
        alone=True,
    )
    run = HybridRun(
        grid=grid.dae,
        operator=never_asked(grid),
        certificate=certificate,
        tolerance=1e-8,
        **options,
    )
    _, bound = run.solve(scenarios, TIMES)
    return run, bound


def test_certificates_hold_at_the_limit_of_stability(
    grid: PowerSystem, critical: tuple[Scenarios, Trajectories]
) -> None:
    scenarios, truth = critical
    before, believed = run_of(grid, scenarios, doubling=False)
    errors = angle_errors(truth, before.solution.x)
    assert (errors > believed).any()
    assert (before.lingered[errors > believed] > LONG).all()
    run, bound = run_of(grid, scenarios)
    errors = angle_errors(truth, run.solution.x)
    assert (errors <= bound).all()
    assert (bound[[0, -1]] <= 3.0).all()
    # Finer trajectories took the place of some, with their events and voltages.
    changed = run.solution.refused > before.solution.refused
    assert changed.any()
    solution, angles = run.solution, grid.dae.rows("delta")
    for k in range(len(scenarios)):
        events = solution.events_of(k)
        assert [event.time for event in events] == [each.time for each in scenarios.events[k]]
        for event in events:
            at = np.searchsorted(TIMES, event.time)
            nearby = solution.x[k, at - 1 : at + 1][:, angles]
            assert np.abs(nearby - event.x_minus[angles]).max() < 0.3
    assert np.isfinite(solution.y).all()
    left = grid.dae.in_numpy().g(
        0.0, solution.x[:, -1].T, solution.y[:, -1].T, scenarios.parameters_after()
    )
    assert np.abs(left).max() < 1e-8


def test_where_the_shortest_steps_decide_there_is_no_bound(
    grid: PowerSystem,
    critical: tuple[Scenarios, Trajectories],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(marginal, "FINEST", 1 / 60)
    run, bound = run_of(grid, critical[0])
    assert np.isinf(bound).any()
    assert (run.lingered[np.isinf(bound)] > LONG).all()
    assert np.isfinite(bound[[0, -1]]).all()


def test_scenarios_that_pass_quickly_are_not_solved_again(
    grid: PowerSystem, critical: tuple[Scenarios, Trajectories]
) -> None:
    run, _ = run_of(grid, critical[0])
    assert (run.spread[[0, -1]] > [0.8 * FAR, FAR]).all()
    assert (run.lingered[[0, -1]] < LONG).all()
    assert (run.lingered[2:-2] > LONG).all()

"""Verdicts that rest on hybrid trajectories: no unstable case is called stable."""

from __future__ import annotations

import numpy as np
import pytest

from dae_solver.physics import Calibration, Fault, Trajectories, fault
from dae_solver.physics.disturbances import Disturbance
from dae_solver.physics.looks import Findings, fine
from trained_operator import Trained

ROUGH = {"t_end": 2.0, "fine_step": 1 / 60}


@pytest.mark.parametrize("every", [1 / 30, 0.2])
def test_a_loss_of_synchronism_between_outputs_is_seen(trained: Trained, every: float) -> None:
    """Faults that last a little longer than it takes the angles to come 180 degrees apart."""
    grid = trained.grid
    alone = grid.simulate(
        grid.scenarios(fault(7, t=0.1, clear=1.0)), t_end=0.8, every=1 / 480, step=1 / 240
    )
    lost = float(alone.separated[0])
    lasts = lost - 0.1 + np.array([0.001, 0.003, 0.01, 0.03])
    scenarios = grid.scenarios(*(fault(7, t=0.1, clear=float(each)) for each in lasts))
    runs = grid.simulate(
        scenarios, t_end=3.0, every=every, solver="hybrid", operator=trained.operator, audit=0.0
    )
    assert not runs.stable.any()
    assert (runs.separated <= runs.solution.ended).all()
    assert ((runs.separated >= lost - 0.01) & (runs.separated <= lost + every + 0.03)).all()
    found = Findings.of(runs, voltages=True)
    assert not found.stable.any()
    assert np.isfinite(found.separated).all()
    assert (found.margin <= 0).all()


def ends(trained: Trained) -> list[Fault]:
    """Faults at both ends of a line that the operator never saw, cleared by opening it."""
    branch = trained.grid.case.branches[trained.lines.held_out[-1]]
    return [Fault(bus=bus, trip=branch.id) for bus in (branch.from_bus, branch.to_bus)]


def test_clearing_times_are_those_of_the_classical_engine(trained: Trained) -> None:
    faults, level = ends(trained) * 2, np.array([0.9, 0.9, 1.0, 1.0])
    options = {"load_level": level, "t_end": 2.0, "step": 1 / 60}
    theirs = trained.grid.cct(faults, coarse=None, **options)
    ours = trained.grid.cct(faults, solver="hybrid", operator=trained.operator, **options)
    assert np.isfinite(theirs.cct).all()
    assert np.abs(ours.cct - theirs.cct).max() < 0.005
    assert ours.monotonic.all()
    assert ours.coarse > 0
    # Both ends are of the engine, which has little left to do.
    assert ours.simulations < theirs.simulations / 3


@pytest.fixture(scope="module")
def calibration(trained: Trained) -> Calibration:
    lines = tuple(trained.grid.case.branches[k].id for k in trained.lines.trained)
    return trained.grid.calibrate_screen(
        solver="hybrid", operator=trained.operator, cases=20, lines=lines, **ROUGH
    )


def contingencies(trained: Trained, number: int) -> list[Disturbance]:
    """Faults on a line that the operator never saw, near their critical clearing times."""
    rng, each = np.random.default_rng(8), ends(trained)
    return [
        fault(one.bus, t=0.15, clear=float(rng.uniform(0.08, 0.35)), trip=one.trip)
        for one in (each[int(rng.integers(2))] for _ in range(number))
    ]


def test_a_screen_gives_the_verdicts_of_the_fine_engine(
    trained: Trained, calibration: Calibration
) -> None:
    grid, each = trained.grid, contingencies(trained, 60)
    level = np.random.default_rng(9).uniform(0.85, 1.1, len(each))
    found = grid.screen(
        each,
        alpha=0.05,
        solver="hybrid",
        operator=trained.operator,
        calibration=calibration,
        load_level=level,
        **ROUGH,
    )
    truth = fine(grid, found.scenarios, 1 / 60, 2.0).stable
    assert min(truth.sum(), (~truth).sum()) >= 10
    assert not (found.first.stable & ~found.abstained & ~truth).any()
    np.testing.assert_array_equal(found.stable, truth)
    assert found.calibration.look.startswith("hybrid")
    assert 0.0 < found.abstention < 0.5


def test_what_a_certificate_leaves_open_goes_to_the_fine_engine(
    trained: Trained, calibration: Calibration
) -> None:
    """Also where the margin alone would have decided."""
    grid, each = trained.grid, contingencies(trained, 30)
    found = grid.screen(
        each,
        alpha=0.05,
        solver="hybrid",
        operator=trained.operator,
        calibration=calibration,
        **ROUGH,
    )
    runs: Trajectories = grid.simulate(
        found.scenarios, t_end=2.0, every=1 / 30, solver="hybrid", operator=trained.operator
    )
    far = np.degrees(np.nanmax(runs.spread, axis=1))
    doubtful = np.abs(far - 180.0) <= 2.0 * runs.certificate
    assert found.abstained[doubtful].all()
    assert np.isnan(found.findings.certificate[found.abstained]).all()  # of the engine
    assert np.isfinite(found.findings.certificate[~found.abstained]).all()

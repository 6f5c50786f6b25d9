"""Algebraic equations of hybrid trajectories: at every output, at every bus, around events."""

from __future__ import annotations

import numpy as np
import pytest

from bus_power import mismatches
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.solver import HybridRun
from dae_solver.physics import (
    PowerSystem,
    Trajectories,
    fault,
    line_trip,
    load_step,
    trip_reclose,
    vref_step,
)
from dae_solver.solver.parameters import take
from network_states import by_newton
from trained_operator import Trained

NEAR = 1e-6


@pytest.fixture(scope="module")
def runs(trained: Trained) -> Trajectories:
    return trained.grid.simulate(
        trained.scenarios, every=1 / 30, solver="hybrid", operator=trained.operator, audit=0.0
    )


def test_voltages_solve_the_network_at_every_output(trained: Trained, runs: Trajectories) -> None:
    grid, scenarios = trained.grid.dae, runs.scenarios
    x, y = runs.solution.x, runs.solution.y
    assert x.dtype == y.dtype == np.float64
    assert set(runs.source) > {"classical"}
    outputs = 0
    for k in range(len(scenarios)):
        p = {name: value[..., [k]].copy() for name, value in scenarios.parameters.items()}
        before = -1.0
        for event in [*sorted(scenarios.events[k], key=lambda each: each.time), None]:
            end = event.time if event else np.inf
            inside = (runs.t > before) & (runs.t <= end) & np.isfinite(x[k]).all(1)
            many = take(p, np.zeros(inside.sum(), int))
            left = grid.g(0.0, x[k, inside].T, y[k, inside].T, many)
            assert np.abs(left).max(initial=0.0) <= 1e-8
            outputs += inside.sum()
            for change in event.changes if event else ():
                change.apply(p, 0)
            before = end
    assert outputs == np.isfinite(x[..., 0]).sum()


def test_power_balances_at_every_bus(trained: Trained, runs: Trajectories) -> None:
    """Of what branches, shunts, faults, loads and machines take and give."""
    grid = trained.grid
    for scenario in range(len(runs.scenarios)):
        left = mismatches(grid, runs, scenario)
        assert left.shape[1] == len(grid.case.buses)
        assert np.abs(left).max() <= 1e-8


@pytest.mark.parametrize("load", ["zip 0.4 0.3 0.3", "zip 0.2 0.3 0.5"])
def test_power_balances_with_other_loads(trained: Trained, load: str) -> None:
    grid = PowerSystem(trained.grid.case, load)
    scenarios = grid.scenarios(
        fault(7, t=0.2, clear=0.08, trip="5-7"),
        [line_trip("4-6", t=0.1), load_step(5, t=0.3, p=1.2)],
    )
    runs = grid.simulate(
        scenarios, t_end=1.0, every=1 / 60, solver="hybrid", operator=trained.operator
    )
    for scenario in range(len(scenarios)):
        assert np.abs(mismatches(grid, runs, scenario)).max() <= 1e-8


@pytest.mark.parametrize("refuse", [True, False], ids=["certified", "networks alone"])
def test_steps_are_not_smeared(trained: Trained, refuse: bool) -> None:
    """Seen a microsecond before, at and after every event: states go on, voltages jump at once."""
    grid, dae = trained.grid, trained.grid.dae
    scenarios = grid.scenarios(
        fault(7, t=0.7371, clear=0.0613, trip="5-7"),
        trip_reclose("4-6", t=0.2001, after=0.4),
        [load_step(5, t=0.5, p=1.2), load_step(6, t=0.5 + 1 / 60, p=0.8)],
        line_trip("8-9", t=1.0),
        [load_step(8, t=0.3, p=0.7), vref_step("G2", t=1.9, by=0.02)],
    )
    events = [event.time for each in scenarios.events for event in each]
    around = np.unique([0.0, 3.0, *(t + by for t in events for by in (-NEAR, 0.0, NEAR))])
    run = HybridRun(
        grid=dae,
        operator=trained.operator,
        certificate=Certificate.of(trained.operator, 3.0),
        tolerance=1e-10,
        refuse=refuse,
    )
    solution, _ = run.solve(scenarios, around)
    by_networks = solution.windows[:2].sum(0)
    assert by_networks.any() if refuse else by_networks.all()
    exact = grid.simulate(scenarios, t_end=1.05, step=1 / 60, tolerance=1e-12)  # first events
    for k in range(len(scenarios)):
        p = {name: value[..., [k]].copy() for name, value in scenarios.parameters.items()}
        happened = solution.events_of(k)
        assert [event.time for event in happened] == [e.time for e in scenarios.events[k]]
        for number, (event, scheduled) in enumerate(
            zip(happened, scenarios.events[k], strict=True)
        ):
            at = int(np.searchsorted(around, event.time))
            assert around[at] == event.time
            x, y = solution.x[k, at - 1 : at + 2], solution.y[k, at - 1 : at + 2]
            # Modes are evaluated in single precision, or in two halves of 16 bits together.
            assert np.abs(x[1] - event.x_minus).max() < 1e-5
            np.testing.assert_array_equal(event.x_minus, event.x_plus)
            slope = np.abs(dae.f(0.0, event.x_plus[:, None], event.y_plus[:, None], p)).max()
            assert np.abs(np.diff(x, axis=0)).max() <= 1.5 * NEAR * max(slope, 100.0)
            before, solved = by_newton(dae, event.x_minus[:, None], y[1][:, None], p)
            assert solved.all()
            for change in scheduled.changes:
                change.apply(p, 0)
            after, solved = by_newton(dae, event.x_plus[:, None], y[2][:, None], p)
            assert solved.all()
            jump = (after - before)[:, 0]
            assert (np.abs(jump).max() > 1e-3) == ("vref" not in event.name)
            np.testing.assert_allclose(event.y_plus - event.y_minus, jump, atol=1e-8)
            # Voltages move by some pu in a second.
            np.testing.assert_allclose(y[1] - y[0], 0.0, atol=50.0 * NEAR)
            np.testing.assert_allclose(y[2] - y[1], jump, atol=50.0 * NEAR)
            if number == 0:
                theirs = exact.solution.events_of(k)[0]
                expected = theirs.y_plus - theirs.y_minus
                np.testing.assert_allclose(jump, expected, atol=1e-6)

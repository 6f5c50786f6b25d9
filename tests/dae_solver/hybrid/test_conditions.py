"""Relays beside the operator: it is believed where none can act, and where one may, it is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dae_solver.hybrid.calibration import angle_errors
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.conditions import may_happen
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.physics import (
    Trajectories,
    fault,
    generator_trip,
    line_trip,
    load_step,
    under_frequency_shedding,
)
from dae_solver.physics.scenarios import Scenarios
from dae_solver.solver import StateEvent, TimeEvent
from trained_operator import Trained

STAGES = [(59.85, 0.2)]


def run(trained: Trained, *each: Any, events: Any, **options: Any) -> Trajectories:
    options = {"solver": "hybrid", "operator": trained.operator, "audit": 0.0} | options
    scenarios = trained.grid.scenarios(*each)
    return trained.grid.simulate(scenarios, every=1 / 30, state_events=events, **options)


SCENARIOS = [
    [load_step(5, t=0.4, p=1.5)],  # the frequency falls to 59.5 Hz
    [load_step(5, t=0.4, p=1.02)],
    [fault(7, t=0.3, clear=0.05), load_step(6, t=0.9, p=1.6)],
    [line_trip("4-6", t=0.5)],
    [generator_trip("G3", t=0.5)],
]
ACTS = [True, False, True, False, True]


def test_shedding_beside_the_operator_is_that_of_the_engine(trained: Trained) -> None:
    grid = trained.grid
    relays = under_frequency_shedding(grid.dae, STAGES, delay=0.1)
    ours = run(trained, *SCENARIOS, events=relays)
    exact = grid.simulate(ours.scenarios, every=1 / 30, step=1 / 480, state_events=relays)
    shed = [["shedding" in each.name for each in exact.solution.events_of(k)] for k in range(5)]
    assert [any(each) for each in shed] == ACTS
    for scenario in range(5):
        mine, theirs = (each.solution.events_of(scenario) for each in (ours, exact))
        assert [each.name for each in mine] == [each.name for each in theirs]
        times = [each.time for each in theirs]
        np.testing.assert_allclose([each.time for each in mine], times, atol=1 / 240)
    error = angle_errors(exact, ours.solution.x)
    assert (error <= ours.certificate).all()
    assert (ours.certificate <= 3.0).all()
    before = run(trained, *SCENARIOS, events=())
    assert angle_errors(exact, before.solution.x)[0] > 3.0  # it matters whether load is shed
    np.testing.assert_allclose(
        np.abs(ours.voltages())[:, -1], np.abs(exact.voltages())[:, -1], atol=2e-2
    )


def test_trajectories_that_no_relay_touches_stay_as_they_are(trained: Trained) -> None:
    relays = under_frequency_shedding(trained.grid.dae, STAGES)
    ours, before = (run(trained, *SCENARIOS, events=each) for each in (relays, ()))
    for scenario, acts in enumerate(ACTS):
        if acts:
            assert ours.source[scenario] == "classical"
            continue
        assert ours.source[scenario] == before.source[scenario]
        assert ours.certificate[scenario] == before.certificate[scenario]
        np.testing.assert_array_equal(ours.solution.x[scenario], before.solution.x[scenario])
        np.testing.assert_allclose(ours.solution.y[scenario], before.solution.y[scenario], 1e-11)


def test_a_trajectory_that_comes_close_is_integrated(trained: Trained) -> None:
    """A threshold just below the lowest frequency: the operator cannot tell, so it is not asked."""
    grid = trained.grid
    before = run(trained, [load_step(5, t=0.4, p=1.3)], events=())
    weight = grid.dae.inertia / grid.dae.inertia.sum()
    lowest = 60.0 * float((before.omega[0] @ weight).min())
    for below, source in ((0.01, "classical"), (0.1, before.source[0])):
        relays = under_frequency_shedding(grid.dae, [(lowest - below, 0.2)])
        ours = run(trained, [load_step(5, t=0.4, p=1.3)], events=relays)
        assert ours.source[0] == source
        assert len(ours.solution.events_of(0)) == 1


def test_the_side_from_which_a_condition_comes_counts(trained: Trained) -> None:
    ours = run(trained, [load_step(5, t=0.4, p=1.3)], events=())
    solution, (first, *_) = ours.solution, trained.grid.dae.rows("omega")
    assert isinstance(solution, HybridSolution)
    speed = ours.omega[0, :, 0]
    swing, middle = float(np.ptp(speed)), float(speed.mean())

    def event(level: float, direction: int) -> StateEvent:
        return StateEvent(condition=lambda t, x, y, p: x[first] - level, direction=direction)

    for level, expected in (
        (middle, {-1: True, 0: True, 1: True}),
        (speed.min() - 0.05 * swing, {-1: True, 0: True, 1: True}),
        (speed.min() - 0.2 * swing, {-1: False, 0: False, 1: True}),
        (speed.max() + 0.2 * swing, {-1: True, 0: False, 1: False}),
    ):
        for direction, happens in expected.items():
            assert may_happen(solution, [event(level, direction)]).tolist() == [happens]


def test_a_sag_between_two_outputs_is_seen(trained: Trained) -> None:
    """Of a fault of 20 ms, with outputs every 33 ms, only the event itself tells."""
    grid = trained.grid
    low = StateEvent(
        condition=lambda t, x, y, p: np.hypot(y[0], y[len(y) // 2]) - 0.5,
        direction=-1,
        once=True,
        name="low voltage",
    )
    ours = run(trained, [fault(1, t=0.405, clear=0.02)], [line_trip("4-6", t=0.4)], events=[low])
    assert [each.name for each in ours.solution.events_of(0)].count("low voltage") == 1
    assert len(ours.solution.events_of(1)) == 1
    exact = grid.simulate(ours.scenarios, every=1 / 30, step=1 / 480, state_events=[low])
    assert [each.name for each in ours.solution.events] == [
        each.name for each in exact.solution.events
    ]


def test_a_scenario_may_end_at_a_condition(trained: Trained) -> None:
    first, *_ = trained.grid.dae.rows("omega")
    low = StateEvent(
        condition=lambda t, x, y, p: x[first] - 0.998, direction=-1, terminal=True, name="low"
    )
    ours = run(trained, [load_step(5, t=0.4, p=1.5)], [], events=[low])
    (event,) = [each for each in ours.solution.events_of(0) if each.name == "low"]
    assert ours.solution.ended[0] == pytest.approx(event.time)
    assert ours.solution.ended[1] == ours.t[-1]
    assert ours.stable.all()
    assert np.isfinite(ours.certificate).all()


def test_the_audit_lets_relays_act(trained: Trained) -> None:
    relays = under_frequency_shedding(trained.grid.dae, STAGES)
    ours = run(trained, *SCENARIOS, events=relays, audit=1.0)
    assert ours.audit is not None
    assert ours.audit.above == 0
    assert (ours.audit.error <= 3.0).all()


def test_steps_are_halved_where_a_relay_acts_with_one_step_and_not_with_another(
    trained: Trained,
) -> None:
    grid, step = trained.grid, Certificate.of(trained.operator, 3.0).shortest_step
    scenarios = grid.scenarios(load_step(5, t=0.4, p=1.3))
    weight = grid.dae.inertia / grid.dae.inertia.sum()

    def lowest(step: float) -> float:
        runs = grid.simulate(scenarios, every=1 / 30, step=step)
        return 60.0 * float((runs.omega[0] @ weight).min())

    between = 0.5 * (lowest(step) + lowest(1.5 * step))
    relays = under_frequency_shedding(grid.dae, [(between, 0.5)], delay=0.0)
    ours = run(trained, [load_step(5, t=0.4, p=1.3)], events=relays)
    exact = grid.simulate(ours.scenarios, every=1 / 30, step=1 / 480, state_events=relays)
    assert angle_errors(exact, ours.solution.x)[0] <= ours.certificate[0] <= 3.0
    names = [[each.name for each in runs.solution.events_of(0)] for runs in (ours, exact)]
    assert names[0] == names[1]


def with_events(trained: Trained) -> Scenarios:
    """Three loads steps; the second trips a line if the frequency is low then, the third jumps."""
    grid = trained.grid
    scenarios = grid.scenarios(*[[load_step(5, t=0.4, p=p)] for p in (1.02, 1.5, 1.3)])
    (trip,) = grid.scenarios([line_trip("4-6", t=0.9)]).events[0]
    first, *_ = grid.dae.rows("omega")

    def slower(t: Any, x: Any, y: Any, p: Any) -> Any:
        jumped = x.copy()
        jumped[first] -= 1e-3
        return jumped

    scenarios.events[1].append(replace(trip, condition=lambda t, x, y, p: 0.999 - x[first]))
    scenarios.events[2].append(TimeEvent(time=1.1, reset=slower, name="jump"))
    return scenarios


def test_events_with_a_condition_or_a_reset_are_those_of_the_engine(trained: Trained) -> None:
    grid, scenarios = trained.grid, with_events(trained)
    options: dict[str, Any] = {"solver": "hybrid", "operator": trained.operator, "audit": 1.0}
    ours = grid.simulate(scenarios, every=1 / 30, **options)
    alone = run(trained, [load_step(5, t=0.4, p=1.02)], events=())
    exact = grid.simulate(scenarios, every=1 / 30, step=1 / 480)
    assert ours.source == [alone.source[0], "classical", "classical"]
    np.testing.assert_allclose(ours.solution.x[0], alone.solution.x[0], atol=1e-6)
    for scenario, expected in enumerate((1, 2, 2)):
        mine, theirs = (each.solution.events_of(scenario) for each in (ours, exact))
        assert [each.name for each in mine] == [each.name for each in theirs]
        assert len(mine) == expected
    assert (angle_errors(exact, ours.solution.x) <= ours.certificate).all()
    assert (ours.certificate <= 3.0).all()
    assert ours.audit is not None
    assert ours.audit.above == 0
    np.testing.assert_allclose(np.abs(ours.voltages()), np.abs(exact.voltages()), atol=2e-2)

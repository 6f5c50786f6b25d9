"""Events: exact times, continuous states, algebraic variables that solve the equations again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from dae_solver.problems import bouncing_ball, diode_rectifier
from dae_solver.solver import Change, DAESystem, StateEvent, TimeEvent, simulate
from dae_solver.solver.schedule import Schedule, Timetable
from scimind.errors import InputError

METHODS = ["rk4", "dopri5", "radau3"]


def decay() -> DAESystem:
    """``x' = y``, ``y = -k x + u``; solutions are exponentials between events."""
    return DAESystem.from_callable(
        lambda t, x, y, p: [y[0]],
        lambda t, x, y, p: [y[0] + p["k"] * x[0] - p["u"]],
        states=["x"],
        algebraics=["y"],
        parameters={"k": 1.0, "u": 0.0},
        x0=[1.0],
        y0=[0.0],
    )


def exact(t: float, changes: list[tuple[float, str, float]]) -> float:
    """The solution of :func:`decay` at ``t`` with parameters that change."""
    k, u, x, now = 1.0, 0.0, 1.0, 0.0
    for time, name, value in [*changes, (np.inf, "", 0.0)]:
        end = min(time, t)
        rest = u / k
        x, now = rest + (x - rest) * np.exp(-k * (end - now)), end
        if time >= t:
            return x
        k, u = (value, u) if name == "k" else (k, value)
    raise AssertionError


def event(time: float, name: str, value: float) -> TimeEvent:
    return TimeEvent(time=time, changes=[Change(name=name, value=value)], name=name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fixed", [True, False])
def test_each_scenario_has_its_own_events_at_any_time(method: str, fixed: bool) -> None:
    changes = [
        [],
        [(0.5, "u", 1.0)],
        [(0.123456789, "k", 3.0), (0.2, "u", -1.0), (0.2 + 1e-9, "k", 0.5)],
        [(0.1, "k", 2.0), (0.2, "k", 1.0), (0.30000001, "u", 5.0), (0.97, "u", 0.0)],
        [(0.0, "u", 2.0)],
    ]
    events = [[event(*change) for change in each] for each in changes]
    times = np.linspace(0, 1, 11)
    options = {"step": 1 / 60} if fixed else {"rtol": 1e-10, "atol": 1e-10}
    solution = simulate(decay(), times, events=events, method=method, **options)
    for scenario, each in enumerate(changes):
        expected = [exact(t, each) for t in times]
        assert np.allclose(solution["x"][scenario], expected, atol=2e-9), scenario
        happened = solution.events_of(scenario)
        assert [h.time for h in happened] == [time for time, _, _ in each]  # to the last bit


def test_states_are_continuous_and_algebraic_variables_jump_to_a_solution() -> None:
    solution = simulate(decay(), [0, 1], events=[event(1 / 3, "u", 4.0)], method="rk4", step=1 / 30)
    (happened,) = solution.events
    assert np.array_equal(happened.x_minus, happened.x_plus)
    x = happened.x_minus[0]
    assert happened.y_minus[0] == pytest.approx(-x, abs=1e-12)
    assert happened.y_plus[0] == pytest.approx(4.0 - x, abs=1e-12)


def test_an_output_at_the_time_of_an_event_is_the_value_before_it() -> None:
    solution = simulate(decay(), [0, 0.5, 1], events=[event(0.5, "u", 4.0)], step=0.1)
    assert solution["y"][0, 1] == pytest.approx(-np.exp(-0.5), abs=1e-9)


def test_two_events_at_one_time_happen_in_their_order() -> None:
    double = [
        TimeEvent(time=0.5, changes=[Change(name="u", value=2.0)]),
        TimeEvent(time=0.5, changes=[Change(name="u", value=3.0, how="scale")]),
    ]
    solution = simulate(decay(), [0, 0.5, 1], events=double, step=0.1)
    assert len(solution.events) == 1
    assert solution.events[0].y_plus[0] == pytest.approx(6.0 - np.exp(-0.5), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fixed", [True, False])
def test_a_bouncing_ball_lands_at_its_analytic_times(method: str, fixed: bool) -> None:
    system, events = bouncing_ball()
    options = {"step": 0.05} if fixed else {"rtol": 1e-9, "atol": 1e-9}
    start = np.array([[1.0, 0.0], [0.5, 0.0]])
    solution = simulate(system, [0, 2.5], start, state_events=events, method=method, **options)
    for scenario, height in enumerate(start[:, 0]):
        fall = np.sqrt(2 * height / 9.81)
        landings = fall + 2 * fall * np.cumsum(0.8 ** np.arange(1, 12))
        landings = np.concatenate([[fall], landings])
        happened = solution.events_of(scenario)
        assert len(happened) == int((landings < 2.5).sum())
        found = np.array([each.time for each in happened])
        assert np.abs(found - landings[: len(found)]).max() < 1e-9
        assert all(each.x_plus[1] == pytest.approx(-0.8 * each.x_minus[1]) for each in happened)


@pytest.mark.parametrize("method", METHODS)
def test_a_diode_switches_at_its_analytic_times(method: str) -> None:
    system, events = diode_rectifier()
    solution = simulate(system, [0, 0.05], state_events=events, method=method, step=2e-4)
    w, rc, peak = 2 * np.pi * 50, 0.01, 10.0
    blocks = (np.pi - np.arctan(w * rc)) / w
    level = peak * np.sin(w * blocks)
    again = brentq(
        lambda t: level * np.exp(-(t - blocks) / rc) - peak * np.sin(w * t),
        0.0201,
        0.025,
        xtol=1e-15,
    )
    expected = [("blocks", blocks), ("conducts", again), ("blocks", blocks + 0.02)]
    assert [each.name for each in solution.events][:3] == [name for name, _ in expected]
    for each, (_, time) in zip(solution.events, expected, strict=False):
        assert each.time == pytest.approx(time, abs=1e-6)


def test_a_relay_acts_after_its_delay_and_only_where_the_condition_has_stayed() -> None:
    # x = cos(t) falls below 0.5 at pi/3 and rises above it at 5 pi/3.
    system = DAESystem.from_callable(
        lambda t, x, y, p: [-np.sin(t) + 0 * x[0], p["tripped"]],
        states=["x", "time_tripped"],
        parameters={"tripped": 0.0},
        x0=[1.0, 0.0],
    )

    def relay(delay: float) -> StateEvent:
        return StateEvent(
            condition=lambda t, x, y, p: x[0] - 0.5,
            direction=-1,
            delay=delay,
            changes=[Change(name="tripped", value=1.0)],
            once=True,
        )

    short = simulate(system, [0, 6.2], state_events=[relay(0.5)], method="dopri5", rtol=1e-10)
    assert short["time_tripped"][0, -1] == pytest.approx(6.2 - np.pi / 3 - 0.5, abs=1e-6)
    long = simulate(system, [0, 6.2], state_events=[relay(4.5)], method="dopri5", rtol=1e-10)
    assert long["time_tripped"][0, -1] == 0.0


def test_a_terminal_event_ends_its_scenario_alone() -> None:
    system, _ = bouncing_ball()
    floor = StateEvent(condition=lambda t, x, y, p: x[0], direction=-1, terminal=True)
    start = np.array([[1.0, 0.0], [100.0, 0.0]])
    solution = simulate(system, np.linspace(0, 1, 11), start, state_events=[floor], step=0.01)
    assert solution.ended[0] == pytest.approx(np.sqrt(2 / 9.81), abs=1e-9)
    assert solution.ended[1] == 1.0
    assert np.isnan(solution.x[0, -1]).all()
    assert solution.success.all()
    assert np.allclose(solution.x[1, -1], [100 - 9.81 / 2, -9.81])


def test_events_that_accumulate_end_their_scenario_with_the_reason() -> None:
    # All bounces from a height of 0.1 m happen before 9 sqrt(2 h / g) = 1.285 s.
    system, events = bouncing_ball()
    solution = simulate(system, [0, 2.5], [0.1, 0.0], state_events=events, step=0.05)
    assert "without a step between" in solution.failure[0]
    assert solution.ended[0] == pytest.approx(9 * np.sqrt(0.2 / 9.81), abs=1e-6)


def test_a_condition_that_dips_below_zero_within_a_step_is_found() -> None:
    system = DAESystem.from_callable(lambda t, x, y, p: [1.0 + 0 * x[0]], states=["x"], x0=[0.0])
    dip = StateEvent(condition=lambda t, x, y, p: (x[0] - 0.5) ** 2 - 0.01, direction=-1)
    solution = simulate(system, [0, 1], state_events=[dip], method="rk4", step=1.0)
    assert [each.time for each in solution.events] == [pytest.approx(0.4, abs=1e-9)]


@pytest.mark.parametrize("located", [True, False])
def test_kinks_cost_no_order_where_they_are_located(located: bool) -> None:
    # x' = |x - 0.4| + 1: a kink at x = 0.4; the closed form is two exponentials.
    system = DAESystem.from_callable(
        lambda t, x, y, p: [np.abs(x[0] - 0.4) + 1.0],
        kinks=lambda t, x, y, p: [x[0] - 0.4],
        states=["x"],
        x0=[0.0],
    )
    at_kink = -np.log(1 / 1.4)
    end = 0.4 + np.exp(1 - at_kink) - 1

    def error(step: float) -> float:
        solution = simulate(system, [0, 1.0], method="rk4", step=step, locate_kinks=located)
        return abs(float(solution["x"][0, -1]) - end)

    observed = np.log2(error(0.1) / error(0.025)) / 2
    assert (observed > 3.5) == located


def test_wrong_events_are_refused_with_the_reason() -> None:
    system = decay()
    with pytest.raises(InputError, match=r"'q'; there are: k, u"):
        simulate(system, [0, 1], events=[event(0.5, "q", 1.0)], step=0.1)
    with pytest.raises(InputError, match="before the start"):
        simulate(system, [0, 1], events=[event(-0.5, "u", 1.0)], step=0.1)
    with pytest.raises(InputError, match="finite time"):
        event(float("nan"), "u", 1.0)
    with pytest.raises(InputError, match="direction 2"):
        StateEvent(condition=lambda t, x, y, p: x[0], direction=2)
    with pytest.raises(InputError, match="x0 has 3, events has 2"):
        simulate(system, [0, 1], np.ones((3, 1)), events=[[], []], step=0.1)


def test_changes_of_many_scenarios_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(5)
    kinds = [
        lambda k: Change(name="a", value=0.1 * k),
        lambda k: Change(name="a", value=2.0 + k, how="scale"),
        lambda k: Change(name="b", value=k, row=1, how="add"),
        lambda k: Change(name="b", value=1.0 + k, row=[0, 2], how="scale"),
        lambda k: Change(name="b", value=np.array([k, 7.0]), row=[2, 0]),
        lambda k: Change(name="b", value=3, how="add"),
    ]
    changes = [
        [kinds[choice](k) for choice in rng.integers(0, len(kinds), rng.integers(0, 5))]
        for k in range(40)
    ]
    changes += [[Change(name="a", value=-1.0)], []] * 10
    events = [
        [TimeEvent(time=0.1 * k, changes=[change]) for k, change in enumerate(each[:2])]
        + [TimeEvent(time=1.0, changes=each[2:])]
        for each in changes
    ]
    table = Timetable.of(events)
    chosen = rng.permutation(60)[:40]
    first = rng.integers(0, 2, 40)
    last = first + rng.integers(0, 3, 40)
    start = {"a": rng.standard_normal(60), "b": rng.standard_normal((3, 60))}
    together, alone, part = ({name: v.copy() for name, v in start.items()} for _ in range(3))
    table.apply(together, chosen, first, last)
    for scenario, begin, end in zip(chosen.tolist(), first, last, strict=True):
        for each in events[scenario][begin:end]:
            for change in each.changes:
                change.apply(alone, scenario)
    table.take(chosen).apply(
        taken := {name: v[..., chosen] for name, v in part.items()}, np.arange(40), first, last
    )
    for name, expected in alone.items():
        np.testing.assert_array_equal(together[name], expected)
        np.testing.assert_array_equal(taken[name], expected[..., chosen])
        assert (expected != start[name]).any()
    wrong = Timetable.of([[TimeEvent(time=0.0, changes=[Change(name="c", value=1.0)])]])
    with pytest.raises(InputError, match="changes parameter 'c'; there are: a, b"):
        wrong.apply(together, np.zeros(1, int), np.zeros(1, int), np.ones(1, int))


def test_a_timetable_takes_scenarios_several_times() -> None:
    events = [[event(0.5, "u", 2.0)], [event(0.7, "u", 3.0), event(0.2, "k", 4.0)]]
    taken = Timetable.of(events).take(np.array([1, 1, 0]))
    assert [[each.time for each in its] for its in taken.events] == [[0.2, 0.7], [0.2, 0.7], [0.5]]
    p = {"u": np.zeros(3), "k": np.ones(3)}
    taken.apply(p, np.arange(3), np.zeros(3, int), np.array([2, 1, 1]))
    assert p["u"].tolist() == [3.0, 0.0, 2.0]
    assert p["k"].tolist() == [4.0, 4.0, 1.0]


def test_events_on_the_way_come_after_those_of_the_table_at_the_same_time() -> None:
    schedule = Schedule.of([[event(0.5, "u", 2.0), event(0.9, "u", 5.0)], []], 2)
    for scenario, time in ((0, 0.5), (0, 0.6), (1, 0.4)):
        schedule.add(scenario, event(time, "k", time))
    both = np.arange(2)
    assert schedule.next_time().tolist() == [0.5, 0.4]
    due = schedule.pop(both, np.array([0.6, 0.1]))
    names = [[(each.name, each.time) for each in due.events(k)] for k in (0, 1)]
    assert names == [[("u", 0.5), ("k", 0.5), ("k", 0.6)], []]
    assert due.some.tolist() == [True, False]
    assert schedule.next_time().tolist() == [0.9, 0.4]
    schedule.again(both)
    assert schedule.next_time().tolist() == [0.5, np.inf]


def leaps(direction: int, **options: Any) -> StateEvent:
    """Where ``y`` of :func:`decay`, which is ``u - k x``, changes its sign."""
    return StateEvent(
        condition=lambda t, x, y, p: y[0], direction=direction, name="sign", **options
    )


@pytest.mark.parametrize("time", [0.0, 0.5])
@pytest.mark.parametrize("delay", [0.0, 0.2])
def test_a_condition_that_an_event_makes_leap_over_zero_has_passed_it(
    time: float, delay: float
) -> None:
    rises = leaps(1, delay=delay, changes=[Change(name="u", value=-1.0)])
    solution = simulate(
        decay(), [0, 0.5, 1], events=[event(time, "u", 4.0)], state_events=[rises], step=0.1
    )
    assert [each.name for each in solution.events] == ["u", "sign"]
    assert [each.time for each in solution.events] == pytest.approx([time, time + delay])
    changes = [(time, "u", 4.0), (time + delay, "u", -1.0)]
    assert solution["x"][0, -1] == pytest.approx(exact(1.0, changes), abs=1e-6)
    assert solution.events[-1].y_plus[0] < 0
    other = leaps(-1, changes=[Change(name="u", value=9.0)])
    quiet = simulate(
        decay(), [0, 0.5, 1], events=[event(time, "u", 4.0)], state_events=[other], step=0.1
    )
    assert [each.name for each in quiet.events] == ["u"]  # it falls nowhere


def test_what_leaps_lets_other_conditions_leap_in_the_same_moment() -> None:
    """A cascade: each changes what the next one watches."""
    system = DAESystem.from_callable(
        lambda t, x, y, p: [1.0 + 0 * x[0]],
        lambda t, x, y, p: [y[0] - p["a"], y[1] - p["b"] - y[0]],
        states=["x"],
        algebraics=["first", "second"],
        parameters={"a": -1.0, "b": -3.0},
        x0=[0.0],
    )
    first = StateEvent(
        condition=lambda t, x, y, p: y[0],
        direction=1,
        changes=[Change(name="b", value=3.0)],
        name="first",
    )
    second = StateEvent(condition=lambda t, x, y, p: y[1], direction=1, name="second")
    start = event(0.5, "a", 1.0)
    solution = simulate(system, [0, 1], events=[start], state_events=[first, second], step=0.1)
    assert [(each.name, each.time) for each in solution.events] == [
        ("a", 0.5), ("first", 0.5), ("second", 0.5)
    ]  # fmt: skip


def test_conditions_that_make_each_other_leap_for_ever_are_an_error() -> None:
    up = leaps(1, changes=[Change(name="u", value=-5.0)])
    down = leaps(-1, changes=[Change(name="u", value=5.0)])
    solution = simulate(
        decay(), [0, 0.5, 1], events=[event(0.5, "u", 5.0)], state_events=[up, down], step=0.1
    )
    assert "100 events follow without a step between them" in solution.failure[0]

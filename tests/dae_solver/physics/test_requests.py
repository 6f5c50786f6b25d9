"""What users ask for by mistake: other units, other grids, other names; and what they may ask."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from converter_cases import wscc_with_converter
from dae_solver.physics import (
    Fault,
    PowerSystem,
    Trajectories,
    fault,
    generator_trip,
    line_trip,
    load_pulse,
    load_step,
    pref_step,
    trip_reclose,
    under_frequency_shedding,
    unsuccessful_reclose,
    vref_step,
)
from dae_solver.physics.looks import check_solver
from scimind.errors import InputError

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def wscc() -> PowerSystem:
    return PowerSystem.load("wscc9")


@pytest.fixture(scope="module")
def runs(wscc: PowerSystem) -> Trajectories:
    return wscc.simulate(wscc.scenarios([], []), t_end=0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fault(7, t=1.0, clear=100.0), "bus 7 is cleared after 100 s; clear .* in seconds"),
        (lambda: fault(7, t=1.0, clear=NAN), "bus 7 is cleared after nan s"),
        (lambda: fault(7, t=1.0, clear=0.1, x=-1e-4), "bus 7 has the impedance r=0, x=-0.0001 pu"),
        (lambda: fault(7, t=1.0, clear=0.1, r=NAN), "bus 7 has the impedance r=nan"),
        (lambda: fault(7, t=1.0, clear=0.1, r=-0.1), "bus 7 has the impedance r=-0.1"),
        (lambda: load_step(5, t=1.0, p=125.0), "bus 5 is multiplied by p=125; p is a factor"),
        (lambda: load_step(5, t=1.0, p=-1.0), "bus 5 is multiplied by p=-1"),
        (lambda: load_step(5, t=1.0, p=NAN), "bus 5 is multiplied by p=nan"),
        (lambda: load_pulse(5, t=1.0, p=INF), "bus 5 is multiplied by p=inf"),
        (lambda: load_pulse(5, t=1.0, p=0.0), "bus 5 has p=0, from which"),
        (lambda: load_pulse(5, t=1.0, p=1.1, last=NAN), "bus 5 lasts nan s"),
        (lambda: vref_step("G1", t=1.0, by=5.0), r"G1 moves by 5 pu; by is per unit, .*\(5 % are"),
        (lambda: vref_step("G1", t=1.0, by=NAN), "G1 moves by nan pu"),
        (lambda: pref_step("G1", t=1.0, factor=163.0), "G1 is multiplied by factor=163"),
        (lambda: pref_step("G1", t=1.0, factor=NAN), "G1 is multiplied by factor=nan"),
        (lambda: trip_reclose("5-7", t=1.0, after=INF), "5-7 is reclosed after inf s"),
        (
            lambda: unsuccessful_reclose(7, t=1.0, clear=0.1, trip="5-7", after=-0.5),
            "5-7 is reclosed after -0.5 s",
        ),
    ],
)
def test_values_that_no_study_means_name_the_device_and_the_unit(
    make: Callable[[], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda t: fault(7, t=t, clear=0.1),
        lambda t: line_trip("5-7", t=t),
        lambda t: load_step(5, t=t, p=1.1),
        lambda t: vref_step("G1", t=t, by=0.02),
        lambda t: generator_trip("G1", t=t),
    ],
)
@pytest.mark.parametrize("t", [NAN, INF, -1.0])
def test_every_time_is_a_number_from_0_on(wscc: PowerSystem, make: Any, t: float) -> None:
    with pytest.raises(InputError, match=f"is to happen at {t} s; give a time from 0 on"):
        wscc.scenarios(make(t))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: g.scenarios([], [], load_level=[1, 1, 1]), "3 load levels for 2 scenarios"),
        (lambda g: g.scenarios([], load_level=NAN), "load level nan is not positive"),
        (lambda g: g.cct([7, 5], load_level=[1, 1, 1]), "3 load levels for 2 scenarios"),
        (lambda g: g.screen([line_trip("5-7", t=0.1)], load_level=[1, 2]), "2 load levels for 1"),
        (lambda g: g.cct([]), "there is no fault"),
        (lambda g: g.cct([Fault(bus=7)], trip="5-7"), r"give Fault\(trip=…\)"),
        (lambda g: g.scenarios(line_trip("7-55", t=1.0)), "there is no branch '7-55'"),
        (lambda g: g.scenarios(fault("77", t=1.0, clear=0.1)), "at bus 77, which does not exist"),
        (lambda g: under_frequency_shedding(g.dae, [(59.0, 0.1)], buses=[7]), "no load at bus 7"),
    ],
)
def test_wrong_requests_are_no_errors_of_python(
    wscc: PowerSystem, make: Callable[[PowerSystem], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        make(wscc)


@pytest.mark.parametrize("name", ["Hybrid", "hybird", "rk4"])
def test_an_unknown_solver_is_no_classical_one(name: str) -> None:
    with pytest.raises(InputError, match=f"solver='{name}' is unknown; give one of: classical, h"):
        check_solver(name)


def test_options_that_a_solver_ignores_are_refused_by_name(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios([])
    with pytest.raises(InputError, match="has no option method, step, rtol"):
        wscc.simulate(scenarios, solver="hybrid", method="radau3", step=None, rtol=1e-6)
    with pytest.raises(InputError, match="'classical' takes no operator"):
        wscc.simulate(scenarios, operator="outputs/run")
    with pytest.raises(InputError, match="'classical' takes no operator"):
        wscc.cct(7, operator="outputs/run")
    with pytest.raises(InputError, match="'classical' takes no operator"):
        wscc.screen([line_trip("5-7", t=0.1)], operator="outputs/run")
    with pytest.raises(InputError, match=r"takes no certify and no audit.* leave certify= and"):
        wscc.simulate(scenarios, certify=0.1, audit=1.0)


def test_scenarios_of_another_grid_are_refused(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.1, clear=0.1, trip="5-7"))
    same, other = PowerSystem.load("wscc9"), PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3")
    same.scenarios(line_trip("4-6", t=0.1))  # by which numbers of networks differ
    for grid in (same, other):
        with pytest.raises(InputError, match="made for another grid than this wscc9"):
            grid.simulate(scenarios, t_end=0.5)
        with pytest.raises(InputError, match="made for another grid"):
            grid.calibrate_screen(scenarios, step=1 / 15)
        with pytest.raises(InputError, match="made for another grid"):
            grid.simulate(scenarios.take(np.array([0])), t_end=0.5)


def test_copies_of_a_grid_take_its_scenarios_while_they_know_its_networks() -> None:
    grid = PowerSystem.load("wscc9")
    scenarios = grid.scenarios(fault(7, t=0.1, clear=0.1, trip="5-7"))
    expected = grid.simulate(scenarios, t_end=0.5).delta
    copied, kept = copy.deepcopy(grid), copy.deepcopy(scenarios)
    for one, its in ((copied, scenarios), (grid, kept), (copied, kept)):
        assert np.array_equal(one.simulate(its, t_end=0.5).delta, expected)
    in_numpy = grid.in_numpy().simulate(scenarios, t_end=0.5).delta
    assert np.allclose(in_numpy, expected, atol=1e-9)
    grid.scenarios(line_trip("4-6", t=0.1))
    copied.scenarios(line_trip("6-9", t=0.1))
    with pytest.raises(InputError, match="made for another grid"):
        copied.simulate(grid.scenarios(line_trip("4-6", t=0.1)), t_end=0.5)


def test_buses_and_lines_are_found_as_they_are_called(wscc: PowerSystem) -> None:
    expected = wscc.scenarios(fault(7, t=0.1, clear=0.1, trip="5-7"), load_step(5, t=0.1, p=1.1))
    found = wscc.scenarios(fault("7", t=0.1, clear=0.1, trip="7-5"), load_step("5", t=0.1, p=1.1))
    turned = wscc.scenarios(fault(7, t=0.1, clear=0.1, trip=("7", 5)))
    for one, other in zip(
        [*expected.events, expected.events[0]], [*found.events, *turned.events], strict=True
    ):
        assert [each.changes for each in one] == [each.changes for each in other]
    for buses in (["5"], [5]):
        (relay,) = under_frequency_shedding(wscc.dae, [(59.0, 0.1)], buses=buses)
        assert [wscc.case.loads[k].bus for k in relay.changes[0].row] == [5]


def test_clearing_times_are_asked_for_by_bus(wscc: PowerSystem) -> None:
    options: dict[str, Any] = {"t_end": 1.0, "tolerance": 0.02}
    alone = [wscc.cct(bus, trip="5-7", **options).cct[0] for bus in (7, 5)]
    together = wscc.cct([7, "5"], trip="5-7", **options)
    mixed = wscc.cct([Fault(bus=7, trip="7-5"), Fault(bus=5, trip="5-7")], **options)
    for found in (together, mixed):
        assert found.cct == pytest.approx(alone, abs=0.02)


@pytest.mark.parametrize("chosen", [[2], [-1], []])
def test_plots_are_of_scenarios_that_exist(runs: Trajectories, chosen: Any) -> None:
    with pytest.raises(InputError, match="2 that were simulated; give numbers from 0 to 1"):
        runs.plot(chosen)


def test_one_scenario_is_plotted_by_its_number(runs: Trajectories) -> None:
    for chosen in (0, [0], np.array([1]), range(1)):
        assert len(runs.plot(chosen).axes) == 3


@pytest.mark.parametrize(
    ("every", "t_end", "expected"),
    [
        (0.3, 1.0, [0.0, 0.3, 0.6, 0.9, 1.0]),
        (0.25, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (3.0, 1.0, [0.0, 1.0]),
        (0.3333, 1.0, [0.0, 1 / 3, 2 / 3, 1.0]),
    ],
)
def test_outputs_are_at_multiples_and_at_the_end(
    wscc: PowerSystem, every: float, t_end: float, expected: list[float]
) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.1, clear=0.1))
    runs = wscc.simulate(scenarios, t_end=t_end, every=every)
    assert runs.t == pytest.approx(expected, abs=1e-12)
    dense = wscc.simulate(scenarios, t_end=t_end, every=1 / 120)
    for k, time in enumerate(expected):
        at = np.argmin(np.abs(dense.t - time))
        if abs(dense.t[at] - time) < 1e-9:
            assert runs.delta[0, k] == pytest.approx(dense.delta[0, at], abs=1e-6)


def test_events_that_come_too_late_are_told(
    wscc: PowerSystem, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        wscc.simulate(wscc.scenarios(fault(7, t=0.4, clear=0.3)), t_end=1.0)
        assert not caplog.messages
        wscc.simulate(wscc.scenarios([], fault(7, t=0.4, clear=0.3)), t_end=0.5)
    (message,) = caplog.messages
    assert "events after t_end=0.5 s do not happen: 1, the first: " in message
    assert "cleared at 0.7 s (fault at bus 7, 0.4 s, 300 ms)" in message


def test_a_converter_has_no_set_points_that_step() -> None:
    grid = PowerSystem(wscc_with_converter())
    with pytest.raises(InputError, match=r"C3 is a converter, which has no set-points that step"):
        grid.scenarios(vref_step("C3", t=1.0, by=0.02))


@pytest.mark.parametrize("inertia", [1.0, 1e3])
def test_modes_at_the_origin_are_damped_whatever_the_size_of_the_others(inertia: float) -> None:
    case = PowerSystem.load("wscc9").case
    for device in case.devices:
        if device.model == "TWOAXIS":
            device.parameters = {**device.parameters, "M": device.parameters["M"] * inertia}
    modes = PowerSystem(case).eigs()
    size = np.abs(modes.values[0])
    origin = size < 1e-8 * size.max()
    assert origin.any()
    assert (modes.damping[0, origin] == 1.0).all()
    slow = ~origin & (modes.values[0].real < 0)
    assert (modes.damping[0, slow] > 0).all()
    assert modes.to_pandas()["damping"].min() > -0.5

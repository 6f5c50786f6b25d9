"""Grids: closed forms, invariances, batches, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from dae_solver.physics import (
    Fault,
    LoadModel,
    PowerSystem,
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
from dae_solver.physics.case import Branch, Bus, Case, Device, Generator, Load
from scimind.errors import InputError


def one_machine(inertia: float = 10.0, damping: float = 0.0) -> PowerSystem:
    """A classical machine against one of infinite inertia, over two parallel lines."""
    case = Case(name="smib")
    case.buses = [Bus(id=1), Bus(id=2), Bus(id=3)]
    case.branches = [
        Branch(id="a", from_bus=1, to_bus=3, r=0.0, x=0.2),
        Branch(id="b", from_bus=3, to_bus=2, r=0.0, x=0.4),
        Branch(id="c", from_bus=3, to_bus=2, r=0.0, x=0.4),
    ]
    case.generators = [
        Generator(id="G", bus=1, p=0.8, v_set=1.0),
        Generator(id="inf", bus=2, p=0.0, v_set=1.0, slack=True),
    ]
    case.devices = [
        Device(model="GENCLS", id="G", of="G", parameters={"M": inertia, "D": damping, "xd1": 0.3}),
        Device(model="GENCLS", id="inf", of="inf", parameters={"M": 1e9, "xd1": 1e-6}),
    ]
    return PowerSystem(case)


@pytest.fixture(scope="module")
def wscc() -> PowerSystem:
    return PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3")


def test_nothing_moves_at_rest(wscc: PowerSystem) -> None:
    runs = wscc.simulate(wscc.scenarios([], [], load_level=[0.9, 1.1]), t_end=2.0)
    assert np.abs(runs.solution.x - runs.solution.x[:, :1]).max() < 1e-10


def test_the_swing_mode_of_one_machine_is_the_closed_form() -> None:
    grid = one_machine(damping=2.0)
    dae, start = grid.dae, grid.scenarios([])
    delta = start.x0[dae.rows("delta"), 0]
    e = start.parameters["field"][:, 0]
    reactance = 0.3 + 0.2 + 0.2 + 1e-6
    stiffness = e[0] * e[1] / reactance * np.cos(delta[0] - delta[1])
    w0, inertia = 2 * np.pi * 60, 10.0
    real, imag = (
        -2.0 / (2 * inertia),
        np.sqrt(w0 * stiffness / inertia - (2.0 / (2 * inertia)) ** 2),
    )
    values = grid.eigs().values[0]
    swing = values[np.argmax(values.imag)]
    assert swing.real == pytest.approx(real, rel=1e-5)
    assert swing.imag == pytest.approx(imag, rel=1e-6)


def test_the_critical_clearing_time_is_that_of_the_equal_area_criterion() -> None:
    # A bolted fault at bus 3: no power flows; cleared without a trip, the network is as before.
    grid = one_machine()
    dae, start = grid.dae, grid.scenarios([])
    angle = start.x0[dae.rows("delta"), 0]
    e = start.parameters["field"][:, 0]
    peak, power, first = e[0] * e[1] / (0.7 + 1e-6), 0.8, angle[0] - angle[1]
    last = np.pi - first
    cosine = power / peak * (last - first) + np.cos(last)
    critical = np.arccos(cosine)
    # Constant acceleration during the fault.
    expected = np.sqrt(2 * (critical - first) * 10.0 / (2 * np.pi * 60 * power))
    found = grid.cct(3, tolerance=2e-4, t_end=3.0, step=1 / 240)
    assert found.cct[0] == pytest.approx(expected, abs=1e-3)
    assert found.monotonic.all()


def test_the_energy_of_an_undamped_machine_stays() -> None:
    grid = one_machine()
    dae = grid.dae
    scenarios = grid.scenarios(fault(3, t=0.1, clear=0.05))
    runs = grid.simulate(scenarios, t_end=5.0, step=1 / 480)
    e, reactance = scenarios.parameters["field"][:, 0], 0.7 + 1e-6
    delta = runs.delta[0, :, 0] - runs.delta[0, :, 1]
    speed = (runs.omega[0, :, 0] - 1) * 2 * np.pi * 60
    after = runs.t > 0.16
    kinetic = 0.5 * 10.0 / (2 * np.pi * 60) * speed**2
    potential = -0.8 * delta - e[0] * e[1] / reactance * np.cos(delta)
    energy = (kinetic + potential)[after]
    assert np.ptp(energy) < 2e-6 * np.ptp(kinetic[after])
    assert dae.states == ("delta:G", "delta:inf", "omega:G", "omega:inf")


def test_the_period_of_a_large_swing_is_the_integral_over_it() -> None:
    grid = one_machine()
    scenarios = grid.scenarios(fault(3, t=0.0, clear=0.12))
    runs = grid.simulate(scenarios, t_end=4.0, every=1 / 480, step=1 / 480)
    e = scenarios.parameters["field"][:, 0]
    peak = e[0] * e[1] / (0.7 + 1e-6)
    delta = runs.delta[0, :, 0] - runs.delta[0, :, 1]
    w0, inertia = 2 * np.pi * 60, 10.0

    def force(angle: float) -> float:
        return 0.8 * angle + peak * np.cos(angle)

    after = runs.t >= 0.13
    t, swing = runs.t[after], delta[after]
    low, high = swing.min(), swing.max()
    # With the substitution of a sine the integrand stays finite at the turning points.
    middle, half = (low + high) / 2, (high - low) / 2
    total = force(high)

    def integrand(phase: float) -> float:
        angle = middle + half * np.sin(phase)
        return half * np.cos(phase) / np.sqrt(max(force(angle) - total, 1e-300))

    period = 2 * np.sqrt(inertia / (2 * w0)) * quad(integrand, -np.pi / 2, np.pi / 2, limit=200)[0]
    peaks = t[1:-1][(swing[1:-1] > swing[:-2]) & (swing[1:-1] >= swing[2:])]
    assert np.diff(peaks).mean() == pytest.approx(period, rel=3e-3)


@pytest.mark.parametrize("load", ["zip 1 0 0", "zip 0.4 0.3 0.3"])
def test_the_order_of_the_engine_on_a_grid_is_that_of_the_method(load: str) -> None:
    # Loads that turn into impedances while the voltage recovers are not smooth there.
    grid = PowerSystem.load("wscc9", load=load)
    scenarios = grid.scenarios(fault(7, t=1 / 3, clear=0.1, trip="5-7"))
    located = not grid.dae.load_model.linear
    found = [
        grid.simulate(scenarios, t_end=1.0, step=step, tolerance=1e-13, locate_kinks=located).delta[
            0, -1
        ]
        for step in (1 / 60, 1 / 120, 1 / 480)
    ]
    errors = [np.abs(each - found[-1]).max() for each in found[:2]]
    assert 3.4 < np.log2(errors[0] / errors[1]) < 4.6


@pytest.mark.parametrize("method", ["trapezoid", "radau2", "radau3", "gauss2", "dopri5"])
def test_all_methods_agree(wscc: PowerSystem, method: str) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.2, clear=0.08, trip="5-7"))
    expected = wscc.simulate(scenarios, t_end=1.0, step=1 / 480).delta
    step = {"trapezoid": 1 / 480, "radau2": 1 / 120}.get(method, 1 / 60)
    found = wscc.simulate(scenarios, t_end=1.0, method=method, step=step).delta
    assert np.degrees(np.abs(found - expected)).max() < 0.01


def test_adaptive_steps_reach_their_tolerance(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.2, clear=0.08), line_trip("5-7", t=0.5))
    expected = wscc.simulate(scenarios, t_end=1.2, step=1 / 480).delta
    for method in ("dopri5", "radau3"):
        runs = wscc.simulate(scenarios, t_end=1.2, method=method, step=None, rtol=1e-7, atol=1e-8)
        assert np.degrees(np.abs(runs.delta - expected)).max() < 1e-3


def test_the_error_of_a_grid_falls_with_the_tolerance(wscc: PowerSystem) -> None:
    scenarios = wscc.scenarios(fault(7, t=0.1, clear=0.08, trip="5-7"))
    expected = wscc.simulate(scenarios, t_end=0.8, step=1 / 480).delta
    errors, steps = [], []
    for rtol in (1e-4, 1e-6, 1e-8):
        options = {"method": "dopri5", "step": None, "rtol": rtol, "atol": 0.1 * rtol}
        runs = wscc.simulate(scenarios, t_end=0.8, **options)
        errors.append(np.abs(runs.delta - expected).max())
        steps.append(int(runs.solution.statistics.steps[0]))
    assert errors[1] < 0.2 * errors[0]
    assert errors[2] < 0.2 * errors[1]
    assert steps[0] < steps[1] < steps[2]


EVERY_KIND = {
    "fault": fault(5, t=0.31, clear=0.09),
    "fault_trip": fault(7, t=0.2, clear=0.07, trip="5-7"),
    "line_trip": line_trip("4-6", t=0.4),
    "trip_reclose": trip_reclose("4-6", t=0.4, after=0.5),
    "unsuccessful_reclose": unsuccessful_reclose(7, t=0.2, clear=0.05, trip="5-7", after=0.4),
    "load_step": load_step(5, t=0.2, p=1.3),
    "load_pulse": load_pulse(5, t=0.2, p=0.6, last=0.5),
    "vref_step": vref_step("G2", t=0.3, by=0.03),
    "pref_step": pref_step("G2", t=0.3, factor=0.8),
    "generator_trip": generator_trip("G3", t=0.3),
}


def test_a_batch_of_all_kinds_gives_what_each_gives_alone(wscc: PowerSystem) -> None:
    every = list(EVERY_KIND.values())
    level = np.linspace(0.8, 1.05, len(every))
    scenarios = wscc.scenarios(*every, load_level=level)
    together = wscc.simulate(scenarios, t_end=1.2, step=1 / 30)
    assert together.solution.success.all()
    assert scenarios.kinds == list(EVERY_KIND)
    for number, (disturbance, one) in enumerate(zip(every, level, strict=True)):
        alone = wscc.simulate(
            wscc.scenarios(disturbance, load_level=float(one)), t_end=1.2, step=1 / 30
        )
        assert np.abs(alone.delta[0] - together.delta[number]).max() < 1e-7
        assert len(alone.solution.events) == len(together.solution.events_of(number))


def test_angles_do_not_depend_on_the_reference(wscc: PowerSystem) -> None:
    case = PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3").case
    for generator in case.generators:
        generator.angle = 0.7
    turned = PowerSystem(case, "zip 0.4 0.3 0.3")
    event = fault(7, t=0.2, clear=0.08, trip="5-7")
    one = wscc.simulate(wscc.scenarios(event), t_end=1.0)
    other = turned.simulate(turned.scenarios(event), t_end=1.0)
    assert np.allclose(other.delta - one.delta, 0.7, atol=1e-9)
    assert np.allclose(np.abs(one.voltages()), np.abs(other.voltages()), atol=1e-9)


def test_a_load_is_constant_impedance_below_its_switch() -> None:
    load = LoadModel(z=0.4, i=0.3, p=0.3)
    v = np.array([[0.3, 0.5, 0.7, 0.7 + 1e-12]])
    one = np.ones((1, 4))
    g, b = load.admittances(np, v, one, one, 0.5 * one)
    assert np.allclose(g, g[0, 0])
    assert np.allclose(b, -0.5 * g)
    assert g[0, 0] == pytest.approx(0.4 + 0.3 / 0.7 + 0.3 / 0.49)


def test_a_generator_trip_takes_its_power_away(wscc: PowerSystem) -> None:
    runs = wscc.simulate(wscc.scenarios(generator_trip("G3", t=0.5)), t_end=1.0)
    (event,) = runs.solution.events
    assert event.name == "G3 trips"
    after = runs.omega[0, -1]
    assert after[2] == runs.omega[0, runs.t <= 0.5][-1, 2]  # it rests
    assert (after[:2] < 1.0).all()  # the others slow down


def test_shedding_happens_when_the_frequency_has_been_low_for_the_delay(wscc: PowerSystem) -> None:
    relays = under_frequency_shedding(wscc.dae, [(59.7, 0.2)], delay=0.1)
    scenarios = wscc.scenarios(generator_trip("G3", t=0.5), load_step(5, t=0.5, p=1.02))
    runs = wscc.simulate(scenarios, t_end=4.0, every=1 / 240, state_events=relays)
    first, second = runs.solution.events_of(0), runs.solution.events_of(1)
    assert [each.name for each in first] == ["G3 trips", "shedding 20% below 59.7 Hz"]
    assert len(second) == 1
    weight = wscc.dae.inertia * np.array([1.0, 1.0, 0.0])
    frequency = 60 * (runs.omega[0] * weight).sum(-1) / weight.sum()
    below = runs.t[(frequency < 59.7) & (runs.t > 0.5)][0]
    assert first[1].time == pytest.approx(below + 0.1, abs=1.1 / 240)


def test_tables_and_plots_hold_what_was_simulated(wscc: PowerSystem) -> None:
    runs = wscc.simulate(
        wscc.scenarios(fault(7, t=0.2, clear=0.1), line_trip("4-6", t=0.3)), t_end=0.5
    )
    table = runs.to_pandas()
    assert table.shape == (2 * len(runs.t), len(wscc.dae.states) + 18)
    assert table.loc[(1, 0.5), "delta:G2"] == runs.delta[1, -1, 1]
    assert np.allclose(table["v:7"].to_numpy()[: len(runs.t)], np.abs(runs.voltages()[0, :, 6]))
    summary = runs.summary()
    assert list(summary["kind"]) == ["fault", "line_trip"]
    assert summary["stable"].all()
    assert len(runs.plot([0, 1]).axes) == 6


def test_a_dataset_holds_what_was_simulated(wscc: PowerSystem) -> None:
    pytest.importorskip("xarray", reason="xarray is an optional dependency")
    runs = wscc.simulate(wscc.scenarios(fault(7, t=0.2, clear=0.1), []), t_end=0.5)
    found = runs.to_xarray()
    assert dict(found.sizes) == {
        "scenario": 2, "time": len(runs.t), "name": len(wscc.dae.states), "bus": 9
    }  # fmt: skip
    assert np.array_equal(found["state"].sel(name="delta:G2"), runs.delta[:, :, 1])
    assert np.array_equal(found["v"].sel(bus="7"), runs.voltages()[:, :, 6])
    assert np.array_equal(found["time"], runs.t)
    assert found["source"].values.tolist() == runs.source
    assert np.isnan(found["certificate"]).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda g: g.scenarios(fault(99, t=1.0, clear=0.1)), "bus 99, which does not exist"),
        (lambda g: fault(7, t=1.0, clear=-0.1), "cleared after -0.1 s"),
        (lambda g: fault(7, t=1.0, clear=0.1, x=0.0), "no impedance"),
        (lambda g: g.scenarios(line_trip("9-9", t=1.0)), "no branch '9-9'"),
        (lambda g: g.scenarios(line_trip("1-4", t=1.0)), r"island of 1 buses \(1\)"),
        (lambda g: g.scenarios(load_step(1, t=1.0, p=1.1)), "no load at bus 1; loads are at"),
        (lambda g: g.scenarios(vref_step("G9", t=1.0, by=0.1)), "no machine 'G9'"),
        (lambda g: g.scenarios([], load_level=50.0), "does not converge .* at bus"),
        (lambda g: g.scenarios([], load_level=-1.0), "not positive"),
        (lambda g: g.scenarios(), "at least one disturbance"),
        (lambda g: g.scenarios(fault(7, t=-1.0, clear=0.1)), "time from 0 on"),
        (lambda g: g.cct(7, shortest=0.5, longest=0.1), "0 < shortest < longest"),
        (lambda g: g.cct([Fault(bus=99)]), "does not exist"),
        (lambda g: PowerSystem(g.case, "zip 1 1 1"), "add up to 3"),
        (lambda g: PowerSystem(g.case, "motor"), "neither 'zip"),
        (lambda g: under_frequency_shedding(g.dae, [(61.0, 0.1)]), "below 60 Hz"),
    ],
)
def test_wrong_requests_name_what_is_wrong(wscc: PowerSystem, make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(wscc)


def broken(change) -> Case:
    case = PowerSystem.load("wscc9").case
    change(case)
    return case


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.devices.pop(0), "has no machine model"),
        (lambda c: setattr(c.devices[0], "model", "GENXYZ"), "GENXYZ G1 is not supported"),
        (lambda c: c.devices[0].parameters.pop("xd"), "lacks the parameter xd"),
        (lambda c: c.devices[0].parameters.update(M=-1.0), "the inertia is positive"),
        (lambda c: c.devices[0].parameters.update(zz=1.0), "unknown parameter 'zz'"),
        (lambda c: setattr(c.generators[0], "slack", False), "needs one slack bus and has 0"),
        (lambda c: setattr(c.branches[0], "x", 0.0), "no impedance"),
        (lambda c: setattr(c.loads[0], "bus", 77), "bus 77, which does not exist"),
        (lambda c: setattr(c.branches[0], "in_service", False), "island of 1 buses"),
        (lambda c: setattr(c.buses[1], "id", 1), "bus 1 is given twice"),
    ],
)
def test_wrong_cases_name_what_is_wrong(change, message: str) -> None:
    case = broken(change)
    with pytest.raises(InputError, match=message):
        PowerSystem(case).scenarios([])


def test_a_load_at_the_bus_of_a_machine_is_as_good_as_any() -> None:
    case = PowerSystem.load("wscc9").case
    case.loads.append(Load(id="aux", bus=2, p=0.1, q=0.02))
    grid = PowerSystem(case, "zip 0.2 0.3 0.5")
    runs = grid.simulate(grid.scenarios([], fault(7, t=0.1, clear=0.05)), t_end=1.0)
    assert np.abs(runs.solution.x[0] - runs.solution.x[0, 0]).max() < 1e-10
    assert runs.stable.all()

"""Converters: closed forms, balance at rest, stiffness, limits, refusals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter_cases import stiff_grid, wscc_with_converter
from dae_solver.physics import PowerSystem, fault, generator_trip, load_step
from dae_solver.physics.io import read_case, write_native
from dae_solver.physics.models import CONTROLS, CONVERTERS, MODELS
from dae_solver.physics.models import LOOPS as LOOP_MODELS
from scimind.errors import InputError

FLAGS = [
    {},
    {"PFFLAG": 1.0, "PQFLAG": 1.0},
    {"QFLAG": 1.0},
    {"QFLAG": 1.0, "VFLAG": 1.0, "Kqp": 0.2, "Kqi": 5.0},
    {"QFLAG": 1.0, "VFLAG": 1.0, "PFFLAG": 1.0, "Trv": 0.0, "Tp": 0.0},
]
VARIANTS: list[tuple[str | None, dict[str, float] | None]] = [
    (None, None),
    ("PLL1", None),
    ("PLL2", None),
    (None, {}),
    *[("PLL2", flags) for flags in FLAGS],
]


@pytest.mark.parametrize(("loop", "control"), VARIANTS)
def test_a_grid_with_a_converter_is_at_rest(
    loop: str | None, control: dict[str, float] | None
) -> None:
    grid = PowerSystem(wscc_with_converter(loop, control))
    rest = grid.scenarios([], [], load_level=[1.0, 1.03])
    x, y, p = rest.x0, rest.y0, rest.parameters
    t = np.zeros(2)
    assert np.abs(grid.dae.f(t, x, y, p)).max() < 1e-9
    assert np.abs(grid.dae.g(t, x, y, p)).max() < 1e-10
    assert grid.dae.converter_power(x, y, p).real[0] == pytest.approx(
        [0.85, 0.85 * 1.03], abs=1e-10
    )
    moved = y + 0.02 * np.sin(np.arange(len(y)))[:, None]
    found, good = grid.dae.solve(t, x, moved, p, 1e-12)
    assert good.all()
    assert np.abs(found - y).max() < 1e-10


@pytest.mark.parametrize("load", ["zip 1 0 0", "zip 0.4 0.3 0.3"])
def test_the_iteration_of_the_network_ends_where_its_residual_is_zero(load: str) -> None:
    grid = PowerSystem(wscc_with_converter(None, {}), load=load)
    runs = grid.simulate(
        grid.scenarios(fault(9, t=0.1, clear=0.1, x=0.05)), t_end=0.3, step=1 / 240, tolerance=1e-12
    )
    assert runs.solution.success.all()
    network = runs.networks(0)
    for k in (8, 17):  # in the fault, and after it
        p = {name: value.copy() for name, value in runs.scenarios.parameters.items()}
        p["network"][:] = network[k]
        x, y = runs.solution.x[0, k][:, None], runs.solution.y[0, k][:, None]
        assert np.abs(grid.dae.g(runs.t[k], x, y, p)).max() < 1e-9


def jump(grid: PowerSystem, by: float, t_end: float, **options: Any) -> tuple[Any, Any]:
    """Times and angle of the loop after the voltage has jumped by an angle."""
    start = grid.scenarios([])
    x0 = start.x0.copy()
    x0[grid.dae.rows("delta")] += by
    start = dataclasses.replace(start, x0=x0)
    runs = grid.simulate(start, t_end=t_end, every=1 / 480, **options)
    return runs.t, runs.state("angle_pll")[0, :, 0] - start.x0[grid.dae.rows("angle_pll")[0], 0]


def test_a_loop_follows_a_jump_as_a_second_order_system() -> None:
    kp, ki, by = 0.1, 3.0, 1e-3
    grid = PowerSystem(stiff_grid("PLL2", {"Kp": kp, "Ki": ki}))
    t, angle = jump(grid, by, 0.3, method="radau3", step=1 / 480)
    w0 = 2 * np.pi * 60
    natural, decay = np.sqrt(w0 * ki), 0.5 * w0 * kp
    damped = np.sqrt(natural**2 - decay**2)
    error = np.exp(-decay * t) * (np.cos(damped * t) - decay / damped * np.sin(damped * t))
    # The sine of the loop is the angle but for its cube, and the reactances are not zero.
    assert np.abs(angle / by - (1.0 - error)).max() < 1e-5


def test_a_loop_with_filters_follows_a_jump_as_its_transfer_function() -> None:
    from scipy.signal import TransferFunction, step

    kp, ki, tf, tp, by = 0.05, 0.4, 0.01, 0.02, 1e-3
    grid = PowerSystem(stiff_grid("PLL1", {"Kp": kp, "Ki": ki, "Tf": tf, "Tp": tp}))
    t, angle = jump(grid, by, 0.5, method="radau3", step=1 / 480)
    w0 = 2 * np.pi * 60
    forward = np.array([w0 * kp, w0 * ki])  # over s^2 (1 + s Tp)
    loop = np.polyadd([tp, 1.0, 0.0, 0.0], forward)
    _, expected = step(TransferFunction(forward, np.polymul(loop, [tf, 1.0])), T=t)
    assert np.abs(angle / by - expected).max() < 1e-5


def test_a_loop_turns_past_half_a_turn_with_the_voltage() -> None:
    # The angle of the voltage is known within a turn only; a jump of 200 degrees is one of -160.
    grid = PowerSystem(stiff_grid("PLL1", {"Kp": 0.05, "Ki": 0.4, "Tf": 0.02, "Tp": 0.02}))
    _, angle = jump(grid, np.radians(200.0), 1.5, method="radau2", step=1 / 240)
    assert np.degrees(angle[-1]) == pytest.approx(-160.0, abs=1e-2)


def test_without_limits_a_converter_supplies_its_order_to_any_voltage() -> None:
    grid = PowerSystem(wscc_with_converter("PLL2", {}))
    runs = grid.simulate(
        grid.scenarios(load_step(8, t=0.1, p=1.3)), t_end=2.0, method="radau2", step=1 / 60
    )
    power = runs.converter_power()[0, :, 0]
    assert np.abs(power - power[0]).max() > 0.01
    assert abs(power[-1] - power[0]) < 2e-3
    assert np.abs(runs.voltages()[0, :, 2]).std() > 1e-3


def test_a_fault_lowers_the_active_current_below_the_power_logic() -> None:
    grid = PowerSystem(wscc_with_converter("PLL2", {}))
    runs = grid.simulate(
        grid.scenarios(fault(9, t=0.1, clear=0.15, x=0.02)), t_end=1.0, every=1 / 240, step=1 / 480
    )
    active, slow = runs.state("i_active")[0, :, 0], runs.state("v_slow")[0, :, 0]
    cap = np.where(slow >= 0.9, np.inf, 1.2 * 1.22 / 0.5 * np.maximum(slow - 0.4, 0.0))
    assert (active <= cap + 1e-12).all()
    assert (np.abs(active - cap) < 1e-9).sum() > 10
    assert (np.diff(active) * 240 <= 1.2 * 10.0 + 1e-9).all()  # Rrpwr on the rating
    v = np.abs(runs.voltages()[0, :, 2])
    assert (runs.converter_power()[0, v < 0.4, 0].real < 0.02).all()
    assert runs.stable.all()


@pytest.mark.parametrize(("loop", "control"), [(None, None), ("PLL2", {"QFLAG": 1.0})])
def test_a_tripped_converter_supplies_nothing_and_stays_as_it_is(
    loop: str | None, control: dict[str, float] | None
) -> None:
    grid = PowerSystem(wscc_with_converter(loop, control))
    scenarios = grid.scenarios(generator_trip("C3", t=0.2), load_step(8, t=0.1, p=1.1))
    runs = grid.simulate(scenarios, t_end=2.0, every=1 / 60, step=1 / 480)
    plain = grid.in_numpy().simulate(scenarios, t_end=2.0, every=1 / 60, step=1 / 480)
    np.testing.assert_allclose(runs.solution.x, plain.solution.x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(runs.solution.y, plain.solution.y, rtol=0, atol=1e-8)
    after = runs.t > 0.2
    power = runs.converter_power()[:, :, 0]
    assert (power[0, after] == 0).all()
    assert np.abs(power[:, ~after].real - 0.85).max() < 0.05
    assert np.abs(power[1, after].real - 0.85).max() < 0.05
    rows = slice(
        len(grid.dae.states) - sum(len(g.model.states) for g in grid.dae.converters.groups()), None
    )
    assert np.ptp(runs.solution.x[0, after, rows], axis=0).max() == 0
    # 0.85 of 3.15 pu are lost: governors bring the frequency back to a droop of that.
    speed = runs.omega @ grid.dae.inertia / grid.dae.inertia.sum()
    assert speed[0, -1] < 0.99 < speed[1, -1]
    # The bus is then one without generator.
    y, p = (
        runs.solution.y[:1, -1].T,
        {n: v[..., :1].copy() for n, v in scenarios.parameters.items()},
    )
    p["connected"][:] = 0.0
    assert np.abs(grid.dae.g(2.0, runs.solution.x[:1, -1].T, y, p)).max() < 1e-8
    solved, good = grid.dae.solve(2.0, runs.solution.x[:1, -1].T, y + 0.01, p, 1e-12)
    assert good.all()
    assert np.abs(solved - y).max() < 1e-7


@pytest.mark.parametrize("first", [0.0, 1.0])
def test_currents_stay_within_the_limit_and_in_their_order(first: float) -> None:
    control = {"Imax": 0.9, "Kqv": 8.0, "PQFLAG": first, "Tpord": 0.02}
    grid = PowerSystem(wscc_with_converter("PLL2", control, Lvplsw=0.0))
    runs = grid.simulate(
        grid.scenarios(fault(9, t=0.1, clear=0.3, x=0.15)), t_end=0.5, every=1 / 240, step=1 / 480
    )
    active, reactive = runs.state("i_active")[0, :, 0], runs.state("i_reactive")[0, :, 0]
    assert np.hypot(active, reactive).max() < 0.9 * 1.2 + 1e-3
    late = 90  # towards the end of the fault
    chosen, other = (active, reactive) if first else (reactive, active)
    assert abs(chosen[late]) > 0.99 * 0.9 * 1.2
    assert abs(other[late]) < 0.2


def test_eigenvalues_are_those_of_the_states_alone() -> None:
    grid = PowerSystem(wscc_with_converter("PLL2", {"QFLAG": 1.0}))
    rest = grid.scenarios([])
    x0, y0, p = rest.x0, rest.y0, rest.parameters
    t = np.zeros(1)

    def slope(x: np.ndarray) -> np.ndarray:
        y, good = grid.dae.solve(t, x, y0, p, 1e-13)
        assert good.all()
        return grid.dae.f(t, x, y, p)[:, 0]

    number, h = len(x0), 1e-5
    assert number == 2 * (4 + 4 + 2) + 3 + 6 + 2  # two machines, the converter, its control, loop
    matrix = np.empty((number, number))
    for k in range(number):
        step = np.zeros_like(x0)
        step[k] = h
        matrix[:, k] = (slope(x0 + step) - slope(x0 - step)) / (2 * h)
    expected = np.linalg.eigvals(matrix)
    found = grid.eigs().values[0]
    for value in found:
        assert np.abs(expected - value).min() < 1e-3 * max(1.0, abs(value))


def test_the_grid_is_stiff_for_explicit_methods_and_not_for_implicit_ones() -> None:
    grid = PowerSystem(wscc_with_converter("PLL2", {"QFLAG": 1.0}))
    fastest = np.abs(grid.eigs().values[0]).max()
    # Beyond 2.785 the stability function of RK4 exceeds 1 on the negative axis.
    assert fastest / 60 > 2.785 > fastest / 120
    scenarios = grid.scenarios(load_step(8, t=0.05, p=1.2))

    def delta(method: str, step: float) -> np.ndarray:
        runs = grid.simulate(scenarios, t_end=0.25, method=method, step=step, tolerance=1e-12)
        return runs.delta_coi[0] if runs.solution.success.all() else np.full((16, 2), np.inf)

    reference = delta("radau3", 1 / 120)

    def error(method: str, step: float) -> float:
        with np.errstate(all="ignore"):
            return float(np.degrees(np.abs(delta(method, step) - reference).max()))

    assert not error("rk4", 1 / 60) < 1.0
    assert error("rk4", 1 / 240) < 1e-3
    assert error("trapezoid", 1 / 60) < 0.05
    assert error("radau2", 1 / 60) < 5e-3
    assert error("radau3", 1 / 60) < 1e-3


@pytest.mark.parametrize(("method", "order"), [("trapezoid", 2), ("radau2", 3)])
def test_implicit_methods_keep_their_order_with_a_converter(method: str, order: int) -> None:
    grid = PowerSystem(wscc_with_converter("PLL2", {"QFLAG": 1.0}))
    scenarios = grid.scenarios(load_step(8, t=0.05, p=1.2))
    steps = (1 / 160, 1 / 320, 1 / 640)
    found = [
        grid.simulate(
            scenarios, t_end=0.1, every=0.05, method=method, step=step, tolerance=1e-13
        ).solution.x[0]
        for step in steps
    ]
    errors = [np.abs(each - found[-1]).max() for each in found[:2]]
    assert order - 0.4 < np.log2(errors[0] / errors[1]) < order + 0.6


def test_a_case_with_a_converter_comes_back_as_it_went(tmp_path: Path) -> None:
    case = wscc_with_converter("PLL1", {"QFLAG": 1.0})
    write_native(case, tmp_path / "case.json")
    assert read_case(tmp_path / "case.json") == case


def test_a_bolted_fault_next_to_a_converter_needs_a_loop() -> None:
    # Behind a reactance alone a converter at the angle of its voltage can supply no active power,
    # and takes no reactive power; this one took some.
    event = fault(9, t=0.02, clear=0.1)
    for loop, works in ((None, False), ("PLL2", True)):
        grid = PowerSystem(wscc_with_converter(loop, {}))
        solution = grid.simulate(grid.scenarios(event), t_end=0.05, step=1 / 240).solution
        assert solution.success.tolist() == [works]
        assert works or "no solution after 'fault at 9'" in solution.failure[0]


def test_scenarios_with_their_own_gains_are_those_of_a_grid_with_these_gains() -> None:
    gains = [0.2, 0.6]
    grid = PowerSystem(wscc_with_converter("PLL2", {}))
    step = load_step(8, t=0.1, p=1.2)
    batch = grid.scenarios(step, step, parameters={"PLL2.Kp": np.array([gains])})
    both = grid.simulate(batch, t_end=0.5, step=1 / 240).state("angle_pll")
    for k, gain in enumerate(gains):
        case = wscc_with_converter("PLL2", {})
        case.devices[-1].parameters = {**case.devices[-1].parameters, "Kp": gain}
        alone = PowerSystem(case)
        run = alone.simulate(alone.scenarios(step), t_end=0.5, step=1 / 240)
        assert np.abs(run.state("angle_pll")[0] - both[k]).max() < 1e-9
    assert np.abs(both[0] - both[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PFLAG": 1.0}, "PFLAG = 1; only 0"),
        ({"Thld": -1.0}, "Thld = -1; only 0"),
        ({"Thld2": 0.5}, "Thld2 = 0.5; only 0"),
        ({"QFLAG": 2.0}, "QFLAG = 2; it is 0 or 1"),
        ({"PFFLAG": 1.0, "QFLAG": 1.0}, "with QFLAG 1 and VFLAG 0 only 0"),
        ({"Tpord": 0.0}, "Tpord = 0; it is positive"),
        ({"Vdip": 1.3}, "Vdip = 1.3; it is below Vup"),
        ({"Vq2": 0.9}, "the voltages Vq2, Vq3 rise"),
        ({"Imax": 0.5}, "a current of 0.83.* above 0.6, the limit by Imax"),
        ({"PMAX": 0.5}, "a power = 0.85 at the start, outside PMIN = 0 … PMAX = 0.6"),
        ({"Vdip": 1.1}, "a voltage = 1.025 at the start, outside Vdip"),
    ],
)
def test_a_control_that_is_not_supported_or_not_at_rest(
    change: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PowerSystem(wscc_with_converter("PLL2", change)).scenarios([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Tg": 0.0}, "Tg = 0; it is positive"),
        ({"Brkpt": 0.3}, "Brkpt = 0.3; it is above Zerox"),
        ({"Lvpnt1": 0.4}, "Lvpnt1 = 0.4; it is above Lvpnt0"),
        ({"Iqrmin": 1.0}, "Iqrmin = 1.2; it is negative"),
        ({"Lvplsw": 0.5}, "Lvplsw = 0.5; it is 0 or 1"),
        ({"Volim": 1.0}, "a voltage = 1.025 at the start, outside Lvpnt1 = 0.8 … Volim = 1"),
        ({"Brkpt": 1.5, "Lvpl1": 0.9}, "above .*, the limit by the low-voltage power logic"),
    ],
)
def test_a_converter_that_breaks_a_rule(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PowerSystem(wscc_with_converter(None, None, **change)).scenarios([])


def test_states_of_converters_have_names_of_their_own() -> None:
    every = {name: set(model.states) for name, model in MODELS.items()}
    ours = set().union(*(every[name] for name in (*CONVERTERS, *CONTROLS, *LOOP_MODELS)))
    others = set(MODELS) - {*CONVERTERS, *CONTROLS, *LOOP_MODELS}
    assert not any(ours & every[name] for name in others)


def test_devices_that_belong_to_nothing() -> None:
    alone = wscc_with_converter("PLL2", {})
    alone.devices = [device for device in alone.devices if device.id != "C3"]
    alone.generators = [each for each in alone.generators if each.id != "G3"]
    with pytest.raises(InputError, match="REECA1 E3 belongs to the converter 'C3', which does not"):
        PowerSystem(alone)
    bare = wscc_with_converter(None)
    bare.devices = [device for device in bare.devices if device.id != "C3"]
    with pytest.raises(InputError, match="generator G3 at bus 3 supplies"):
        PowerSystem(bare)
    two = wscc_with_converter("PLL2", {})
    two.devices.append(dataclasses.replace(two.devices[-1], model="PLL1", id="P4"))
    two.devices[-1].parameters = {}
    with pytest.raises(InputError, match="converter C3 has two of one kind, P4 and P3"):
        PowerSystem(two)


def test_a_grid_of_converters_alone_has_no_frequency() -> None:
    case = stiff_grid("PLL2", {})
    case.devices[0] = dataclasses.replace(case.devices[1], id="D", of="inf")
    with pytest.raises(InputError, match="all 2 generators of stiff are converters"):
        PowerSystem(case)

"""Voltages for given states: against Newton's method, in any frame, in few rounds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converter_cases import replace_by_converter
from dae_solver.physics import PowerSystem, fault
from dae_solver.physics.case import Load
from dae_solver.solver.system import DAESystem
from network_states import angles_of, by_newton, near_solutions, random_states
from power_cases import reference_case
from scimind.errors import InputError

LOADS = ["zip 1 0 0", "zip 0.4 0.3 0.3", "zip 0 0 1", "exponential 0.7 2.4"]
# Rounds from guesses that are 0.02 pu away, at a tolerance of 1e-11 pu; those of constant power
# come near the largest power that the network can carry.
MOST_ROUNDS = dict.fromkeys(LOADS, 15) | {"zip 0 0 1": 25}
CASES = ["wscc9", "ieee39", "shared buses", "loads at machines", "converters"]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest, real_data: Path):
    if request.param == "ieee39":
        return reference_case(real_data / "dae_solver" / "ieee39.json")
    if request.param == "converters":
        made = reference_case(real_data / "dae_solver" / "ieee39.json")
        for k, loop in enumerate(("PLL1", "PLL2", None), start=3):
            replace_by_converter(made, f"G{k}", loop, {}, mva=1000.0)
        return made
    made = PowerSystem.load("wscc9").case
    if request.param == "shared buses":
        made.loads += [Load(id="aux", bus=2, p=0.1, q=0.02), Load(id="more", bus=5, p=0.2, q=0.1)]
    if request.param == "loads at machines":
        # Then the loads, in another order than the machines, have all buses; nothing is salient.
        own = [Load(id=f"own {bus}", bus=bus, p=0.1, q=0.02) for bus in (3, 1, 2)]
        made.loads = own + made.loads
        for device in made.devices:
            if device.model == "TWOAXIS":
                device.parameters["xq1"] = device.parameters["xd1"]
    return made


@pytest.mark.parametrize("numpy", [False, True])
@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("load", LOADS)
def test_voltages_are_those_of_newtons_method_in_few_rounds(
    case, load: str, online: bool, numpy: bool
) -> None:
    grid = PowerSystem(case, load)
    dae = grid.dae.in_numpy() if numpy else grid.dae
    seed = LOADS.index(load)
    x, guess, expected, p = near_solutions(dae, grid, scenarios=24, seed=seed, online=online)
    found, good = dae.solve(np.zeros(len(guess[0])), x, guess, p, 1e-11)
    assert good.all()
    assert np.abs(found - expected).max() < 1e-10
    # Converters cut their currents below 0.8 pu, by 16 pu for each pu.
    assert dae.solver.rounds <= MOST_ROUNDS[load] + (5 if len(dae.converters) else 0)


@pytest.mark.parametrize("load", LOADS)
def test_the_jacobian_of_the_network_is_its_difference_quotient(case, load: str) -> None:
    grid = PowerSystem(case, load)
    x, y, p = random_states(grid.dae, grid, scenarios=6, seed=3, online=True)
    y = y * np.linspace(0.5, 1.1, 6)  # below and above the switch of the loads
    t = np.zeros(6)
    found = grid.dae.jacobian_y(t, x, y, p)
    states = len(x)
    expected = DAESystem.jacobian(grid.dae, t, x, y, p, central=True)[:, states:, states:]
    # A fault is an admittance of 45 pu.
    assert np.abs(found - expected).max() < 1e-6


def test_voltages_turn_with_the_rotors(case) -> None:
    grid = PowerSystem(case, "zip 0.4 0.3 0.3")
    dae = grid.dae
    x, y, p = random_states(dae, grid, scenarios=8, seed=5, online=False)
    half, t = len(y) // 2, np.zeros(8)
    one, _ = by_newton(dae, x, y, p)
    turned = x.copy()
    turned[angles_of(dae)] += 1.3
    v = (one[:half] + 1j * one[half:]) * np.exp(1.3j)
    guess = np.concatenate([v.real, v.imag])
    other, good = dae.solve(t, turned, guess + 0.01, p, 1e-12)
    rounds = dae.solver.rounds
    again, _ = dae.solve(t, x, one + 0.01, p, 1e-12)
    assert good.all()
    assert np.abs(other - guess).max() < 1e-10
    assert np.abs(again - one).max() < 1e-10
    assert abs(rounds - dae.solver.rounds) <= 1


def test_states_at_the_operating_point_need_one_round() -> None:
    # There, the matrix has the exact slopes: of salient machines and of loads.
    grid = PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3")
    start = grid.scenarios([])
    y, good = grid.dae.solve(np.zeros(1), start.x0, start.y0, start.parameters, 1e-10)
    assert good.all()
    assert grid.dae.solver.rounds == 1
    assert np.abs(y - start.y0).max() < 1e-10
    # A Newton step from 1e-4 pu away leaves an error of the order of 1e-8.
    grid.dae.solve(np.zeros(1), start.x0, start.y0 + 1e-4, start.parameters, 1e-7)
    assert grid.dae.solver.rounds == 2


def test_impedances_are_those_at_the_operating_point_of_the_case() -> None:
    usual, other = (PowerSystem.load("wscc9", load="zip 0.4 0.3 0.3") for _ in range(2))
    usual.scenarios([])
    other.scenarios(fault(7, t=0.1, clear=0.1, trip="5-7"), load_level=0.8)
    for out in ([], [k for k, b in enumerate(usual.case.branches) if b.id == "5-7"]):
        z = []
        for grid in (usual, other):
            built = grid.dae.network.built
            z.append(grid.dae.impedances(grid.dae.topology(built.without(out))))
        np.testing.assert_array_equal(*z)


def test_a_case_that_carries_less_than_its_loads_is_solved_at_what_it_carries() -> None:
    heavy = PowerSystem.load("wscc9").case
    heavy.loads = [replace(load, p=6.0 * load.p, q=6.0 * load.q) for load in heavy.loads]
    grid, usual = PowerSystem(heavy), PowerSystem.load("wscc9")
    levels = {"load_factor": np.full((3, 1), 1 / 6)}
    event = fault(7, t=0.1, clear=0.1)
    one, other = (
        each.simulate(each.scenarios(event, **factor), t_end=1.0, step=1 / 60)
        for each, factor in ((grid, levels), (usual, {}))
    )
    np.testing.assert_allclose(one.delta_coi, other.delta_coi, atol=1e-8)
    with pytest.raises(InputError, match=r"no operating point of its own.*does not converge"):
        grid.dae.impedances(0)


def test_a_scenario_gets_the_same_voltages_alone_and_in_a_batch(case) -> None:
    grid = PowerSystem(case, "zip 0.4 0.3 0.3")
    dae = grid.dae
    x, y, p = random_states(dae, grid, scenarios=40, seed=1, online=False)
    y = by_newton(dae, x, y, p)[0] + 1e-3
    together, good = dae.solve(np.zeros(40), x, y, p, 1e-11)
    assert good.all()
    for k in range(0, 40, 7):
        one = {name: value[..., [k]] for name, value in p.items()}
        alone, _ = dae.solve(np.zeros(1), x[:, [k]], y[:, [k]], one, 1e-11)
        assert np.abs(alone[:, 0] - together[:, k]).max() < 1e-10

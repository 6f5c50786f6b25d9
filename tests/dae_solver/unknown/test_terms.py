"""Terms in the equations of a grid: they act where they say, and the network stays consistent."""

from __future__ import annotations

import numpy as np
import pytest

from dae_solver.physics import PowerSystem, fault, load_step
from dae_solver.physics.terms import frequency_divider
from dae_solver.solver.parameters import take
from dae_solver.solver.system import DAESystem
from dae_solver.unknown import LibraryTerm, LoadRecovery
from dae_solver.unknown.coefficients import TermUnknown
from network_states import by_newton, random_states
from scimind.errors import InputError

EVENTS = (fault(7, t=0.1, clear=0.08, trip="5-7"), load_step(6, t=0.1, p=1.4))


def with_values(term: TermUnknown, *values: float) -> TermUnknown:
    term.values = np.array(values)
    return term


def simulated(grid: PowerSystem, **parameters):
    scenarios = grid.scenarios(*EVENTS, parameters=parameters or None)
    return grid.simulate(scenarios, t_end=1.0, step=1 / 60)


@pytest.fixture(scope="module")
def nominal() -> PowerSystem:
    return PowerSystem.load("wscc9")


def test_a_damping_torque_is_the_parameter_of_the_machines(nominal: PowerSystem) -> None:
    term = with_values(LibraryTerm("torque", ["linear", "quadratic"]), -3.0, -900.0)
    found = simulated(PowerSystem(nominal.case, terms=[term]))
    expected = simulated(nominal, **{"TWOAXIS.D3": np.full(3, 900.0), "TWOAXIS.D": np.full(3, 5.0)})
    assert np.abs(found.delta - expected.delta).max() < 1e-9


def test_a_dead_band_is_that_of_the_governors(nominal: PowerSystem) -> None:
    term = with_values(LibraryTerm("pref", ["dead band"]), 6e-4)
    found = simulated(PowerSystem(nominal.case, terms=[term]))
    ends = {"TGOV1DB.dbU": np.full(3, 6e-4), "TGOV1DB.dbL": np.full(3, -6e-4)}
    assert np.abs(found.delta - simulated(nominal, **ends).delta).max() < 1e-9


def test_a_slope_is_a_torque_by_the_inertia(nominal: PowerSystem) -> None:
    slope = with_values(LibraryTerm("omega", ["linear"]), -0.5)
    found = simulated(PowerSystem(nominal.case, terms=[slope]))
    damping = 2.0 + 0.5 * nominal.dae.machines[0].model.value["M"][:, 0]
    assert np.abs(found.delta - simulated(nominal, **{"TWOAXIS.D": damping}).delta).max() < 1e-9


def test_exponents_of_loads_as_terms_are_the_load_model(nominal: PowerSystem) -> None:
    terms = [
        with_values(LibraryTerm("load.p", ["exponent"]), 1.35),
        with_values(LibraryTerm("load.q", ["exponent"]), 2.6),
    ]
    found = simulated(PowerSystem(nominal.case, terms=terms))
    expected = simulated(PowerSystem(nominal.case, "exponential 1.35 2.6"))
    # Through the fault, below the voltage at which loads turn into impedances, too.
    assert np.abs(found.solution.y).min() < 0.1
    assert np.abs(found.delta - expected.delta).max() < 1e-8


def test_the_network_equations_hold_with_terms(nominal: PowerSystem) -> None:
    term = with_values(LibraryTerm("load.p", ["current", "power", "frequency"]), 0.3, 0.4, 2.0)
    grid = PowerSystem(nominal.case, terms=[term, LoadRecovery("load.q")])
    runs = simulated(grid)
    for scenario in range(2):
        p = {
            k: np.repeat(v[..., [scenario]], len(runs.t), -1)
            for k, v in runs.scenarios.parameters.items()
        }
        p["network"] = runs.networks(scenario)
        before = runs.t < 0.1
        x, y = runs.solution.x[scenario].T, runs.solution.y[scenario].T
        residual = np.abs(grid.dae.g(runs.t, x, y, p))
        assert (residual[:, before] if scenario else residual).max() < 1e-7


@pytest.mark.parametrize("load", ["zip 1 0 0", "zip 0.4 0.3 0.3"])
def test_voltages_with_terms_are_those_of_newtons_method(nominal: PowerSystem, load: str) -> None:
    term = with_values(LibraryTerm("load.p", ["current", "power", "frequency"]), 0.2, 0.2, 2.0)
    terms = [term, LoadRecovery("load.q"), with_values(LibraryTerm("torque", ["linear"]), -3.0)]
    parameters = {"kpf": np.full(3, 1.5), "TWOAXIS.xd1": np.array([0.06, 0.12, 0.18])}
    grid = PowerSystem(nominal.case, load, terms=terms, parameters=parameters)
    dae = grid.dae
    x, y0, p = random_states(dae, grid, scenarios=24, seed=2, online=False)
    x[-3:] = np.random.default_rng(1).uniform(-0.2, 0.2, (3, 24))  # of the recovery
    expected, some = by_newton(dae, x, y0, p)
    x, expected, p = x[:, some], expected[:, some], take(p, some)
    guess, t = expected + 0.01, np.zeros(x.shape[1])
    found, good = dae.solve(t, x, guess, p, 1e-11)
    assert good.all()
    assert np.abs(found - expected).max() < 1e-10
    assert dae.solver.rounds <= 15
    slope = dae.jacobian_y(t, x, guess, p)
    assert np.abs(slope - DAESystem.jacobian_y(dae, t, x, guess, p)).max() < 1e-5


def test_loads_that_follow_the_frequency_alone_need_one_round(nominal: PowerSystem) -> None:
    start = nominal.scenarios([], parameters={"kpf": np.full(3, 1.5), "kqf": np.ones(3)})
    x, y = start.x0.copy(), start.y0
    found, good = nominal.dae.solve(np.zeros(1), x, y, start.parameters, 1e-10)
    assert good.all()
    assert nominal.dae.solver.rounds == 1
    assert np.abs(found - y).max() < 1e-10


def test_terms_leave_the_start_at_rest(nominal: PowerSystem) -> None:
    terms = [
        with_values(LibraryTerm("torque", ["linear", "voltage"]), -3.0, 0.3),
        with_values(LibraryTerm("load.p", ["exponent"]), 1.1),
        LoadRecovery("load.q").term(),
    ]
    grid = PowerSystem(nominal.case, terms=terms)
    scenarios = grid.scenarios([], load_level=[0.9])
    slope = grid.dae.f(0.0, scenarios.x0, scenarios.y0, scenarios.parameters)
    assert np.abs(slope).max() < 1e-9
    assert np.abs(grid.dae.g(0.0, scenarios.x0, scenarios.y0, scenarios.parameters)).max() < 1e-9


def test_parameters_of_scenarios_start_at_rest(nominal: PowerSystem) -> None:
    values = {"IEEET1.KA": np.array([40.0, 30.0, 20.0]), "TWOAXIS.xq": np.array([0.1, 0.9, 1.3])}
    scenarios = nominal.scenarios([], parameters=values)
    slope = nominal.dae.f(0.0, scenarios.x0, scenarios.y0, scenarios.parameters)
    assert np.abs(slope).max() < 1e-9
    assert nominal.dae.machines[0].model.value["xq"].shape == (3, 1)


def test_a_load_recovers_exponentially(nominal: PowerSystem) -> None:
    # A small step of the voltage set-points: the state follows v^a - v^2 with its time constant.
    term = LoadRecovery("load.p")
    term.values = np.array([0.5, 0.7])
    grid = PowerSystem(nominal.case, terms=[term])
    runs = grid.simulate(grid.scenarios(load_step(6, t=0.1, p=1.3)), t_end=3.0, step=1 / 120)
    z = np.stack([runs.solution[f"load.p recovery.recovery:{k}"][0] for k in ("L5", "L6", "L8")])
    at = grid.dae.load_at
    half = len(grid.dae.kept)
    v = np.hypot(runs.solution.y[0][:, at], runs.solution.y[0][:, at + half]).T
    v /= runs.scenarios.parameters["v0"]
    drive = v**0.5 - v**2
    expected = np.zeros_like(z)
    step = runs.t[1] - runs.t[0]
    for k in range(len(runs.t) - 1):  # exponential step, the drive linear within it
        decay = np.exp(-step / 0.7)
        mean = 0.5 * (drive[:, k] + drive[:, k + 1])
        expected[:, k + 1] = decay * expected[:, k] + (1 - decay) * mean
    assert np.abs(z).max() > 5e-3
    # Trapezoid on one side, an event between two samples on the other.
    assert np.abs(z - expected).max() < 0.01 * np.abs(z).max() + 2e-4


def test_loads_follow_the_frequency(nominal: PowerSystem) -> None:
    values = {"kpf": np.full(3, 2.0), "kqf": np.zeros(3)}
    scenarios = nominal.scenarios([], parameters=values)
    x = scenarios.x0.copy()
    x[nominal.dae.rows("omega")] += 0.01
    p = scenarios.parameters
    moved = nominal.dae.g(0.0, x, scenarios.y0, p)
    # Equal speeds are the frequency everywhere: the loads take 2 % more active power.
    at, half = nominal.dae.load_at, len(nominal.dae.kept)
    v = scenarios.y0[:half] + 1j * scenarios.y0[half:]
    current = moved[:half] + 1j * moved[half:]
    assert v[at] * np.conj(current[at]) == pytest.approx(0.02 * p["p0"], abs=1e-9)


def test_the_frequency_divider_is_a_weighted_mean(nominal: PowerSystem) -> None:
    share = frequency_divider(nominal.dae)
    assert share.shape == (3, 3)
    assert share.sum(1) == pytest.approx(1.0)
    assert (share > 0).all()
    # Bus 8 is nearer to machine 3 and farther from machine 1 than bus 5.
    assert share[2, 2] > share[0, 2]
    assert share[2, 0] < share[0, 0]


def test_wrong_terms_are_refused(nominal: PowerSystem) -> None:
    one = with_values(LibraryTerm("torque", ["linear"]), 0.0)
    with pytest.raises(InputError, match="two terms are named 'torque'"):
        PowerSystem(nominal.case, terms=[one, one])
    nowhere = with_values(LibraryTerm("elsewhere", ["linear"]), 0.0)
    with pytest.raises(InputError, match=r"neither a place .* nor a state"):
        PowerSystem(nominal.case, terms=[nowhere])
    with pytest.raises(InputError, match="'vref' is no parameter of a model"):
        PowerSystem(nominal.case, parameters={"vref": np.ones(3)}).scenarios([])
    with pytest.raises(InputError, match=r"a load recovers at load\.p or load\.q"):
        LoadRecovery("torque")

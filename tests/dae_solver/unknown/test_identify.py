"""Hidden parameters and terms are found from few trajectories, with their uncertainty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dae_solver.physics import PowerSystem, load_step
from dae_solver.unknown import (
    LibraryTerm,
    LoadRecovery,
    Measurements,
    NeuralTerm,
    ParametricTerm,
    identify,
)
from dae_solver.unknown.files import read_measurements, write_measurements
from dae_solver.unknown.least_squares import derivatives
from dae_solver.unknown.measurements import Channel
from dae_solver.unknown.page import held_out
from dae_solver.unknown.parametric import dead_band
from dae_solver.unknown.problem import Problem
from scimind.errors import InputError
from unknown_cases import exact, hidden

STEP = 1 / 30
THREE = np.ones(3)


@pytest.fixture(scope="module")
def damped() -> tuple[PowerSystem, Measurements]:
    return hidden({"TWOAXIS.D3": 900.0 * THREE})


@pytest.mark.parametrize(("noise", "within"), [(0.0, 0.05), (1.0, 0.15)], ids=["exact", "noisy"])
@pytest.mark.parametrize(
    ("parameters", "unknown", "values"),
    [
        ({"alpha": 1.35 * THREE, "beta": 2.6 * THREE}, ["alpha", "beta"], [1.35, 2.6]),
        ({"kpf": 1.5 * THREE}, ["kpf"], [1.5]),
        (
            {"TWOAXIS.M": np.array([47.28, 12.8, 6.02]) * 1.2},
            [ParametricTerm("TWOAXIS.M", relative=True)],
            [1.2],
        ),
        (
            {"TGOV1DB.dbU": 6e-4 * THREE, "TGOV1DB.dbL": -6e-4 * THREE},
            [dead_band()],
            [6e-4],
        ),
        ({"IEEET1.KA": 35.0 * THREE}, ["IEEET1.KA"], [35.0]),
    ],
    ids=["exponents", "frequency", "inertia", "dead band", "gain"],
)
def test_a_hidden_parameter_is_found_from_phasors(
    parameters, unknown, values, noise, within
) -> None:
    grid, clean = hidden(parameters)
    params = [each for each in unknown if isinstance(each, str)]
    terms = [each for each in unknown if not isinstance(each, str)]
    # The measurements are of half the step.
    fit = identify(grid, clean.noisy(3, noise), terms, params, step=STEP)
    assert fit.fit.theta == pytest.approx(values, rel=within)
    assert fit.fit.converged


def test_a_missing_limit_of_the_exciters_is_found() -> None:
    # The nominal limit of 999 is never reached, so it has no effect until lower ones are tried.
    grid, clean = hidden({"IEEET1.VRMAX": 2.2 * THREE})
    limit = ParametricTerm("IEEET1.VRMAX", scale=0.5, low=1.95, tries=[2.0, 3.0, 5.0])
    fit = identify(grid, clean.noisy(1), [limit], step=STEP)
    assert fit.fit.theta == pytest.approx([2.2], rel=0.05)
    with pytest.raises(InputError, match=r"IEEET1\.VRMAX: no small change has an effect"):
        identify(grid, clean, params=["IEEET1.VRMAX"], step=STEP)


def test_phasors_at_half_of_the_buses_suffice() -> None:
    grid, half = hidden({"alpha": 1.35 * THREE, "beta": 2.6 * THREE}, buses=[1, 4, 5, 9])
    assert {c.kind: c.places for c in half.channels}["omega"] == (0,)
    fit = identify(grid, half.noisy(2), params=["alpha", "beta"], step=STEP)
    assert fit.fit.theta == pytest.approx([1.35, 2.6], rel=0.15)


def test_the_right_candidate_is_chosen_from_many(damped) -> None:
    grid, clean = damped
    fit = identify(grid, clean.noisy(1), [LibraryTerm("torque")], step=STEP, most=2)
    assert fit.needed == ("torque: quadratic",)
    nominal = np.array([c.nominal for c in fit.problem.coefficients])
    for choice in fit.choices:
        out = ~choice.fit.free
        assert np.array_equal(choice.fit.theta[out], nominal[out])
    assert fit.formula.endswith(" dw |dw|")
    value = fit.table().set_index("coefficient").loc["torque: c dw |dw|"]
    assert abs(value["value"] / -900.0 - 1.0) < 0.05
    assert 0.0 < value["std"] < 9.0


def test_nothing_is_chosen_where_nothing_is_missing() -> None:
    grid = PowerSystem.load("wscc9")
    data = exact(grid, grid).noisy(5)
    fit = identify(grid, data, [LibraryTerm("torque")], step=STEP, most=2)
    assert fit.needed == ()
    assert fit.formula == "torque += 0"
    assert fit.explained


def test_a_network_finds_a_torque_whose_form_it_does_not_know(damped) -> None:
    grid, clean = damped
    fit = identify(grid, clean.noisy(1), [NeuralTerm("torque", ["speed"], 6)], step=STEP, rounds=4)
    speed = clean.channels[-1].values - 1.0
    # Between the deviations that most samples lie within.
    u = np.linspace(*np.quantile(speed, [0.02, 0.98]), 40)
    middle, std = fit.band(0, {"speed": u[None]})
    true = -900.0 * u * np.abs(u)
    assert np.abs(middle - true).max() < 0.15 * np.abs(true).max()
    assert (std > 0).any()
    assert "network(speed)" in fit.formula
    # Held out: another disturbance.
    events = [load_step(8, t=0.2, p=0.6)]
    true_grid = PowerSystem(grid.case, parameters={"TWOAXIS.D3": 900.0 * THREE})
    test = exact(grid, true_grid, events=events)
    rows = held_out(fit, test).set_index("signal")
    assert rows.loc["angle", "identified"] < 0.2 * rows.loc["angle", "nominal"]


def test_loads_that_recover_are_found() -> None:
    grid = PowerSystem.load("wscc9")
    term = LoadRecovery("load.p")
    term.values = np.array([0.6, 0.8])
    clean = exact(grid, PowerSystem(grid.case, terms=[term]))
    fit = identify(grid, clean.noisy(1), [LoadRecovery("load.p")], step=STEP)
    assert fit.fit.theta == pytest.approx([0.6, 0.8], rel=0.15)


@pytest.mark.nightly
def test_the_true_value_is_within_three_deviations_over_seeds(damped) -> None:
    grid, _ = damped
    term = ParametricTerm("TWOAXIS.D3", scale=300.0)
    # The measurements come from the step of the fit, so that noise is all that is between them.
    data = exact(grid, PowerSystem(grid.case, parameters={"TWOAXIS.D3": 900.0 * THREE}), t_end=1.0)
    fits = [
        identify(grid, data.noisy(seed), [term], params=["TWOAXIS.D"], rounds=4, step=1 / 60)
        for seed in range(5)
    ]
    off = np.array([(f.fit.theta - [900.0, 2.0]) / f.std for f in fits])
    assert np.abs(off).max() < 3.0
    # Ten draws of a normal distribution are not all near its middle either.
    assert 0.4 < np.sqrt(np.mean(off**2)) < 1.7
    assert all(0.9 < f.reduced_chi2 < 1.1 for f in fits)
    both = fits[0].std_by_scenarios / fits[0].std
    assert ((both > 0.05) & (both < 5.0)).all()


def test_derivatives_are_those_of_wider_quotients(damped) -> None:
    grid, clean = damped
    problem = Problem(grid, clean, [ParametricTerm("TWOAXIS.D3", scale=300.0)], step=STEP)
    _, jacobian = derivatives(problem.residuals, problem.coefficients, np.array([600.0]))
    ends = problem.residuals(np.array([[590.0], [610.0]]))
    wide = (ends[1] - ends[0]) / 20.0
    assert np.abs(jacobian[:, 0] - wide).max() < 0.02 * np.abs(wide).max()


def test_the_identified_grid_is_simulated_like_any_other(damped, tmp_path: Path) -> None:
    grid, clean = damped
    fit = identify(grid, clean, [ParametricTerm("TWOAXIS.D3", scale=300.0)], step=STEP)
    scenarios = grid.scenarios(load_step(8, t=0.2, p=0.6))
    one = fit.simulate(scenarios, t_end=1.0)
    other = fit.grid.simulate(fit.grid.scenarios(load_step(8, t=0.2, p=0.6)), t_end=1.0)
    assert np.array_equal(one.delta, other.delta)
    true = PowerSystem(grid.case, parameters={"TWOAXIS.D3": 900.0 * THREE})
    runs = true.simulate(true.scenarios(load_step(8, t=0.2, p=0.6)), t_end=1.0)
    nominal = grid.simulate(scenarios, t_end=1.0)
    assert np.abs(one.delta - runs.delta).max() < 0.2 * np.abs(nominal.delta - runs.delta).max()
    fit.report(clean).write(tmp_path / "report.html")
    assert "TWOAXIS.D3" in (tmp_path / "report.html").read_text()


def test_a_wrong_form_is_not_called_explained(damped) -> None:
    grid, clean = damped
    fit = identify(grid, clean.noisy(0), params=["TWOAXIS.D"], step=STEP)
    assert not fit.explained
    assert "not explained" in fit.report().html()


def test_measurements_come_back_from_a_file(damped, tmp_path: Path) -> None:
    grid, clean = damped
    events = [
        "fault bus 7 t 0.2 clear 0.08 trip 5-7",
        "load_step bus 6 t 0.2 p 1.4",
        "line_trip line 4-6 t 0.2",
    ]
    path = tmp_path / "measured.npz"
    write_measurements(clean, grid, path, events)
    back = read_measurements(path, grid)
    assert back.scenarios.texts == clean.scenarios.texts
    assert np.array_equal(back.scenarios.x0, clean.scenarios.x0)
    for one, other in zip(back.channels, clean.channels, strict=True):
        assert (one.kind, one.places, one.sigma) == (other.kind, other.places, other.sigma)
        assert np.array_equal(one.values, other.values)


def test_samples_at_events_and_without_voltage_do_not_count(damped) -> None:
    _, clean = damped
    v, angle = clean.channels[:2]
    near = np.isclose(clean.t, 0.2)
    assert near.sum() == 1
    assert not clean.used(v)[:, near].any()
    assert clean.used(v)[1].sum() == (len(clean.t) - 1) * 9
    assert not clean.used(angle)[v.values < 0.2].any()
    omega = clean.channels[2]
    assert clean.used(omega).all()


def test_wrong_requests_are_refused(damped, tmp_path: Path) -> None:
    grid, clean = damped
    cases = [
        ({"params": ["TWOAXIS.Dx"]}, "there is no parameter 'TWOAXIS.Dx'"),
        ({"params": ["TWOAXIS.M"]}, "say each .* or relative"),
        ({"params": ["TWOAXIS.D3"]}, "give its scale"),
        ({}, "nothing is unknown"),
        ({"params": ["TWOAXIS.D", "TWOAXIS.D"]}, "TWOAXIS.D is unknown twice"),
        ({"params": ["TWOAXIS.D"], "criterion": "best"}, "give bic or aic"),
    ]
    for options, message in cases:
        with pytest.raises(InputError, match=message):
            identify(grid, clean, step=STEP, **options)
    zip_grid = PowerSystem(grid.case, "zip 0.4 0.3 0.3")
    with pytest.raises(InputError, match="alpha is an exponent, and the loads of"):
        identify(zip_grid, clean, params=["alpha"])
    with pytest.raises(InputError, match="the candidate 'exponent' replaces an impedance"):
        identify(zip_grid, clean, [LibraryTerm("load.p")])
    with pytest.raises(InputError, match="there is no candidate 'quintic' for torque"):
        LibraryTerm("torque", ["quintic"])
    with pytest.raises(InputError, match="signals there are: v, frequency"):
        NeuralTerm("load.p", ["speed"])
    with pytest.raises(InputError, match=r"scenarios \[7\] are not among the 3"):
        clean.of([7])
    with pytest.raises(InputError, match=r"has shape \(3, 5, 1\), not \(3, 61, 1\)"):
        Measurements(
            scenarios=clean.scenarios,
            t=clean.t,
            channels=(Channel(kind="v", places=(0,), values=np.ones((3, 5, 1)), sigma=1e-3),),
            until=clean.until,
        )
    own = grid.scenarios([], parameters={"TWOAXIS.D": 3.0 * THREE})
    with pytest.raises(InputError, match=r"the scenarios have TWOAXIS\.D of their own"):
        identify(
            grid,
            Measurements(
                scenarios=own,
                t=clean.t,
                channels=(Channel(kind="v", places=(0,), values=np.ones((1, 37, 1)), sigma=1.0),),
                until=np.array([np.inf]),
            ),
            params=["TWOAXIS.D"],
        )
    path = tmp_path / "wrong.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"cannot be read as \.npz"):
        read_measurements(path, grid)
    np.savez(path, t=clean.t, event=np.array(["none"]), speed=np.ones((1, 37, 3)))
    with pytest.raises(InputError, match="'speed' is no signal; signals are: v, angle, delta"):
        read_measurements(path, grid)

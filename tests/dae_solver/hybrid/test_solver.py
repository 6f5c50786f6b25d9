"""The hybrid solver: bounds that hold, exact events, consistent voltages, honest fallback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dae_solver.hybrid import solver
from dae_solver.hybrid.calibration import angle_errors, calibrate, reference
from dae_solver.hybrid.certificate import Certificate, conformal_quantile
from dae_solver.hybrid.outputs import OperatorPiece, SampledPiece
from dae_solver.hybrid.residual import Start, residual, slopes
from dae_solver.hybrid.solver import CLASSICAL, HybridRun
from dae_solver.model.features import Features, turned
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics import (
    Disturbance,
    PowerSystem,
    Trajectories,
    fault,
    generator_trip,
    line_trip,
    load_step,
    pref_step,
    trip_reclose,
    unsuccessful_reclose,
    vref_step,
)
from dae_solver.physics.trajectories import center
from dae_solver.solver import TimeEvent
from dae_solver.trained import Trained as TrainedRun
from scimind.errors import InputError
from trained_operator import Trained


def answer(trained: Trained, operator: TrajectoryOperator | None = None) -> Trajectories:
    return trained.grid.simulate(
        trained.scenarios,
        t_end=5.0,
        every=1 / 30,
        solver="hybrid",
        operator=operator or trained.operator,
        audit=0.0,
    )


def changed(operator: TrajectoryOperator, by: float) -> TrajectoryOperator:
    """With every weight off by a random share; ``by`` above 1 makes them meaningless.

    Nobody notes of which weights its certificates were: what is left is what residuals tell.
    """
    rng = np.random.default_rng(11)
    weights = {
        name: np.asarray(value * (1.0 + by * rng.normal(size=value.shape)), np.float32)
        for name, value in operator.weights.items()
    }
    notes = [each | {"digest": ""} for each in operator.facts["certificates"]]
    return replace(operator, weights=weights, facts=operator.facts | {"certificates": notes})


@pytest.fixture(scope="module")
def clean(trained: Trained) -> Trajectories:
    """What the operator answers as it was trained."""
    return answer(trained)


def test_errors_stay_within_certificates_on_a_line_never_seen(
    trained: Trained, clean: Trajectories
) -> None:
    runs = clean
    error = angle_errors(trained.truth, runs.solution.x)
    assert (error <= 3.0).all()
    assert (error <= runs.certificate).mean() >= 0.95
    assert runs.solution.success.all()
    # The networks do some of the work, and it is said which.
    assert {"net", "corrected", "classical"} >= set(runs.source)
    assert runs.solution.windows[:2].sum() > 0.2 * runs.solution.windows.sum()
    stable = trained.truth.stable
    np.testing.assert_array_equal(runs.stable[stable], True)


def test_meaningless_weights_cost_time_and_no_accuracy(
    trained: Trained, clean: Trajectories
) -> None:
    """The engine takes over, and is as exact as it is alone."""
    runs = answer(trained, changed(trained.operator, 5.0))
    error = angle_errors(trained.truth, runs.solution.x)
    assert (error <= 3.0).all()
    windows = runs.solution.windows
    assert windows[:2].sum() < 0.1 * clean.solution.windows[:2].sum()
    assert runs.solution.refused.sum() > clean.solution.refused.sum()
    assert runs.source.count("classical") > 0.9 * len(runs.source)
    certificate = Certificate.of(trained.operator, 3.0)
    engine = trained.grid.simulate(
        trained.scenarios, every=1 / 30, step=certificate.step, tolerance=1e-5
    )
    own = angle_errors(trained.truth, engine.solution.x)
    alone = windows[:2].sum(0) == 0
    assert alone.sum() > 0.8 * len(alone)
    # Its steps lie elsewhere: they begin anew at events.
    assert (error[alone] <= 2.0 * own[alone] + 0.01).all()


def test_corrupted_weights_are_not_believed(trained: Trained, clean: Trajectories) -> None:
    """Off by 10 % they are refused more often, and what is accepted stays within its bound."""
    runs = answer(trained, changed(trained.operator, 0.1))
    error = angle_errors(trained.truth, runs.solution.x)
    assert (error <= 3.0).all()
    assert (error <= runs.certificate).mean() >= 0.95
    flagged, before = runs.solution.refused > 0, clean.solution.refused > 0
    assert flagged.sum() > before.sum()
    assert runs.solution.windows[:2].sum() < clean.solution.windows[:2].sum()


def test_a_certificate_is_of_the_weights_that_were_calibrated(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    """Others are not believed, however small the change: the engine does everything."""
    operator = replace(changed(trained.operator, 0.1), facts=trained.operator.facts)
    with caplog.at_level("WARNING", logger="dae_solver"):
        runs = answer(trained, operator)
    assert "the operator's weights are not those" in caplog.text
    assert set(runs.source) == {"classical"}
    assert (runs.solution.refused > 0).all()
    error = angle_errors(trained.truth, runs.solution.x)
    assert (error <= np.minimum(runs.certificate, 3.0)).all()
    name = next(iter(operator.weights))
    assert Certificate.of(trained.operator, 3.0).void is False
    other = {**trained.operator.weights, name: operator.weights[name]}
    assert Certificate.of(replace(trained.operator, weights=other), 3.0).void
    operator.weights = {name: operator.weights[name]}  # fewer than when it was asked before
    assert Certificate.of(operator, 3.0).void


def test_numbers_of_an_operator_from_a_file_stay_as_they_are(trained_run: Path) -> None:
    """A change in place would go unnoticed."""
    operator = TrajectoryOperator.load(trained_run)
    with pytest.raises(ValueError, match="read-only"):
        next(iter(operator.weights.values()))[...] = 0.0


@pytest.mark.parametrize(
    "far",
    [
        vref_step("G2", t=0.4, by=0.3),
        pref_step("G3", t=0.4, factor=0.1),
        load_step(5, t=0.4, p=3.0),
    ],
    ids=["voltage", "power", "load"],
)
def test_windows_far_from_the_training_are_refused(trained: Trained, far: Disturbance) -> None:
    grid = trained.grid
    scenarios = grid.scenarios(far, load_step(5, t=0.4, p=1.1))
    runs = grid.simulate(
        scenarios, every=1 / 30, solver="hybrid", operator=trained.operator, audit=0.0
    )
    assert runs.source[0] == "classical"
    assert runs.solution.windows[:CLASSICAL, 0].sum() == 0
    assert runs.solution.refused[0] == solver.OFTEN
    assert runs.solution.windows[:CLASSICAL, 1].sum() > 0
    exact = grid.simulate(scenarios, every=1 / 30, step=1 / 240)
    assert (angle_errors(exact, runs.solution.x) <= runs.certificate).all()


def test_the_operator_follows_the_second_fault_and_no_third(trained: Trained) -> None:
    """Training has two at most: up to the last one, and beyond that number, the engine it is."""
    grid = trained.grid
    two = unsuccessful_reclose(7, t=0.3, clear=0.08, trip="5-7", after=0.4)
    scenarios = grid.scenarios(
        two,
        [fault(7, t=0.3, clear=0.05), line_trip("4-6", t=1.5)],
        [load_step(5, t=0.2, p=1.1), fault(7, t=0.9, clear=0.05)],
        [two, fault(5, t=2.0, clear=0.05)],
    )
    truth = reference(grid, scenarios, 5.0, 1 / 30)
    networks = HybridRun(
        grid=grid.dae,
        operator=trained.operator,
        certificate=Certificate.of(trained.operator, 3.0),
        tolerance=1e-6,
        refuse=False,
    )
    asked, _ = networks.solve(scenarios, truth.t)
    ours = [piece for piece in asked.outputs.pieces if isinstance(piece, OperatorPiece)]
    for scenario, cleared in enumerate((0.86, 0.35, 0.95)):
        begun = np.concatenate([piece.begin[piece.scenarios == scenario] for piece in ours])
        assert begun.min() == pytest.approx(cleared)
    assert asked.windows[:CLASSICAL, 3].sum() == 0
    runs = grid.simulate(
        scenarios, every=1 / 30, solver="hybrid", operator=trained.operator, audit=0.0
    )
    assert runs.solution.refused[3] == 1
    assert (angle_errors(truth, runs.solution.x) <= runs.certificate).all()


def test_a_tighter_bound_is_kept(trained: Trained, clean: Trajectories) -> None:
    """The angle that is asked for decides: less of it costs more of the engine."""
    loose = Certificate.of(trained.operator, 3.0)
    tight = replace(loose, bound=0.1, floor=0.01, classical=0.02, step=1 / 60)
    facts = trained.operator.facts | {"certificates": [loose.facts(), tight.facts()]}
    operator = replace(trained.operator, facts=facts)
    runs = trained.grid.simulate(
        trained.scenarios, every=1 / 30, solver="hybrid", operator=operator, certify=0.1, audit=0.0
    )
    error = angle_errors(trained.truth, runs.solution.x)
    assert (error <= 0.1).all()
    assert error.max() < 0.2 * angle_errors(trained.truth, clean.solution.x).max()
    assert runs.solution.windows[2].sum() > clean.solution.windows[2].sum()


def test_networks_alone_are_worse_and_are_flagged(trained: Trained) -> None:
    """What the certificate is for: without it errors are large, and its bound tells which."""
    certificate = Certificate.of(trained.operator, 3.0)
    run = HybridRun(
        grid=trained.grid.dae,
        operator=trained.operator,
        certificate=certificate,
        tolerance=1e-6,
        refuse=False,
    )
    solution, bound = run.solve(trained.scenarios, trained.truth.t)
    error = angle_errors(trained.truth, solution.x)
    assert error.max() > 3.0
    assert (error[bound <= 3.0] <= 3.0).all()


def test_events_leave_states_alone_and_solve_the_network(trained: Trained) -> None:
    """Steps are not smeared: states go on, voltages jump to solutions of the new network."""
    grid = trained.grid
    scenarios = grid.scenarios(
        [fault(7, t=0.7371, clear=0.0613, trip="5-7"), vref_step("G2", t=1.9, by=0.02)],
        trip_reclose("4-6", t=0.2001, after=0.4),
        [load_step(5, t=0.5, p=1.2), load_step(6, t=0.5 + 1 / 60, p=0.8)],
        line_trip("8-9", t=3.217),
    )
    runs = grid.simulate(scenarios, every=1 / 60, solver="hybrid", operator=trained.operator)
    times = [[event.time for event in runs.solution.events_of(k)] for k in range(4)]
    assert times[0] == [0.7371, 0.7371 + 0.0613, 1.9]
    assert times[1] == [0.2001, 0.2001 + 0.4]
    assert times[2] == [0.5, 0.5 + 1 / 60]
    assert times[3] == [3.217]
    for event in runs.solution.events:
        np.testing.assert_array_equal(event.x_minus, event.x_plus)
        jump = np.abs(event.y_plus - event.y_minus).max()
        assert (jump > 1e-4) == ("vref" not in event.name)
    exact = grid.simulate(scenarios, every=1 / 60, step=1 / 120)
    for ours, theirs in zip(runs.solution.events, exact.solution.events, strict=True):
        assert (ours.time, ours.name, ours.scenario) == (theirs.time, theirs.name, theirs.scenario)
        # Voltages follow from the states: as wrong as those, no more.
        off = np.abs(ours.x_plus - theirs.x_plus).max()
        assert np.abs(ours.y_plus - theirs.y_plus).max() <= 3.0 * off + 1e-6


def test_a_tripped_machine_rests_and_is_apart_from_nobody(trained: Trained) -> None:
    """Its angle stands still while the others turn on: that is no loss of synchronism."""
    grid = trained.grid
    machines = grid.dae.machine_ids
    scenarios = grid.scenarios(*(generator_trip(each, t=0.3) for each in machines))
    exact = grid.simulate(scenarios, t_end=5.0, every=1 / 30, step=1 / 60)
    assert np.ptp(exact.delta[1, -1]) > np.pi
    assert np.isinf(exact.separated).all()
    runs = grid.simulate(scenarios, every=1 / 30, solver="hybrid", operator=trained.operator)
    assert (runs.solution.ended == 5.0).all()
    assert runs.stable.all()
    assert (angle_errors(exact, runs.solution.x) <= runs.certificate).all()


def test_the_centre_is_that_of_the_machines_that_are_left(trained: Trained) -> None:
    grid = trained.grid
    runs = grid.simulate(grid.scenarios(generator_trip("G2", t=0.3)), t_end=3.0, every=0.1)
    after = runs.t > 0.3
    assert np.isnan(runs.delta_coi[0, after, 1]).all()
    assert not np.isnan(runs.delta_coi[0, ~after]).any()
    left = [0, 2]
    for times, of in ((~after, [0, 1, 2]), (after, left)):
        balance = runs.delta_coi[0][np.ix_(times, of)] @ grid.dae.inertia[of]
        np.testing.assert_allclose(balance, 0.0, atol=1e-9)
    assert np.abs(np.ptp(runs.delta_coi[0, after][:, left], axis=1)).max() < np.pi


def test_scenarios_do_not_depend_on_their_batch(trained: Trained, clean: Trajectories) -> None:
    some = np.array([3, 17, 41])
    part = trained.grid.simulate(
        trained.scenarios.take(some),
        t_end=5.0,
        every=1 / 30,
        solver="hybrid",
        operator=trained.operator,
        audit=0.0,
    )
    difference = np.abs(part.solution.x - clean.solution.x[some])
    # Networks of a lone window in single precision, of several in 16 bits, by a matrix unit.
    assert np.nanmax(difference) < 2e-2
    angles, inertia = trained.grid.dae.rows("delta"), trained.grid.dae.inertia
    ours, theirs = (center(x[..., angles], inertia) for x in (part.solution.x, clean.solution.x))
    assert np.nanmax(np.abs(np.degrees(ours - theirs[some]))) < 0.5  # of 3


def test_answers_do_not_depend_on_what_the_grid_solved_before(trained_run: Path) -> None:
    answers = []
    for before in (1.0, 0.8):
        run = TrainedRun.load(trained_run)
        run.grid.scenarios([], load_level=before)
        scenarios = run.grid.scenarios(load_step(5, t=0.2, p=1.3), line_trip("8-9", t=0.2))
        answers.append(
            run.grid.simulate(scenarios, t_end=3.0, solver="hybrid", operator=run.operator)
        )
    np.testing.assert_array_equal(answers[0].solution.x, answers[1].solution.x)
    assert (answers[0].solution.windows[:CLASSICAL].sum(0) > 0).any()


def test_trajectories_turn_with_their_start(trained: Trained) -> None:
    """The operator sees no absolute angle."""
    start, grid = trained.windows.start, trained.grid.dae
    some = start.take(np.arange(20))
    rows = grid.rows("delta")
    x = some.x.copy()
    x[rows] += 0.7
    half = len(some.y) // 2
    v = (some.y[:half] + 1j * some.y[half:]) * np.exp(0.7j)
    back_x, back_y, angle = turned(grid, x, np.concatenate([v.real, v.imag]))
    np.testing.assert_allclose(back_x, some.x, atol=1e-12)
    np.testing.assert_allclose(back_y, some.y, atol=1e-12)
    np.testing.assert_allclose(angle, 0.7, atol=1e-12)
    seen = Features(grid)
    f = np.asarray(grid.f(0.0, some.x, some.y, some.p))
    np.testing.assert_array_equal(
        seen(back_x, back_y, f, some.p).shape, (trained.windows.features.shape[0], 20)
    )


def test_residual_vanishes_for_true_trajectories_and_grows_with_the_error(
    trained: Trained,
) -> None:
    grid, operator, windows = trained.grid.dae, trained.operator, trained.windows
    some = windows.take(np.arange(0, len(windows), 9))
    truth = operator.modes.encode(some.deviation)
    left = residual(grid, operator, some.start, truth, 1e-8)
    rng = np.random.default_rng(3)
    spread = operator.modes.spread[:, None]
    error = (0.02 * spread * rng.normal(size=truth.shape)).astype(np.float32)
    one = residual(grid, operator, some.start, truth + error, 1e-8)
    two = residual(grid, operator, some.start, truth + 2 * error, 1e-8)
    assert np.median(left.size) < 0.05 * np.median(one.size)
    assert np.median(two.size / one.size) == pytest.approx(2.0, rel=0.1)


def test_residual_is_that_of_the_collocation_equations(trained: Trained) -> None:
    """Computed from scratch: x(t) - x(0) against the integral of f, for one window."""
    grid, operator = trained.grid.dae, trained.operator
    one = trained.windows.take(np.array([5]))
    start = one.start
    coefficients = operator.modes.encode(one.deviation) * np.float32(1.1)
    left = residual(grid, operator, start, coefficients, 1e-10)
    modes = operator.modes
    deviation = modes.decode(coefficients)
    center = np.tensordot(modes.inertia, deviation[modes.angles], 1)
    f, _, solved = slopes(grid, start, deviation, center, 1e-10)
    assert solved.all()
    for k in range(len(operator.window.nodes)):
        x = start.x + deviation[:, k]
        y, _ = grid.solve(0.0, x, start.y, start.p, 1e-11)
        np.testing.assert_allclose(f[:, k], grid.f(0.0, x, y, start.p), atol=1e-6)
    moved = np.einsum("jk,skw->sjw", operator.window.integrate, f)
    expected = modes.encode(moved - deviation)
    np.testing.assert_allclose(left.coefficients, expected, atol=2e-3)


def test_windows_without_voltages_are_refused(trained: Trained) -> None:
    start = trained.windows.start.take(np.arange(3))
    wild = np.full((len(trained.operator.modes.basis), 3), 1e6, np.float32)
    left = residual(trained.grid.dae, trained.operator, start, wild, 1e-8)
    assert np.isinf(left.size[~left.solved]).all()
    assert (left.size > 100.0).all()


def test_growth_is_between_the_steady_spread_and_separation() -> None:
    spread = np.radians([0.0, 60.0, 80.0, 110.0, 180.0, 1e9])
    growth = Certificate.growth(spread)
    np.testing.assert_allclose(growth, np.exp([0.0, 0.0, 0.0, 1.0, 100 / 30, 100 / 30]))


def test_the_engine_may_err_more_where_machines_nearly_part(trained: Trained) -> None:
    """Its certificate is its error where they stay together times the growth of errors."""
    grid = trained.grid
    scenarios = grid.scenarios(*[fault(7, t=0.1, clear=clear) for clear in (0.05, 0.15)])
    certificate = replace(Certificate.of(trained.operator, 3.0), corrections=0, factor=1e6)
    run = HybridRun(
        grid=grid.dae, operator=trained.operator, certificate=certificate, tolerance=1e-8
    )
    solution, bounds = run.solve(scenarios, np.linspace(0.0, 2.0, 41))
    assert solution.windows[:CLASSICAL].sum() == 0
    assert run.spread[1] > np.radians(90.0) > run.spread[0]
    grown = Certificate.growth(run.spread)
    np.testing.assert_allclose(bounds, certificate.classical * grown + certificate.floor)


def test_conformal_quantile_covers_what_it_promises() -> None:
    """Over many calibration sets, a new ratio exceeds the quantile with probability alpha."""
    rng = np.random.default_rng(0)
    exceeded = [
        rng.exponential() > conformal_quantile(rng.exponential(size=199), 0.05)
        for _ in range(20000)
    ]
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.006)
    with pytest.raises(InputError, match=r"alpha=0\.01 needs at least 99 calibration"):
        conformal_quantile(rng.exponential(size=50), 0.01)


def test_bounds_that_were_not_calibrated_are_refused(trained: Trained) -> None:
    assert Certificate.of(trained.operator, 10.0).bound == 3.0
    with pytest.raises(InputError, match=r"certify=1 deg is below .* \(3\)"):
        Certificate.of(trained.operator, 1.0)


def test_arguments_are_checked(trained: Trained) -> None:
    grid, scenarios = trained.grid, trained.scenarios.take(np.array([0]))
    with pytest.raises(InputError, match=r"needs operator="):
        grid.simulate(scenarios, solver="hybrid")
    with pytest.raises(InputError, match="certify=-1 deg must be positive"):
        grid.simulate(scenarios, solver="hybrid", operator=trained.operator, certify=-1.0)
    with pytest.raises(InputError, match="audit=2 is not a share"):
        grid.simulate(scenarios, solver="hybrid", operator=trained.operator, audit=2.0)
    other = PowerSystem.load("wscc9")
    same = other.scenarios(line_trip("4-5", t=0.1))
    other.dae.states = other.dae.states[1:]
    with pytest.raises(InputError, match="train one"):
        other.simulate(same, solver="hybrid", operator=trained.operator)


def test_scenarios_with_events_that_ask_or_reset_are_left_to_others(trained: Trained) -> None:
    """The engine solves them beside the operator, see test_conditions.py."""
    scenarios = trained.scenarios.take(np.arange(2))
    scenarios.events[1] = [TimeEvent(time=0.5, reset=lambda t, x, y, p: 1.1 * x)]
    run = HybridRun(
        grid=trained.grid.dae,
        operator=trained.operator,
        certificate=Certificate.of(trained.operator, 3.0),
        tolerance=1e-6,
    )
    solution, bound = run.solve(scenarios, np.linspace(0.0, 1.0, 31))
    assert np.isfinite(solution.x[0]).all()
    assert bound[0] <= 3.0
    assert np.isnan(solution.x[1]).all()
    assert bound[1] == np.inf


def test_audit_finds_certificates_that_are_wrong(
    trained: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    scenarios = trained.scenarios.take(np.arange(12))
    runs = trained.grid.simulate(scenarios, solver="hybrid", operator=trained.operator, audit=0.5)
    assert runs.audit is not None
    assert len(runs.audit.scenarios) == 6
    assert runs.audit.above == 0
    assert (runs.audit.reference < 0.05).all()
    blind = Certificate.of(trained.operator, 3.0)
    notes = [replace(blind, factor=1e-6, digest="").facts()]
    facts = trained.operator.facts | {"certificates": notes}
    careless = replace(changed(trained.operator, 0.5), facts=facts)
    runs = trained.grid.simulate(scenarios, solver="hybrid", operator=careless, audit=1.0)
    assert runs.audit is not None
    assert runs.audit.above > 0
    assert "further off than their certificate" in caplog.text


def test_starts_are_taken_together(trained: Trained) -> None:
    start = trained.windows.start
    part = start.take(np.array([4, 2]))
    assert isinstance(part, Start)
    np.testing.assert_array_equal(part.x, start.x[:, [4, 2]])
    np.testing.assert_array_equal(part.p["p0"], start.p["p0"][:, [4, 2]])


def test_an_operator_that_does_not_pay_is_not_asked(trained: Trained) -> None:
    """For a bound far below its errors the engine answers alone, and says so."""
    grid, operator = trained.grid, trained.operator
    made = calibrate(grid, operator, trained.scenarios, trained.truth, 0.05, alpha=0.02)
    assert made.alone
    run = HybridRun(grid=grid.dae, operator=operator, certificate=made, tolerance=1e-8)
    solution, bounds = run.solve(trained.scenarios, trained.truth.t)
    assert solution.windows[:CLASSICAL].sum() == 0
    assert (solution.refused > 0).all()
    error = angle_errors(trained.truth, solution.x)
    assert error.max() <= 0.05
    assert (error <= bounds).mean() >= 0.98
    assert bounds.max() <= 0.05 + 1e-12


def test_the_engine_alone_takes_shorter_steps_where_angles_come_apart(trained: Trained) -> None:
    grid, operator, scenarios = trained.grid, trained.operator, trained.scenarios
    blank = Certificate.of(operator, 3.0)
    coarse = replace(blank, alone=True, single=False, bound=0.1, floor=0.01, step=1 / 30)
    coarse = replace(coarse, classical=0.06, fine_step=1 / 120, fine_classical=0.02)
    run = HybridRun(grid=grid.dae, operator=operator, certificate=coarse, tolerance=1e-8)
    solution, bounds = run.solve(scenarios, trained.truth.t)
    again = run.step == coarse.fine_step
    # With the error of the long steps the bound is passed where it grows 1.5 times.
    apart = np.radians(80.0 + 30.0 * np.log(1.5))
    assert 0 < again.sum() < len(again) / 2
    assert run.spread[again].min() > apart - 0.01 > run.spread[~again].max() - 0.01
    np.testing.assert_allclose(bounds[again], 0.03, rtol=0, atol=1e-12)
    assert bounds.max() <= 0.1
    for step, which in ((1 / 30, ~again), (1 / 120, again)):
        plain = replace(coarse, step=step, fine_step=0.0)
        alike = HybridRun(grid=grid.dae, operator=operator, certificate=plain, tolerance=1e-8)
        expected, _ = alike.solve(scenarios, trained.truth.t)
        np.testing.assert_allclose(
            solution.x[which], expected.x[which], rtol=0, atol=1e-7, equal_nan=True
        )
    for k, events in enumerate(scenarios.events):
        assert [each.time for each in solution.events_of(k)] == [each.time for each in events]


def test_the_engine_alone_works_in_parts_where_its_steps_need_much_room(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, operator, scenarios = trained.grid, trained.operator, trained.scenarios
    blank = Certificate.of(operator, 3.0)
    engine = replace(blank, alone=True, single=False, step=1 / 60, classical=0.1)

    def solved() -> HybridRun:
        run = HybridRun(grid=grid.dae, operator=operator, certificate=engine, tolerance=1e-8)
        run.solve(scenarios, trained.truth.t)
        return run

    whole = solved()
    # Steps of five seconds of seven scenarios: their states and derivatives.
    monkeypatch.setattr(solver, "ROOM", 7 * 300 * 2 * 8 * len(grid.dae.states))
    parts = solved()
    sampled = [each for each in parts.outputs.pieces if isinstance(each, SampledPiece)]
    assert len(sampled) > len(scenarios) / 10
    assert not any(isinstance(each, SampledPiece) for each in whole.outputs.pieces)
    for rows in (np.array([4]), np.arange(len(grid.dae.states))):
        np.testing.assert_allclose(
            parts.solution.some(rows), whole.solution.some(rows), rtol=0, atol=1e-9, equal_nan=True
        )
    np.testing.assert_allclose(parts.spread, whole.spread, rtol=0, atol=1e-9)
    np.testing.assert_allclose(parts.solution.y, whole.solution.y, rtol=0, atol=1e-7)

"""Errors of trajectories, by closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dae_solver.hybrid.calibration import angle_errors
from dae_solver.metrics import (
    Errors,
    angle_error,
    coverage,
    quantile,
    separation_error,
    share_above,
    voltage_error,
)
from dae_solver.physics import PowerSystem, fault, load_step
from dae_solver.physics.trajectories import center

T = np.linspace(0.0, 4.0, 5)
NEVER = np.array([np.inf])


def test_angle_error_is_the_largest_deviation_in_degrees() -> None:
    truth = np.zeros((1, 5, 2))
    found = truth.copy()
    found[0, 2] = [0.01, -0.02]
    assert angle_error(T, truth, found, NEVER) == pytest.approx(math.degrees(0.02))


def test_angles_are_not_wrapped_and_a_turn_of_all_machines_is_no_error() -> None:
    truth = np.random.default_rng(0).normal(size=(1, 5, 2))
    weight = np.array([3.0, 1.0])
    turned = center(truth + np.linspace(0.0, 40.0, 5)[None, :, None], weight)
    assert angle_error(T, center(truth, weight), turned, NEVER) == pytest.approx(0.0, abs=1e-11)
    slipped = truth.copy()
    slipped[0, 3:, 1] += 2.0 * np.pi
    error = angle_error(T, center(truth, weight), center(slipped, weight), NEVER)
    assert error == pytest.approx(0.75 * 360.0)


def test_errors_count_until_separation_only() -> None:
    truth, found = np.zeros((2, 5, 2)), np.zeros((2, 5, 2))
    found[:, 1], found[:, 3] = 0.1, 1.0
    error = angle_error(T, truth, found, np.array([3.0, 3.5]))
    assert error == pytest.approx([math.degrees(0.1), math.degrees(1.0)])
    assert voltage_error(T, truth, found, np.array([1.0, 4.5])) == pytest.approx([0.0, 1.0])


def test_a_trajectory_that_ends_too_early_is_infinitely_wrong() -> None:
    truth = np.zeros((1, 5, 2))
    found = truth.copy()
    found[0, 3:] = np.nan
    assert np.isinf(angle_error(T, truth, found, NEVER)).all()
    assert angle_error(T, truth, found, np.array([3.0])) == pytest.approx(0.0)


def test_angle_error_is_that_of_the_calibration() -> None:
    grid = PowerSystem.load("wscc9")
    scenarios = grid.scenarios(fault(7, t=0.1, clear=0.5), load_step(5, t=0.2, p=1.3))
    fine, coarse = (
        grid.simulate(scenarios, t_end=2.0, every=1 / 30, step=step) for step in (1 / 60, 1 / 10)
    )
    ours = angle_error(fine.t, fine.delta_coi, coarse.delta_coi, fine.separated)
    assert np.isfinite(fine.separated).tolist() == [True, False]
    assert ours == pytest.approx(angle_errors(fine, coarse.solution.x), rel=1e-12)


def test_times_of_separation() -> None:
    truth = np.array([np.inf, 2.0, 2.0, np.inf])
    found = np.array([np.inf, 2.5, np.inf, 1.0])
    assert separation_error(truth, found).tolist() == [0.0, 0.5, np.inf, np.inf]


def test_quantiles_are_errors_that_were_seen() -> None:
    error = np.arange(1.0, 11.0)
    assert [quantile(error, share) for share in (0.5, 0.9, 1.0)] == [5.0, 9.0, 10.0]
    # Interpolation between a finite and an infinite error would make infinity, or nothing at all.
    assert quantile(np.array([1.0, 2.0, np.inf, np.inf]), 0.5) == 2.0
    assert quantile(np.array([1.0, np.inf, np.inf]), 0.9) == np.inf


def test_shares() -> None:
    error = np.array([0.1, 0.2, 0.3, 0.4])
    assert share_above(error, 0.25) == 0.5
    certificate = np.array([0.1, 0.1, np.inf, np.nan])
    assert coverage(error, certificate) == pytest.approx(2 / 3)
    assert math.isnan(coverage(error, np.full(4, np.nan)))


def test_a_summary_states_what_is_excluded() -> None:
    summary = Errors.of(np.array([3.0, 1.0, 2.0]), excluded=4)
    assert (summary.p50, summary.max, summary.scenarios, summary.excluded) == (2.0, 3.0, 3, 4)
    with pytest.raises(ValueError, match="no trajectories"):
        Errors.of(np.array([]))

"""What a training says of its operator."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dae_solver.finish import RUNS, measure
from dae_solver.hybrid.calibration import angle_errors, reference
from trained_operator import Trained


def test_scores_are_those_of_the_scenarios_and_of_one_of_them(trained: Trained) -> None:
    grid, some = trained.grid, trained.scenarios.take(np.arange(8))
    truth = reference(grid, some, 1.5, 1 / 30)
    begun = time.process_time()
    score, runs = measure(grid, trained.operator, some, truth, 3.0)
    spent = 1e3 * (time.process_time() - begun)
    assert score.scenarios == len(runs.scenarios) == 8
    assert score.accepted + score.corrected + score.classical == pytest.approx(1.0)
    error = angle_errors(truth, runs.solution.x)
    assert score.max_deg == error.max() <= 3.0
    assert (score.above_bound, score.above_certificate) == (0, 0)
    # Runs of the solvers are most of what it does.
    each = (score.cpu_ms, score.whole_cpu_ms, score.compiled_cpu_ms, score.single_cpu_ms)
    timed = 8 * RUNS * (sum(each) + score.baseline_cpu_ms / 2)
    assert 0.1 * spent < timed < 1.5 * spent
    assert score.faster == pytest.approx(score.baseline_cpu_ms / score.cpu_ms)

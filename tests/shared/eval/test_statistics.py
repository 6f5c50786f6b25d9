"""Bootstrap intervals against closed forms, and their coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from scimind.eval.statistics import bootstrap_interval, over_seeds, paired_difference


def mean(rows: np.ndarray) -> float:
    return float(rows[:, 0].mean())


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_the_interval_of_a_normal_mean_is_the_closed_form(method: str) -> None:
    values = stats.norm.ppf((np.arange(400) + 0.5) / 400) * 3.0 + 10.0
    interval = bootstrap_interval(values[:, None], mean, method=method, resamples=4000)
    half = 1.959964 * values.std() / math.sqrt(400)
    # The Monte Carlo error of a 2.5 % quantile of 4000 draws is 0.042 standard errors.
    tolerance = 3 * 0.042 * half / 1.96
    assert interval.value == pytest.approx(10.0, abs=1e-9)
    assert interval.low == pytest.approx(10.0 - half, abs=tolerance)
    assert interval.high == pytest.approx(10.0 + half, abs=tolerance)
    assert method in interval.method


def test_bca_agrees_with_scipy_on_a_skewed_statistic() -> None:
    values = np.random.default_rng(3).exponential(size=60)

    def deviation(rows: np.ndarray) -> float:
        return float(rows[:, 0].std())

    ours = bootstrap_interval(values[:, None], deviation, resamples=6000, seed=1)
    theirs = stats.bootstrap(
        (values,), np.std, n_resamples=6000, method="BCa", random_state=2
    ).confidence_interval
    assert ours.low == pytest.approx(theirs.low, rel=0.03)
    assert ours.high == pytest.approx(theirs.high, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("percentile", 0.88), ("bca", 0.90)])
def test_intervals_of_a_skewed_mean_cover_the_truth(method: str, least: float) -> None:
    # Exponential(1), n = 40: the true mean is 1. 400 trials: standard error of coverage 0.011.
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(400):
        rows = generator.exponential(size=(40, 1))
        interval = bootstrap_interval(rows, mean, method=method, resamples=400, seed=trial)
        covered += interval.low <= 1.0 <= interval.high
    assert least < covered / 400 < 0.98


def test_clusters_widen_the_interval_of_repeated_items_to_that_of_the_originals() -> None:
    originals = np.random.default_rng(1).normal(size=(50, 1))
    repeated = np.repeat(originals, 8, axis=0)
    names = [f"family {k // 8}" for k in range(400)]
    alone = bootstrap_interval(originals, mean, resamples=2000)
    clustered = bootstrap_interval(repeated, mean, clusters=names, resamples=2000)
    naive = bootstrap_interval(repeated, mean, resamples=2000)
    width = alone.high - alone.low
    assert clustered.high - clustered.low == pytest.approx(width, rel=0.05)
    assert naive.high - naive.low == pytest.approx(width / math.sqrt(8), rel=0.1)


def test_pairing_removes_what_makes_items_hard_for_both_models() -> None:
    generator = np.random.default_rng(5)
    difficulty = generator.normal(scale=10.0, size=(200, 1))
    a, b = difficulty + 0.3, difficulty + generator.normal(scale=0.1, size=(200, 1))
    difference = paired_difference(a, b, mean)
    assert 0.25 < difference.low < difference.value < difference.high < 0.35
    with pytest.raises(ValueError, match="same items: 200 and 199"):
        paired_difference(a, b[:-1], mean)


def test_the_same_seed_gives_the_same_interval_and_another_one_does_not() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 1))
    assert bootstrap_interval(rows, mean, seed=4) == bootstrap_interval(rows, mean, seed=4)
    assert bootstrap_interval(rows, mean, seed=4).low != bootstrap_interval(rows, mean, seed=5).low


def test_an_undefined_score_has_no_interval_and_says_why() -> None:
    single = bootstrap_interval(np.ones((1, 1)), mean)
    assert math.isnan(single.low)
    assert "items < 2" in single.method
    undefined = bootstrap_interval(np.ones((9, 1)), lambda rows: math.nan)
    assert math.isnan(undefined.value)
    assert "undefined" in undefined.method
    constant = bootstrap_interval(np.ones((9, 1)), mean)
    assert (constant.low, constant.high) == (1.0, 1.0)
    assert constant.method.startswith("percentile")


def test_wrong_arguments_are_named() -> None:
    rows = np.ones((4, 1))
    with pytest.raises(ValueError, match=r"confidence is 95\.0"):
        bootstrap_interval(rows, mean, confidence=95.0)
    with pytest.raises(ValueError, match="resamples is 10"):
        bootstrap_interval(rows, mean, resamples=10)
    with pytest.raises(ValueError, match="3 cluster names for 4 items"):
        bootstrap_interval(rows, mean, clusters=["a", "b", "c"])


def test_seeds_are_summarised_by_mean_and_sample_deviation() -> None:
    summary = over_seeds([1.0, 2.0, 4.0])
    assert (summary.mean, summary.count) == (pytest.approx(7 / 3), 3)
    assert summary.deviation == pytest.approx(math.sqrt(7 / 3))
    assert math.isnan(over_seeds([1.0]).deviation)
    with pytest.raises(ValueError, match="no scores"):
        over_seeds([])

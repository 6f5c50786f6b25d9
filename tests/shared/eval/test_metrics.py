"""Scores against scikit-learn and SciPy, which are independent implementations."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from scimind.eval import metrics

values = st.lists(st.integers(-5, 5).map(float), min_size=3, max_size=40)


@settings(deadline=None, max_examples=60)
@given(values, st.randoms())
def test_regression_scores_equal_the_references_with_ties(entries: list[float], random) -> None:
    target = np.array(entries)
    prediction = np.array([random.choice(entries) for _ in entries])
    assert metrics.root_mean_square_error(prediction, target) == pytest.approx(
        math.sqrt(reference.mean_squared_error(target, prediction))
    )
    assert metrics.mean_absolute_error(prediction, target) == pytest.approx(
        reference.mean_absolute_error(target, prediction)
    )
    np.testing.assert_allclose(metrics.mean_ranks(target), stats.rankdata(target))
    if len(set(target)) > 1 and len(set(prediction)) > 1:
        assert metrics.spearman_correlation(prediction, target) == pytest.approx(
            stats.spearmanr(prediction, target).statistic, abs=1e-9
        )
        assert metrics.pearson_correlation(prediction, target) == pytest.approx(
            stats.pearsonr(prediction, target).statistic, abs=1e-9
        )
        assert metrics.coefficient_of_determination(prediction, target) == pytest.approx(
            reference.r2_score(target, prediction)
        )


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=4, max_size=50))
def test_ranking_scores_equal_the_references_with_ties(pairs: list[tuple[int, bool]]) -> None:
    prediction = np.array([score for score, _ in pairs], dtype=float)
    target = np.array([label for _, label in pairs], dtype=float)
    if 0 < target.sum() < len(target):
        assert metrics.area_under_roc(prediction, target) == pytest.approx(
            reference.roc_auc_score(target, prediction)
        )
        assert metrics.average_precision(prediction, target) == pytest.approx(
            reference.average_precision_score(target, prediction)
        )


def test_undefined_scores_are_nan_and_not_zero() -> None:
    constant, varied = np.full(5, 0.1), np.arange(5.0)
    assert math.isnan(metrics.pearson_correlation(constant, varied))
    assert math.isnan(metrics.spearman_correlation(constant, varied))
    assert math.isnan(metrics.coefficient_of_determination(varied, constant))
    assert math.isnan(metrics.area_under_roc(varied, np.ones(5)))
    assert math.isnan(metrics.average_precision(varied, np.zeros(5)))


def test_missing_labels_are_left_out_per_endpoint() -> None:
    metric = metrics.roc_auc()
    generator = np.random.default_rng(0)
    prediction, target = generator.random((40, 3)), generator.integers(0, 2, (40, 3)).astype(float)
    target[generator.random((40, 3)) < 0.3] = np.nan
    known = [~np.isnan(target[:, k]) for k in range(3)]
    expected = np.mean(
        [reference.roc_auc_score(target[known[k], k], prediction[known[k], k]) for k in range(3)]
    )
    rows = metric.rows(list(prediction), list(target))
    assert metric.aggregate(rows) == pytest.approx(expected)


def test_a_prediction_of_nan_for_a_known_target_is_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        metrics.rmse().rows([math.nan], [1.0])
    metrics.rmse().rows([math.nan], [math.nan])
    with pytest.raises(ValueError, match=r"shape \(2,\) for a target of shape \(1,\)"):
        metrics.rmse().rows([[1.0, 2.0]], [1.0])


def test_a_ratio_of_sums_weighs_items_by_their_size() -> None:
    recovery = metrics.ratio_of_sums(
        "recovery", lambda p, t: (sum(a == b for a, b in zip(p, t, strict=True)), len(t))
    )
    rows = recovery.rows(["AAAAAAAA", "CC"], ["AAAAAAAA", "GG"])
    assert recovery.aggregate(rows) == pytest.approx(0.8)
    mean = metrics.mean_over_items("exact", lambda p, t: float(p == t), "higher")
    assert mean.aggregate(mean.rows(["A", "C"], ["A", "G"])) == pytest.approx(0.5)

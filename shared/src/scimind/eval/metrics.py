"""Scores that many tasks share, as ``Metric`` objects over (prediction, target) rows.

Missing targets are NaN and are left out per endpoint, as in multi-task assays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scimind.eval.task import Direction, Metric
from scimind.typing import Float

Score = Callable[[Float[np.ndarray, " item"], Float[np.ndarray, " item"]], float]


def root_mean_square_error(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Square root of the mean squared error, in the target's unit."""
    return math.sqrt(float(np.mean((prediction - target) ** 2)))


def mean_absolute_error(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Mean absolute error, in the target's unit."""
    return float(np.mean(np.abs(prediction - target)))


def pearson_correlation(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Linear correlation; NaN where either side is constant."""
    x, y = prediction - prediction.mean(), target - target.mean()
    # A constant of large value leaves rounding noise of this size after centring.
    if _is_constant(prediction) or _is_constant(target):
        return math.nan
    norm = math.sqrt(float(x @ x)) * math.sqrt(float(y @ y))
    return float(x @ y) / norm if norm > 0.0 else math.nan


def spearman_correlation(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Rank correlation with mean ranks for ties; NaN where either side is constant."""
    return pearson_correlation(mean_ranks(prediction), mean_ranks(target))


def coefficient_of_determination(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """R² = 1 - SS_res / SS_tot about the mean of these targets; NaN for constant targets."""
    if _is_constant(target):
        return math.nan
    residual = float(np.sum((prediction - target) ** 2))
    return 1.0 - residual / float(np.sum((target - target.mean()) ** 2))


def area_under_roc(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Probability that a positive (target 1) scores above a negative (0), ties half.

    NaN where one class is absent. Source: Hanley and McNeil, Radiology 143 (1982).
    """
    positive = target > 0.5
    count, total = int(positive.sum()), len(target)
    if count in (0, total):
        return math.nan
    rank_sum = float(mean_ranks(prediction)[positive].sum())
    return (rank_sum - count * (count + 1) / 2) / (count * (total - count))


def average_precision(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Step-wise area under precision-recall, ties taken together; NaN without positives."""
    positive = target > 0.5
    if not positive.any():
        return math.nan
    order = np.argsort(-prediction, kind="stable")
    scores, hits = prediction[order], np.cumsum(positive[order])
    last_of_tie = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    precision = hits[last_of_tie] / (last_of_tie + 1)
    recall = hits[last_of_tie] / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def mean_ranks(values: Float[np.ndarray, " item"]) -> Float[np.ndarray, " item"]:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def paired(
    name: str,
    score: Score,
    direction: Direction,
    *,
    unit: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Metric:
    """A metric over scalar or multi-endpoint predictions.

    A prediction and its target are numbers or arrays of the same k endpoints. The score is the
    mean of the endpoints' scores; endpoints whose score is undefined are left out of the mean.
    A NaN target is missing; a NaN prediction of a present target is an error.
    """

    def statistics(prediction: Any, target: Any) -> np.ndarray:
        p = np.atleast_1d(np.asarray(prediction, dtype=np.float64))
        t = np.atleast_1d(np.asarray(target, dtype=np.float64))
        if p.shape != t.shape or p.ndim != 1:
            raise ValueError(f"prediction of shape {p.shape} for a target of shape {t.shape}")
        if not np.isfinite(p[~np.isnan(t)]).all():
            raise ValueError(f"prediction {p} is not finite")
        return np.concatenate([p, t])

    def aggregate(rows: Float[np.ndarray, "item statistic"]) -> float:
        endpoints = rows.shape[1] // 2
        scores = []
        for k in range(endpoints):
            known = ~np.isnan(rows[:, endpoints + k])
            if known.any():
                scores.append(score(rows[known, k], rows[known, endpoints + k]))
        defined = [value for value in scores if math.isfinite(value)]
        return math.fsum(defined) / len(defined) if defined else math.nan

    return Metric(
        name=name,
        direction=direction,
        statistics=statistics,
        aggregate=aggregate,
        unit=unit,
        bounds=bounds,
    )


def rmse(unit: str = "") -> Metric:
    """``root_mean_square_error`` as a metric."""
    return paired("rmse", root_mean_square_error, "lower", unit=unit, bounds=(0.0, math.inf))


def mae(unit: str = "") -> Metric:
    """``mean_absolute_error`` as a metric."""
    return paired("mae", mean_absolute_error, "lower", unit=unit, bounds=(0.0, math.inf))


def r2() -> Metric:
    """``coefficient_of_determination`` as a metric."""
    return paired("r2", coefficient_of_determination, "higher", bounds=(-math.inf, 1.0))


def pearson() -> Metric:
    """``pearson_correlation`` as a metric."""
    return paired("pearson", pearson_correlation, "higher", bounds=(-1.0, 1.0))


def spearman() -> Metric:
    """``spearman_correlation`` as a metric."""
    return paired("spearman", spearman_correlation, "higher", bounds=(-1.0, 1.0))


def roc_auc() -> Metric:
    """``area_under_roc`` as a metric; the mean over endpoints for multi-endpoint targets."""
    return paired("roc_auc", area_under_roc, "higher", bounds=(0.0, 1.0))


def pr_auc() -> Metric:
    """``average_precision`` as a metric; the mean over endpoints."""
    return paired("pr_auc", average_precision, "higher", bounds=(0.0, 1.0))


def ratio_of_sums(
    name: str,
    counts: Callable[[Any, Any], Sequence[float]],
    direction: Direction = "higher",
    *,
    unit: str = "",
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Metric:
    """Σ numerator / Σ denominator, such as correct residues over residues of all proteins.

    Args:
        name: Key in the result file.
        counts: ``(prediction, target) -> (numerator, denominator)`` of one item.
        direction: Which way is better.
        unit: Physical unit.
        bounds: Possible scores.
    """

    def aggregate(rows: Float[np.ndarray, "item statistic"]) -> float:
        numerator, denominator = rows.sum(axis=0)
        return float(numerator / denominator) if denominator > 0 else math.nan

    return Metric(
        name=name,
        direction=direction,
        statistics=counts,
        aggregate=aggregate,
        unit=unit,
        bounds=bounds,
    )


def mean_over_items(
    name: str,
    score: Callable[[Any, Any], float],
    direction: Direction,
    *,
    unit: str = "",
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Metric:
    """Mean of a per-item score, such as lDDT per structure."""

    def aggregate(rows: Float[np.ndarray, "item statistic"]) -> float:
        return float(rows[:, 0].mean()) if len(rows) else math.nan

    return Metric(
        name=name,
        direction=direction,
        statistics=lambda prediction, target: (score(prediction, target),),
        aggregate=aggregate,
        unit=unit,
        bounds=bounds,
    )


def _is_constant(values: Float[np.ndarray, " item"]) -> bool:
    return bool(np.all(values == values[0])) if len(values) else True

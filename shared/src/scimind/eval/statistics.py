"""Bootstrap confidence intervals and summaries over seeds.

Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 12-14; cluster
bootstrap: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from scimind.typing import Float, Int

Aggregate = Callable[[Float[np.ndarray, "item statistic"]], float]
Method = Literal["percentile", "bca"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A confidence interval.

    Attributes:
        value: The score of all items.
        low: Lower end; NaN where it is undefined.
        high: Upper end; NaN where it is undefined.
        method: How it was made, for the result file.
    """

    value: float
    low: float
    high: float
    method: str


def bootstrap_interval(
    rows: Float[np.ndarray, "item statistic"],
    aggregate: Aggregate,
    *,
    clusters: Sequence[str] | None = None,
    method: Method = "bca",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Confidence interval of ``aggregate(rows)`` under resampling of items, or of clusters.

    Args:
        rows: Statistics per item; the aggregate of a resample is taken over its rows.
        aggregate: Score of a set of rows; may return NaN where it is undefined.
        clusters: Cluster of each item. Whole clusters are drawn, since items within one are
            not independent. ``None``: items are drawn.
        method: ``"percentile"``, or ``"bca"`` (bias-corrected and accelerated), which is
            second-order accurate. It falls back to percentile, and says so in ``method``, where
            the acceleration is undefined.
        confidence: Coverage aimed at.
        resamples: Number of bootstrap samples.
        seed: The same seed gives the same interval, bit for bit.

    Returns:
        The interval. With fewer than two clusters, or where more than 5 % of the resamples have
        an undefined score, both ends are NaN and ``method`` says why.

    Raises:
        ValueError: An argument is out of range.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
    if resamples < 100:
        raise ValueError(f"resamples is {resamples}; an interval needs at least 100")
    members = _members(len(rows), clusters)
    value = aggregate(rows) if len(rows) else math.nan
    unit = "items" if clusters is None else f"{len(members)} clusters"
    if len(members) < 2:
        return Interval(value=value, low=math.nan, high=math.nan, method=f"none: {unit} < 2")
    generator = np.random.Generator(np.random.Philox(seed))
    scores = _resampled_scores(rows, aggregate, members, resamples, generator)
    defined = scores[np.isfinite(scores)]
    if not math.isfinite(value) or len(defined) < 0.95 * resamples:
        reason = f"none: score undefined in {resamples - len(defined)} of {resamples} resamples"
        return Interval(value=value, low=math.nan, high=math.nan, method=reason)
    tail = (1.0 - confidence) / 2.0
    levels: tuple[float, float] | None = (tail, 1.0 - tail)
    used = method
    if method == "bca":
        levels = _bca_levels(rows, aggregate, members, value, defined, tail)
        if levels is None:
            levels, used = (tail, 1.0 - tail), "percentile"
    assert levels is not None
    low, high = np.quantile(defined, levels)
    text = f"{used} bootstrap over {unit}, {100 * confidence:g} %, {resamples} resamples"
    return Interval(value=value, low=float(low), high=float(high), method=text)


def paired_difference(
    rows_a: Float[np.ndarray, "item statistic"],
    rows_b: Float[np.ndarray, "item_b statistic"],
    aggregate: Aggregate,
    *,
    clusters: Sequence[str] | None = None,
    method: Method = "percentile",
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Interval of the score of a minus the score of b on the same items.

    The same items are drawn for both, so what makes an item hard for both cancels. Zero outside
    the interval is the evidence that one is better.

    Raises:
        ValueError: The two have different numbers of items.
    """
    if len(rows_a) != len(rows_b):
        raise ValueError(f"paired scores need the same items: {len(rows_a)} and {len(rows_b)}")
    width = rows_a.shape[1]

    def difference(rows: Float[np.ndarray, "item statistic"]) -> float:
        return aggregate(rows[:, :width]) - aggregate(rows[:, width:])

    return bootstrap_interval(
        np.concatenate([rows_a, rows_b], axis=1),
        difference,
        clusters=clusters,
        method=method,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True)
class SeedSummary:
    """Scores of the same model trained with several seeds.

    Attributes:
        mean: Mean over seeds.
        deviation: Sample standard deviation (n - 1); NaN for one seed.
        count: Number of seeds.
    """

    mean: float
    deviation: float
    count: int


def over_seeds(scores: Sequence[float]) -> SeedSummary:
    """Mean and sample standard deviation over seeds.

    Raises:
        ValueError: There are no scores.
    """
    if not scores:
        raise ValueError("no scores to summarise; give one per seed")
    values = np.asarray(scores, dtype=np.float64)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    return SeedSummary(mean=float(values.mean()), deviation=deviation, count=len(values))


def _members(count: int, clusters: Sequence[str] | None) -> list[Int[np.ndarray, " _member"]]:
    if clusters is None:
        return [np.array([index]) for index in range(count)]
    if len(clusters) != count:
        raise ValueError(f"{len(clusters)} cluster names for {count} items; give one per item")
    by_name: dict[str, list[int]] = {}
    for index, name in enumerate(clusters):
        by_name.setdefault(name, []).append(index)
    return [np.array(indices) for indices in by_name.values()]


def _resampled_scores(
    rows: Float[np.ndarray, "item statistic"],
    aggregate: Aggregate,
    members: list[Int[np.ndarray, " _member"]],
    resamples: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " resample"]:
    singletons = len(members) == len(rows)
    scores = np.empty(resamples)
    for index in range(resamples):
        drawn = generator.integers(0, len(members), size=len(members))
        chosen = drawn if singletons else np.concatenate([members[k] for k in drawn])
        scores[index] = aggregate(rows[chosen])
    return scores


def _bca_levels(
    rows: Float[np.ndarray, "item statistic"],
    aggregate: Aggregate,
    members: list[Int[np.ndarray, " _member"]],
    value: float,
    scores: Float[np.ndarray, " resample"],
    tail: float,
) -> tuple[float, float] | None:
    """Quantile levels of Efron's BCa interval, ``None`` where they are undefined."""
    # Ties count half, so that a discrete score has no artificial bias.
    below = (np.sum(scores < value) + 0.5 * np.sum(scores == value)) / len(scores)
    if not 0.0 < below < 1.0:
        return None
    bias = float(ndtri(below))
    jackknife = _jackknife(rows, aggregate, members)
    centred = jackknife.mean() - jackknife
    spread = float(np.sum(centred**2))
    if not math.isfinite(spread) or spread <= 0.0:
        return None
    acceleration = float(np.sum(centred**3)) / (6.0 * spread**1.5)
    levels = []
    for z in (float(ndtri(tail)), float(ndtri(1.0 - tail))):
        shifted = bias + z
        denominator = 1.0 - acceleration * shifted
        if denominator <= 0.0:
            return None
        levels.append(float(ndtr(bias + shifted / denominator)))
    return levels[0], levels[1]


_JACKKNIFE_GROUPS = 500


def _jackknife(
    rows: Float[np.ndarray, "item statistic"],
    aggregate: Aggregate,
    members: list[Int[np.ndarray, " _member"]],
) -> Float[np.ndarray, " group"]:
    """Scores with one cluster left out; beyond 500 clusters, with one of 500 groups left out."""
    order = np.arange(len(members)) % _JACKKNIFE_GROUPS
    scores = []
    for group in range(min(len(members), _JACKKNIFE_GROUPS)):
        left_out = np.concatenate([members[k] for k in np.flatnonzero(order == group)])
        keep = np.ones(len(rows), dtype=bool)
        keep[left_out] = False
        scores.append(aggregate(rows[keep]))
    return np.asarray(scores)

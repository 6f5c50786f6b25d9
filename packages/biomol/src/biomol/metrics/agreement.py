"""Scores of predicted labels that ``scimind.eval.metrics`` does not have."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from scimind.typing import Float, Int


def concordance_index(
    prediction: Float[np.ndarray, " item"], target: Float[np.ndarray, " item"]
) -> float:
    """Share of pairs with different targets that are ranked rightly; tied predictions count half.

    O(n log n). NaN where all targets are equal.

    Source: Gönen and Heller, Biometrika 92, 965 (2005); as used for Davis and KIBA.
    """
    order = np.argsort(target, kind="stable")
    _, ranks = np.unique(prediction[order], return_inverse=True)
    _, starts = np.unique(target[order], return_index=True)
    bounds = [*starts.tolist(), len(order)]
    tree = [0] * (len(order) + 1)  # Fenwick tree: predictions seen so far, by rank
    won, pairs = 0.0, 0
    for start, stop in pairwise(bounds):
        equal_targets = [int(rank) + 1 for rank in ranks[start:stop]]
        for rank in equal_targets:
            less, at_most = _count(tree, rank - 1), _count(tree, rank)
            won += 0.5 * (less + at_most)
            pairs += start
        for rank in equal_targets:
            _add(tree, rank)
    return won / pairs if pairs else math.nan


def _count(tree: list[int], rank: int) -> int:
    """Entries of rank 1 to ``rank``."""
    total = 0
    while rank > 0:
        total += tree[rank]
        rank -= rank & -rank
    return total


def _add(tree: list[int], rank: int) -> None:
    while rank < len(tree):
        tree[rank] += 1
        rank += rank & -rank


def matthews_correlation(
    prediction: Int[np.ndarray, " item"], target: Int[np.ndarray, " item"]
) -> float:
    """Correlation of predicted and true classes, also for more than two; NaN where undefined.

    Source: Gorodkin, Comput. Biol. Chem. 28, 367 (2004).
    """
    classes = np.union1d(prediction, target)
    table = np.zeros((len(classes), len(classes)))
    np.add.at(table, (np.searchsorted(classes, target), np.searchsorted(classes, prediction)), 1.0)
    true, found, count = table.sum(axis=1), table.sum(axis=0), table.sum()
    covariance = float(np.trace(table) * count - true @ found)
    spread = float((count**2 - found @ found) * (count**2 - true @ true))
    return covariance / math.sqrt(spread) if spread > 0.0 else math.nan


def class_accuracy(prediction: Int[np.ndarray, " item"], target: Int[np.ndarray, " item"]) -> float:
    """Share of right classes among items whose target is not -1 (Q3 for H, E, C)."""
    known = target >= 0
    return float(np.mean(prediction[known] == target[known])) if known.any() else math.nan


def ndcg(
    prediction: Float[np.ndarray, " item"],
    target: Float[np.ndarray, " item"],
    *,
    top: float = 0.1,
) -> float:
    """Normalised discounted cumulative gain of the best-ranked share of items.

    Gains are targets shifted to start at 0, so the score depends on neither their unit nor their
    origin. Items tied in the prediction share their mean gain.

    Args:
        prediction: Scores that rank.
        target: Quantities to find the largest of.
        top: Share of the items that are looked at.

    Source: Järvelin and Kekäläinen, ACM TOIS 20, 422 (2002); ProteinGym (Notin et al. 2023).
    """
    if len(target) == 0 or np.all(target == target[0]):
        return math.nan
    gain = target - target.min()
    taken = max(1, int(len(target) * top))
    discount = 1.0 / np.log2(np.arange(2, taken + 2))
    _, inverse, counts = np.unique(-prediction, return_inverse=True, return_counts=True)
    mean_gain = (np.bincount(inverse, gain) / counts)[np.sort(inverse)]
    ideal = np.sort(gain)[::-1]
    return float(discount @ mean_gain[:taken] / (discount @ ideal[:taken]))

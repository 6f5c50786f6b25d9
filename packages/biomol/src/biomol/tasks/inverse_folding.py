"""Inverse folding: the native sequence from the backbone, on chains of unseen clusters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biomol.chem.vocab import PROTEIN_IDS
from biomol.data.complex import Complex
from biomol.metrics.sequence import log_likelihood, recovery, similarity_recovery
from biomol.tasks.baselines.sequence import background, local_geometry
from biomol.tasks.chains import (
    SPLIT,
    backbone_only,
    chain_data,
    complete_backbone,
    protein_chains,
)
from biomol.tasks.records import answers
from scimind.eval import Baseline, Item, Metric, Task, TaskData
from scimind.eval.metrics import mean_over_items
from scimind.eval.task import register
from scimind.typing import Bool, Float, Int

_AMINO_ACIDS = np.asarray(PROTEIN_IDS)


def scored(target: Complex) -> Bool[np.ndarray, " token"]:
    """Positions that count: a standard residue with a resolved N, CA and C."""
    return np.asarray(complete_backbone(target) & np.isin(target.restype, _AMINO_ACIDS))


def best_guess(prediction: np.ndarray) -> Int[np.ndarray, " token"]:
    """The most probable amino acid of each token."""
    return np.asarray(_AMINO_ACIDS[prediction[:, _AMINO_ACIDS].argmax(axis=-1)])


def _recovery(prediction: np.ndarray, target: Complex) -> float:
    return recovery(best_guess(prediction), target.restype, scored(target))


def _similarity(prediction: np.ndarray, target: Complex) -> float:
    return similarity_recovery(best_guess(prediction), target.restype, scored(target))


def median_recovery() -> Metric:
    """Median over proteins of the share of recovered residues, the usual score of the field."""
    return Metric(
        name="recovery",
        direction="higher",
        statistics=lambda prediction, target: (_recovery(prediction, target),),
        aggregate=lambda rows: float(np.median(rows[:, 0])) if len(rows) else math.nan,
        bounds=(0.0, 1.0),
    )


def pooled_perplexity() -> Metric:
    """Inverse geometric mean probability of the native residues, over all proteins together."""

    def statistics(prediction: np.ndarray, target: Complex) -> tuple[float, float]:
        total, count = log_likelihood(prediction, target.restype, scored(target))
        return total, float(count)

    def aggregate(rows: Float[np.ndarray, "item statistic"]) -> float:
        total, count = rows.sum(axis=0)
        return math.exp(-total / count) if count else math.nan

    return Metric(
        name="perplexity",
        direction="lower",
        statistics=statistics,
        aggregate=aggregate,
        bounds=(1.0, math.inf),
    )


def sequence_metrics() -> tuple[Metric, ...]:
    """Scores of every inverse-folding task."""
    return (
        median_recovery(),
        mean_over_items("recovery_mean", _recovery, "higher", bounds=(0.0, 1.0)),
        mean_over_items("similarity_recovery", _similarity, "higher", bounds=(0.0, 1.0)),
        pooled_perplexity(),
    )


def predict_identities(model: Any, items: Sequence[Item]) -> Iterable[Any]:
    """Probabilities of all identities in one pass, with every residue hidden."""

    def ask(records: Sequence[Complex]) -> list[np.ndarray]:
        hidden = [np.ones(record.num_tokens, bool) for record in records]
        found: list[np.ndarray] = model.sequence_probabilities(records, hidden)
        return found

    return answers([item.inputs for item in items], ask, chunk=16)


@register
class InverseFolding(Task):
    """Recovery of native residues from N, CA, C and O, all residues hidden, in one pass.

    The model gets a record in which nothing of the sequence is left.

    Args:
        max_tokens: Longer test chains are left out and reported.
        seed: Seed of the cluster split; 0 is that of training by default.
    """

    name, version, split, primary = "inverse_folding", "1.0", SPLIT, "recovery"
    description = "Native sequence recovery given the backbone, chains of unseen clusters."

    def __init__(self, max_tokens: int = 512, seed: int = 0) -> None:
        self.max_tokens, self.seed = max_tokens, seed

    def load(self, data_root: Path) -> TaskData:
        """See the base class."""
        dataset = protein_chains(data_root, self.seed)
        return chain_data(dataset, backbone_only, max_tokens=self.max_tokens)

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return sequence_metrics()

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return (background(), local_geometry())

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """See the base class; ``model`` is an ``Engine``."""
        return predict_identities(model, items)

"""FLIP secondary structure: helix, strand or coil of each residue from the sequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.flip import load_flip_residues
from biomol.tasks.baselines.secondary_structure import gor, majority_class, residue_propensity
from biomol.tasks.records import RecordHandle, answers, data_folder, failures
from scimind.eval import Baseline, Item, Metric, Task, TaskData
from scimind.eval.metrics import mean_over_items, ratio_of_sums
from scimind.eval.task import register
from scimind.typing import Float, Int

LABEL = "secondary_structure"


def _counts(
    prediction: Float[np.ndarray, "residue class"], target: Int[np.ndarray, " residue"]
) -> tuple[float, float]:
    known = target >= 0
    right = prediction.argmax(axis=-1)[known] == target[known]
    return float(right.sum()), float(known.sum())


def _protein_accuracy(
    prediction: Float[np.ndarray, "residue class"], target: Int[np.ndarray, " residue"]
) -> float:
    right, known = _counts(prediction, target)
    return right / known


@register
class FlipSecondaryStructure(Task):
    """Share of right residues (Q3) among the resolved ones of the test proteins.

    Source: Dallago et al., FLIP (2021); data of Klausen et al., NetSurfP-2.0 (2019). The split is
    random by protein: homologues of test proteins may be among the training ones.
    """

    name, version, primary = "flip_secondary_structure", "1.0", "q3"
    split = "sampled test"
    description = "Three-state secondary structure of resolved residues, FLIP's sampled split."

    def requires(self) -> frozenset[str]:
        """Names that an engine must know."""
        return frozenset((LABEL,))

    def load(self, data_root: Path) -> TaskData:
        """See the base class."""
        folder = data_folder(data_root) / "property" / "flip_secondary_structure"
        dataset = load_flip_residues(folder)
        return TaskData(
            items=_items(dataset, dataset.split.test),
            training=_items(dataset, dataset.split.train),
            validation=_items(dataset, dataset.split.valid),
            digest=dataset.digest,
            rejected=failures(dataset.rejected),
        )

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return (
            ratio_of_sums("q3", _counts),
            mean_over_items("q3_per_protein", _protein_accuracy, "higher", bounds=(0.0, 1.0)),
        )

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return (majority_class(), residue_propensity(), gor())

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """See the base class; ``model`` is an ``Engine``."""

        def ask(handles: Sequence[RecordHandle]) -> list[Float[np.ndarray, "residue class"]]:
            found: list[np.ndarray] = model.token_probabilities([h.load() for h in handles], LABEL)
            return found

        return answers([item.inputs for item in items], ask, chunk=64)


def _items(dataset: Dataset, indices: Int[np.ndarray, " record"]) -> tuple[Item, ...]:
    labels = dataset.records.token_labels[LABEL]  # type: ignore[attr-defined]
    return tuple(
        Item(
            name=f"{index}:{dataset.records.names[index]}",  # type: ignore[attr-defined]
            inputs=RecordHandle(dataset.records, int(index), dataset.keys[index]),
            target=labels[index],
        )
        for index in indices
    )

"""Side chains on a given backbone, against rotamers and means of the residue type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biomol.chem.vocab import NUM_SLOTS
from biomol.data.complex import Complex
from biomol.metrics.side_chains import chi_correct, side_chain_deviation, side_chain_mask
from biomol.tasks.baselines.rotamers import common_rotamer, mean_side_chain
from biomol.tasks.baselines.torsions import backbone_dependent_side_chain
from biomol.tasks.chains import (
    NUM_BACKBONE,
    SPLIT,
    chain_data,
    complete_backbone,
    protein_chains,
    without_side_chains,
)
from biomol.tasks.prediction import PredictedStructure
from biomol.tasks.records import answers
from scimind.eval import Baseline, Item, Metric, Task, TaskData
from scimind.eval.metrics import ratio_of_sums
from scimind.eval.task import register
from scimind.typing import Bool, Float


def scored_atoms(target: Complex) -> Bool[np.ndarray, "token slot"]:
    """Resolved side-chain atoms of residues with a resolved N, CA and C."""
    mask = side_chain_mask(target.mol_type, target.coord_mask)
    return np.asarray(mask & complete_backbone(target)[:, None])


def side_chain_rmsd() -> Metric:
    """Root-mean-square deviation over the side-chain atoms of all proteins, no superposition."""

    def statistics(prediction: PredictedStructure, target: Complex) -> tuple[float, float]:
        mask = scored_atoms(target)
        total, count = side_chain_deviation(
            np.asarray(prediction.coords, np.float64), target.coords, mask, target.restype
        )
        return (total if prediction.present[mask].all() else math.nan), float(count)

    def aggregate(rows: Float[np.ndarray, "item statistic"]) -> float:
        total, count = rows.sum(axis=0)
        return math.sqrt(total / count) if count else math.nan

    return Metric(
        name="side_chain_rmsd",
        direction="lower",
        statistics=statistics,
        aggregate=aggregate,
        unit="Å",
        bounds=(0.0, math.inf),
    )


def _chi_counts(torsions: int) -> Callable[[Any, Any], tuple[float, float]]:
    def counts(prediction: PredictedStructure, target: Complex) -> tuple[float, float]:
        known = target.coord_mask & complete_backbone(target)[:, None]
        correct, counted = chi_correct(prediction.coords, target.coords, known, target.restype)
        last = torsions - 1
        return float(correct[:, last].sum()), float(counted[:, last].sum())

    return counts


@register
class SideChains(Task):
    """Positions of side-chain atoms given the identities and the backbone of unseen clusters.

    The model gives its expected answer: a sample from the right distribution would be punished by
    the deviation with twice the variance of that distribution.

    Args:
        max_tokens: Longer test chains are left out and reported.
        num_steps: Steps of the sampler. One with ``noise=0`` is the expectation, which may lie
            between two rotamers; more of them go to one.
        noise: Scale of the initial noise, see `BioMolEngine.structures`.
        seed: Seed of the sampler.
        split_seed: Seed of the cluster split; 0 is that of training by default.
    """

    name, version, split, primary = "side_chains", "1.0", SPLIT, "side_chain_rmsd"
    description = "Side-chain placement given the backbone; torsions within 40 degrees."

    def __init__(
        self,
        max_tokens: int = 384,
        num_steps: int = 1,
        noise: float = 0.0,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        self.max_tokens, self.num_steps, self.noise = max_tokens, num_steps, noise
        self.seed, self.split_seed = seed, split_seed

    def load(self, data_root: Path) -> TaskData:
        """See the base class."""
        dataset = protein_chains(data_root, self.split_seed)
        return chain_data(dataset, without_side_chains, max_tokens=self.max_tokens)

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return (
            side_chain_rmsd(),
            ratio_of_sums("chi1_accuracy", _chi_counts(1)),
            ratio_of_sums("chi12_accuracy", _chi_counts(2)),
        )

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return (mean_side_chain(), common_rotamer(), backbone_dependent_side_chain())

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """See the base class; ``model`` is an ``Engine``."""

        def ask(records: Sequence[Complex]) -> list[PredictedStructure]:
            backbone = np.arange(NUM_SLOTS) < NUM_BACKBONE
            given = [record.coord_mask & backbone for record in records]
            samples = model.structures(
                records, given, seed=self.seed, num_steps=self.num_steps, noise=self.noise
            )
            return [
                PredictedStructure(coords=found[0], present=record.atom_mask)
                for found, record in zip(samples, records, strict=True)
            ]

        return answers([item.inputs for item in items], ask, chunk=8)

"""Structure from sequence alone, against baselines that need no model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from biomol.chem.vocab import REPRESENTATIVE_SLOT
from biomol.data.complex import Complex
from biomol.metrics.lddt import ca_lddt, distance_counts, lddt
from biomol.metrics.superposition import gdt, rmsd, tm_score
from biomol.tasks.baselines.backbone import extended, helix, nearest_training_chain
from biomol.tasks.chains import SPLIT, chain_data, named_chains, protein_chains, sequence_only
from biomol.tasks.prediction import PredictedStructure
from biomol.tasks.records import answers
from scimind.eval import Baseline, Item, Metric, Task, TaskData
from scimind.eval.metrics import mean_over_items
from scimind.eval.task import register
from scimind.typing import Bool


def _points(
    prediction: PredictedStructure, target: Complex
) -> tuple[np.ndarray, np.ndarray, Bool[np.ndarray, " residue"]]:
    """CA positions of the resolved residues, and which of them were predicted."""
    resolved = target.coord_mask[:, REPRESENTATIVE_SLOT]
    slot = REPRESENTATIVE_SLOT
    return (
        prediction.coords[resolved, slot],
        target.coords[resolved, slot],
        prediction.present[resolved, slot],
    )


def _ca_lddt(prediction: PredictedStructure, target: Complex) -> float:
    found, true, present = _points(prediction, target)
    if present.all():
        return ca_lddt(found, true)
    counts = distance_counts(found, true, np.arange(len(true)), present=present)
    reached = counts.total > 0
    return float(np.mean(counts.kept[reached] / counts.total[reached]))


def _all_atom_lddt(prediction: PredictedStructure, target: Complex) -> float:
    if not prediction.present[target.coord_mask].all():
        return math.nan  # a CA trace has no all-atom score
    return lddt(prediction.coords, target.coords, target.coord_mask, target.restype)[0]


def _tm(prediction: PredictedStructure, target: Complex) -> float:
    return tm_score(*_points(prediction, target))


def _gdt(prediction: PredictedStructure, target: Complex) -> float:
    return gdt(*_points(prediction, target))


def _rmsd(prediction: PredictedStructure, target: Complex) -> float:
    return rmsd(*_points(prediction, target))


@register
class StructureFromSequence(Task):
    """CA-lDDT of structures predicted from letters, on chains of unseen clusters.

    Args:
        chains: Score these chains (``file`` or ``file:chain``) wherever the split has put them:
            a test of memory, not of generalisation, and named so in the result.
        max_tokens: Longer test chains are left out and reported.
        num_steps: Steps of the sampler. One step with ``noise=0`` is the expected structure, the
            best single answer of a network whose low noise levels are trained little; a sample of
            a well trained one takes 20 steps and more with ``noise=1``.
        noise: Scale of the initial noise, see `BioMolEngine.structures`.
        seed: Seed of the sampler.
        split_seed: Seed of the cluster split; 0 is that of training by default.
    """

    name, version, split, primary = "structure", "1.0", SPLIT, "ca_lddt"
    description = "Structure from sequence alone, one answer per chain."

    def __init__(
        self,
        chains: Sequence[str] = (),
        max_tokens: int = 384,
        num_steps: int = 1,
        noise: float = 0.0,
        seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        self.chains = tuple(chains)
        self.max_tokens, self.num_steps, self.noise = max_tokens, num_steps, noise
        self.seed, self.split_seed = seed, split_seed
        if self.chains:
            self.name = "structure_overfit"  # type: ignore[misc]
            self.split = f"training chains {', '.join(self.chains)}"  # type: ignore[misc]

    def load(self, data_root: Path) -> TaskData:
        """See the base class."""
        dataset = protein_chains(data_root, self.split_seed)
        data = chain_data(dataset, sequence_only, max_tokens=self.max_tokens)
        if not self.chains:
            return data
        records = named_chains(dataset, self.chains)
        items = tuple(
            Item(name=name, inputs=sequence_only(record), target=record)
            for name, record in zip(self.chains, records, strict=True)
        )
        chosen = {id(record) for record in records}
        letters = {tuple(record.restype.tolist()) for record in records}
        training = tuple(
            item
            for item in data.training
            if id(item.target) not in chosen and tuple(item.target.restype.tolist()) not in letters
        )
        return TaskData(items=items, training=training, digest=data.digest)

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        unit = (0.0, 1.0)
        return (
            mean_over_items("ca_lddt", _ca_lddt, "higher", bounds=unit),
            mean_over_items("lddt", _all_atom_lddt, "higher", bounds=unit),
            mean_over_items("tm_score", _tm, "higher", bounds=unit),
            mean_over_items("gdt_ts", _gdt, "higher", bounds=unit),
            mean_over_items("ca_rmsd", _rmsd, "lower", unit="Å", bounds=(0.0, math.inf)),
        )

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return (helix(), extended(), nearest_training_chain())

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """See the base class; ``model`` is an ``Engine``."""

        def ask(records: Sequence[Complex]) -> list[PredictedStructure]:
            nothing = [np.zeros_like(record.coord_mask) for record in records]
            samples = model.structures(
                records, nothing, seed=self.seed, num_steps=self.num_steps, noise=self.noise
            )
            return [
                PredictedStructure(coords=found[0], present=record.atom_mask)
                for found, record in zip(samples, records, strict=True)
            ]

        return answers([item.inputs for item in items], ask, chunk=8)

"""Scores of a network on one part of the prepared data: what selects the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from biomol.chem.vocab import NUM_TOKENS, PROTEIN_IDS, REPRESENTATIVE_SLOT, MolType
from biomol.data.complex import Complex
from biomol.data.datasets.dataset import Dataset
from biomol.data.noise import backbone_mask
from biomol.data.preparation import Prepared
from biomol.sampling.engine import BioMolEngine
from scimind.eval.metrics import area_under_roc, spearman_correlation

MAX_TOKENS = 384


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score of one quantity.

    Attributes:
        name: ``<data set>/<quantity>/<metric>``.
        value: The score.
        trivial: What the trivial predictor (mean, majority) scores on the same items.
        skill: ``value`` on a scale on which the trivial predictor has 0 and perfection 1.
        count: Items behind it.
    """

    name: str
    value: float
    trivial: float
    skill: float
    count: int


def evaluate_part(
    engine: BioMolEngine, prepared: Prepared, part: str, *, limit: int = 0, num_steps: int = 1
) -> list[Score]:
    """Score everything that the data sets have labels for.

    Args:
        engine: The network.
        prepared: The data.
        part: ``"valid"`` or ``"test"``.
        limit: Records per data set at most, evenly drawn; 0 takes all.
        num_steps: Steps of the structure sampler.
    """
    scores: list[Score] = []
    for dataset in prepared.datasets.values():
        records = _records(dataset, part, limit)
        if not records:
            continue
        if dataset.properties:
            scores += property_scores(engine, dataset, records)
        for label in dataset.labels:
            scores += label_scores(engine, dataset, label.name, len(label.classes), records)
        if dataset.name == "chains":
            scores += inverse_folding_scores(engine, records)
            scores += side_chain_scores(engine, records, num_steps)
        if dataset.name == "components":
            scores += element_scores(engine, records)
            scores += conformer_scores(engine, records, num_steps)
    return scores


def summary(scores: Sequence[Score]) -> dict[str, float]:
    """Scores by name and ``score``, the mean skill over data sets (each counts once)."""
    by_dataset: dict[str, list[float]] = {}
    for score in scores:
        kind = score.name.split("/")[0]
        if np.isfinite(score.skill):
            by_dataset.setdefault(kind, []).append(float(np.clip(score.skill, -1.0, 1.0)))
    mean = np.mean([np.mean(skills) for skills in by_dataset.values()]) if by_dataset else np.nan
    return {**{score.name: score.value for score in scores}, "score": float(mean)}


def _records(dataset: Dataset, part: str, limit: int) -> list[Complex]:
    indices = dataset.split[part]
    if limit and len(indices) > limit:
        indices = indices[np.linspace(0, len(indices) - 1, limit).round().astype(int)]
    records = (dataset.records[int(index)] for index in indices)
    return [record for record in records if dataset.labels or record.num_tokens <= MAX_TOKENS]


def _skill(gain: float, room: float) -> float:
    """Share of the way from the trivial predictor to perfection; NaN where that one is perfect."""
    return gain / room if room > 0 else float("nan")


def property_scores(
    engine: BioMolEngine, dataset: Dataset, records: Sequence[Complex]
) -> list[Score]:
    """RMSE (and rank correlation for assays of sequences) or ROC-AUC of each property."""
    names = [found.name for found in dataset.properties]
    predicted = engine.properties(records, names)
    means = dict(zip(engine.scale.names, engine.scale.mean, strict=True))
    scores = []
    for column, found in enumerate(dataset.properties):
        truth = np.array([record.properties.get(found.name, np.nan) for record in records])
        known = np.isfinite(truth)
        values, wanted = predicted[known, column], truth[known]
        if found.kind == "binary":
            if len(np.unique(wanted)) < 2:
                continue
            area = area_under_roc(values, wanted)
            scores.append(Score(
                name=f"{found.name}/roc_auc", value=area, trivial=0.5,
                skill=2 * area - 1, count=len(wanted),
            ))  # fmt: skip
            continue
        if len(wanted) < 2:
            continue
        error = float(np.sqrt(np.mean((values - wanted) ** 2)))
        trivial = float(np.sqrt(np.mean((means[found.name] - wanted) ** 2)))
        if records[0].mol_type[0] == MolType.ATOM:
            scores.append(Score(
                name=f"{found.name}/rmse", value=error, trivial=trivial,
                skill=_skill(trivial - error, trivial), count=len(wanted),
            ))  # fmt: skip
        else:
            rank = spearman_correlation(values, wanted)
            scores.append(Score(
                name=f"{found.name}/spearman", value=rank, trivial=0.0, skill=rank,
                count=len(wanted),
            ))  # fmt: skip
    return scores


def label_scores(
    engine: BioMolEngine, dataset: Dataset, label: str, classes: int, records: Sequence[Complex]
) -> list[Score]:
    """Share of tokens with the right class."""
    right, total = 0, 0
    counts = np.zeros(classes, int)
    for record, probabilities in zip(
        records, engine.token_probabilities(records, label), strict=True
    ):
        truth = record.token_labels[label]
        known = truth >= 0
        right += int((probabilities.argmax(axis=-1)[known] == truth[known]).sum())
        total += int(known.sum())
        counts += np.bincount(truth[known], minlength=classes)
    if total == 0:
        return []
    accuracy, majority = right / total, float(counts.max() / total)
    skill = _skill(accuracy - majority, 1 - majority)
    return [Score(
        name=f"{label}/accuracy", value=accuracy, trivial=majority, skill=skill,
        count=total,
    )]  # fmt: skip


def inverse_folding_scores(engine: BioMolEngine, records: Sequence[Complex]) -> list[Score]:
    """Median share of native residues recovered from the backbone alone, one pass."""
    hidden = [record.mol_type == MolType.PROTEIN for record in records]
    recovery, total = [], np.zeros(len(PROTEIN_IDS), int)
    for record, probabilities in zip(
        records, engine.sequence_probabilities(records, hidden), strict=True
    ):
        counted = np.isin(record.restype, PROTEIN_IDS) & record.coord_mask[:, :3].all(axis=1)
        if counted.any():
            chosen = probabilities.argmax(axis=-1)
            recovery.append(float((chosen[counted] == record.restype[counted]).mean()))
            total += (record.restype[counted][:, None] == np.array(PROTEIN_IDS)).sum(axis=0)
    if not recovery:
        return []
    majority = float(total.max() / total.sum())
    median = float(np.median(recovery))
    return [Score(
        name="chains/inverse_folding/recovery", value=median, trivial=majority,
        skill=_skill(median - majority, 1 - majority), count=len(recovery),
    )]  # fmt: skip


def element_scores(engine: BioMolEngine, records: Sequence[Complex]) -> list[Score]:
    """Share of elements recovered from bonds and positions when every identity is hidden."""
    hidden = [np.ones(record.num_tokens, bool) for record in records]
    right, counts = 0, np.zeros(NUM_TOKENS, int)
    for record, probabilities in zip(
        records, engine.sequence_probabilities(records, hidden), strict=True
    ):
        right += int((probabilities.argmax(axis=-1) == record.restype).sum())
        counts += np.bincount(record.restype, minlength=NUM_TOKENS)
    total = int(counts.sum())
    if total == 0:
        return []
    accuracy, majority = right / total, float(counts.max() / total)
    return [
        Score(
            name="components/elements/accuracy",
            value=accuracy,
            trivial=majority,
            skill=_skill(accuracy - majority, 1 - majority),
            count=total,
        )
    ]


def side_chain_scores(
    engine: BioMolEngine, records: Sequence[Complex], num_steps: int
) -> list[Score]:
    """RMSD of side-chain atoms beyond CB, given sequence and backbone, mean over chains.

    The trivial predictor leaves every atom at its CB.
    """
    given = [record.coord_mask & backbone_mask(record.mol_type) for record in records]
    errors, trivial = [], []
    samples = engine.structures(records, given, num_steps=num_steps, noise=0.0)
    for record, keep, sample in zip(records, given, samples, strict=True):
        side = record.coord_mask & ~keep & (record.mol_type == MolType.PROTEIN)[:, None]
        side[:, 4] = False
        side &= record.coord_mask[:, 4:5]
        if not side.any():
            continue
        errors.append(float(np.sqrt(((sample[0] - record.coords)[side] ** 2).sum(-1).mean())))
        beta = np.broadcast_to(record.coords[:, 4:5], record.coords.shape)
        trivial.append(float(np.sqrt(((beta - record.coords)[side] ** 2).sum(-1).mean())))
    if not errors:
        return []
    error, base = float(np.mean(errors)), float(np.mean(trivial))
    return [Score(
        name="chains/side_chains/rmsd", value=error, trivial=base, skill=1 - error / base,
        count=len(errors),
    )]  # fmt: skip


def conformer_scores(
    engine: BioMolEngine, records: Sequence[Complex], num_steps: int
) -> list[Score]:
    """RMSD of generated conformers after superposition, from the molecular graph alone.

    The trivial predictor puts every atom at the centre.
    """
    from biomol.sampling.structure import superpose_onto

    given = [np.zeros(record.coord_mask.shape, bool) for record in records]
    errors, trivial = [], []
    for record, sample in zip(
        records, engine.structures(records, given, num_steps=num_steps), strict=True
    ):
        known = record.coord_mask[:, REPRESENTATIVE_SLOT]
        if known.sum() < 3:
            continue
        truth = record.coords[known, REPRESENTATIVE_SLOT]
        moved = superpose_onto(sample[0][known, REPRESENTATIVE_SLOT], truth)
        errors.append(float(np.sqrt(((moved - truth) ** 2).sum(-1).mean())))
        trivial.append(float(np.sqrt(((truth - truth.mean(0)) ** 2).sum(-1).mean())))
    if not errors:
        return []
    error, base = float(np.mean(errors)), float(np.mean(trivial))
    return [Score(
        name="components/conformers/rmsd", value=error, trivial=base, skill=1 - error / base,
        count=len(errors),
    )]  # fmt: skip

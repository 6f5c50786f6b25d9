"""Structures from a sequence without a model: one helix, one strand, or a relative's backbone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from biomol.chem.vocab import PROTEIN_CODES, PROTEIN_LETTERS, REPRESENTATIVE_SLOT, TOKENS
from biomol.data.complex import Complex
from biomol.tasks.prediction import PredictedStructure
from scimind.eval import Baseline, TaskData
from scimind.typing import Float

_LETTER = dict(zip(PROTEIN_CODES, PROTEIN_LETTERS, strict=True))


def helix_trace(count: int) -> Float[np.ndarray, "residue 3"]:
    """CA atoms of an ideal alpha helix: radius 2.3 angstrom, 100 degrees and 1.5 angstrom each.

    Source: Pauling, Corey and Branson, PNAS 37, 205 (1951).
    """
    turn = np.radians(100.0) * np.arange(count)
    return np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(count)], axis=1)


def extended_trace(count: int) -> Float[np.ndarray, "residue 3"]:
    """CA atoms of an extended strand: 3.4 angstrom each, 0.9 angstrom to alternating sides."""
    index = np.arange(count)
    side = np.where(index % 2 == 0, 0.9, -0.9)
    return np.stack([side, np.zeros(count), 3.4 * index], axis=1)


def helix() -> Baseline:
    """One ideal helix for the whole chain."""
    return _trace("one ideal helix", helix_trace)


def extended() -> Baseline:
    """One extended strand for the whole chain."""
    return _trace("one extended strand", extended_trace)


def _trace(name: str, trace: object) -> Baseline:
    assert callable(trace)

    def predict(data: TaskData) -> Iterator[PredictedStructure]:
        # Residues missing in the middle of a chain take their place along it.
        return (_from_trace(item.inputs, trace(int(item.inputs.res_index.max()) + 1))
                for item in data.items)  # fmt: skip

    return Baseline(name=name, kind="trivial", predict=predict)


def _from_trace(record: Complex, trace: Float[np.ndarray, "residue 3"]) -> PredictedStructure:
    coords = np.zeros(record.coords.shape)
    coords[:, REPRESENTATIVE_SLOT] = trace[record.res_index]
    present = np.zeros(record.coord_mask.shape, bool)
    present[:, REPRESENTATIVE_SLOT] = True
    return PredictedStructure(coords=coords, present=present)


def nearest_training_chain() -> Baseline:
    """The CA trace of the training chain with the highest sequence identity, where it aligns.

    Global alignment with BLOSUM62, gaps 11 + 1. Residues without a partner are missing.
    """

    def predict(data: TaskData) -> Iterator[PredictedStructure]:
        from Bio.Align import PairwiseAligner, substitution_matrices

        aligner = PairwiseAligner(
            mode="global",
            substitution_matrix=substitution_matrices.load("BLOSUM62"),
            open_gap_score=-11.0,
            extend_gap_score=-1.0,
            end_gap_score=0.0,
        )
        training = [item.target for item in data.training]
        letters = [letters_of(record) for record in training]
        for item in data.items:
            query = letters_of(item.inputs)
            scores = [aligner.score(query, other) for other in letters]
            # The best raw scores first, then identity decides among those.
            best, identity, pairs = training[0], -1.0, np.zeros((0, 2), int)
            for index in np.argsort(scores)[::-1][:10]:
                found = _pairs(aligner.align(query, letters[index])[0].aligned)
                same = np.mean([query[i] == letters[index][j] for i, j in found])
                share = float(same) * len(found) / len(query)
                if share > identity:
                    best, identity, pairs = training[index], share, found
            yield _threaded(item.inputs, best, pairs)

    return Baseline(
        name="backbone of the most similar training chain", kind="classical", predict=predict
    )


def _pairs(blocks: np.ndarray) -> np.ndarray:
    return np.array(
        [
            (a0 + step, b0 + step)
            for (a0, a1), (b0, _) in zip(*blocks, strict=True)
            for step in range(a1 - a0)
        ],
        int,
    ).reshape(-1, 2)


def _threaded(record: Complex, template: Complex, pairs: np.ndarray) -> PredictedStructure:
    coords = np.zeros(record.coords.shape)
    present = np.zeros(record.coord_mask.shape, bool)
    i, j = pairs.T
    coords[i, REPRESENTATIVE_SLOT] = template.coords[j, REPRESENTATIVE_SLOT]
    present[i, REPRESENTATIVE_SLOT] = template.coord_mask[j, REPRESENTATIVE_SLOT]
    return PredictedStructure(coords=coords, present=present)


def letters_of(record: Complex) -> str:
    """One letter per protein residue, X where unknown."""
    return "".join(_LETTER.get(TOKENS[token], "X") for token in record.restype)

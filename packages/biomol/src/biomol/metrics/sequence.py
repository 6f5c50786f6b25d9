"""Designed sequences against native ones."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from biomol.chem.vocab import NUM_TOKENS, PROTEIN_IDS, PROTEIN_LETTERS
from scimind.typing import Bool, Float, Int


def recovery(
    designed: Int[np.ndarray, " token"],
    native: Int[np.ndarray, " token"],
    mask: Bool[np.ndarray, " token"],
) -> float:
    """Share of positions in ``mask`` with the native identity; NaN without positions."""
    return float(np.mean(designed[mask] == native[mask])) if mask.any() else math.nan


def similarity_recovery(
    designed: Int[np.ndarray, " token"],
    native: Int[np.ndarray, " token"],
    mask: Bool[np.ndarray, " token"],
) -> float:
    """Native sequence similarity recovery (NSSR): share of pairs with BLOSUM62 above 0.

    Source: Löffler, Schmitz, Hupfeld, Sterner and Merkl, PLoS Comput. Biol. 13, e1005600 (2017).
    """
    if not mask.any():
        return math.nan
    return float(np.mean(_blosum62()[designed[mask], native[mask]] > 0))


def log_likelihood(
    probabilities: Float[np.ndarray, "token class"],
    native: Int[np.ndarray, " token"],
    mask: Bool[np.ndarray, " token"],
) -> tuple[float, int]:
    """Sum of the natural log-probabilities of the native identities, and their number.

    Probabilities are renormalised over the 20 amino acids, and a zero counts as 1e-9.

    Args:
        probabilities: Probability of each identity of ``vocab.TOKENS``.
        native: True identities, amino acids at the positions that count.
        mask: Positions that count.
    """
    columns = np.asarray(PROTEIN_IDS)
    amino = np.asarray(probabilities, np.float64)[mask][:, columns]
    amino = amino / np.maximum(amino.sum(axis=-1, keepdims=True), 1e-300)
    index = np.searchsorted(columns, native[mask])
    chosen = amino[np.arange(len(amino)), index]
    return float(np.log(np.maximum(chosen, 1e-9)).sum()), len(amino)


def perplexity(
    probabilities: Float[np.ndarray, "token class"],
    native: Int[np.ndarray, " token"],
    mask: Bool[np.ndarray, " token"],
) -> float:
    """Inverse geometric mean probability of the native: 1 is certain, 20 a uniform guess."""
    total, count = log_likelihood(probabilities, native, mask)
    return math.exp(-total / count) if count else math.nan


@lru_cache(maxsize=1)
def _blosum62() -> Int[np.ndarray, "token token"]:
    from Bio.Align import substitution_matrices

    matrix = substitution_matrices.load("BLOSUM62")
    scores = np.full((NUM_TOKENS, NUM_TOKENS), -4, np.int64)
    for i, first in zip(PROTEIN_IDS, PROTEIN_LETTERS, strict=True):
        for j, second in zip(PROTEIN_IDS, PROTEIN_LETTERS, strict=True):
            scores[i, j] = int(matrix[first, second])
    return scores

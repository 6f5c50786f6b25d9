"""Secondary structure from letters: majority, propensities, and the GOR method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from biomol.chem.vocab import PROTEIN_LETTERS
from scimind.eval import Baseline, Item, TaskData
from scimind.typing import Float, Int

NUM_CLASSES = 3
HALF_WINDOW = 8
_OTHER = len(PROTEIN_LETTERS)
_OUTSIDE = _OTHER + 1
_NUM_SYMBOLS = _OUTSIDE + 1
_INDEX = np.full(256, _OTHER)
_INDEX[np.frombuffer(PROTEIN_LETTERS.encode(), np.uint8)] = np.arange(len(PROTEIN_LETTERS))


def majority_class() -> Baseline:
    """The most frequent class for every residue."""

    def predict(data: TaskData) -> Iterator[Float[np.ndarray, "residue class"]]:
        counts = np.zeros(NUM_CLASSES)
        for item in data.training:
            counts += np.bincount(item.target[item.target >= 0], minlength=NUM_CLASSES)
        share = counts / counts.sum()
        return (np.tile(share, (len(item.inputs.key), 1)) for item in data.items)

    return Baseline(name="most frequent class", kind="trivial", predict=predict)


def residue_propensity() -> Baseline:
    """The most frequent class of the residue's type (Chou and Fasman's propensities alone)."""
    return Baseline(
        name="class by residue type",
        kind="classical",
        predict=lambda data: _information(data, half_window=0),
    )


def gor() -> Baseline:
    """GOR I: independent information of 17 residues about the class of the middle one.

    Source: Garnier, Osguthorpe and Robson, J. Mol. Biol. 120, 97 (1978).
    """
    return Baseline(
        name="GOR I (17 residues)",
        kind="classical",
        predict=lambda data: _information(data, half_window=HALF_WINDOW),
    )


def _information(data: TaskData, half_window: int) -> Iterator[Float[np.ndarray, "residue class"]]:
    table, prior = _fit(data.training, half_window)
    for item in data.items:
        windows = _windows(item.inputs.key, half_window)
        scores = prior + table[np.arange(windows.shape[1]), windows].sum(axis=1)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        yield weights / weights.sum(axis=-1, keepdims=True)


def _windows(letters: str, half_window: int) -> Int[np.ndarray, "residue offset"]:
    """Symbol at each offset around each residue."""
    symbols = _INDEX[np.frombuffer(letters.encode("latin-1", "replace"), np.uint8)]
    padded = np.pad(symbols, half_window, constant_values=_OUTSIDE)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * half_window + 1)


def _fit(
    training: Sequence[Item], half_window: int
) -> tuple[Float[np.ndarray, "offset symbol class"], Float[np.ndarray, " class"]]:
    """Logarithms of P(symbol at offset | class) and P(class), with one pseudo-count."""
    width = 2 * half_window + 1
    counts = np.zeros(width * _NUM_SYMBOLS * NUM_CLASSES)
    offsets = np.arange(width) * _NUM_SYMBOLS
    for item in training:
        known = item.target >= 0
        cells = (offsets + _windows(item.inputs.key, half_window)[known]) * NUM_CLASSES
        index = cells + item.target[known].astype(np.int64)[:, None]
        counts += np.bincount(index.ravel(), minlength=len(counts))
    table = counts.reshape(width, _NUM_SYMBOLS, NUM_CLASSES)
    prior = table[half_window].sum(axis=0)
    likelihood = (table + 1.0) / (table + 1.0).sum(axis=1, keepdims=True)
    return np.log(likelihood), np.log(prior / prior.sum())

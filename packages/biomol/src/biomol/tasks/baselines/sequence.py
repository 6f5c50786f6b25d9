"""Sequences for a backbone: frequencies alone, and frequencies given the local geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from biomol.chem.vocab import NUM_TOKENS, PROTEIN_IDS, REPRESENTATIVE_SLOT
from biomol.data.complex import Complex
from biomol.tasks.baselines.torsions import backbone_torsions
from scimind.eval import Baseline, Item, TaskData
from scimind.typing import Float, Int

_COLUMNS = np.asarray(PROTEIN_IDS)
NUM_TORSION_BINS = 6
NEIGHBOUR_EDGES = (8, 12, 16, 20, 24)
NEIGHBOUR_RADIUS = 10.0
_PSEUDO_COUNTS = 20.0


def residue_frequencies(records: Sequence[Complex]) -> Float[np.ndarray, " identity"]:
    """Share of each identity among the residues of some chains, one pseudo-count each."""
    counts = np.zeros(NUM_TOKENS)
    counts[_COLUMNS] = 1.0
    for record in records:
        counts += np.bincount(record.restype, minlength=NUM_TOKENS) * np.isin(
            np.arange(NUM_TOKENS), _COLUMNS
        )
    return np.asarray(counts / counts.sum())


def background() -> Baseline:
    """The training frequencies everywhere: the best guess is the most frequent residue."""

    def predict(data: TaskData) -> Iterator[Float[np.ndarray, "token identity"]]:
        share = residue_frequencies([item.target for item in data.training])
        return (np.tile(share, (item.inputs.num_tokens, 1)) for item in data.items)

    return Baseline(
        name="training frequencies (most frequent residue)", kind="trivial", predict=predict
    )


def local_geometry() -> Baseline:
    """Frequencies given the backbone torsions of a residue and its number of neighbours.

    A table over 6 x 6 bins of phi and psi and 6 of the number of CA within 10 angstrom, smoothed
    towards the frequencies of all residues.
    """

    def predict(data: TaskData) -> Iterator[Float[np.ndarray, "token identity"]]:
        share = residue_frequencies([item.target for item in data.training])
        table = _fit(data.training, share)
        return (table[geometry_bins(item.inputs)] for item in data.items)

    return Baseline(
        name="frequencies by torsions and neighbours", kind="classical", predict=predict
    )


def _fit(
    training: Sequence[Item], share: Float[np.ndarray, " identity"]
) -> Float[np.ndarray, "bin identity"]:
    bins = (NUM_TORSION_BINS**2 + 1) * (len(NEIGHBOUR_EDGES) + 1)
    counts = np.tile(_PSEUDO_COUNTS * share, (bins, 1))
    for item in training:
        known = np.isin(item.target.restype, _COLUMNS)
        index = geometry_bins(item.target)
        np.add.at(counts, (index[known], item.target.restype[known]), 1.0)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def geometry_bins(record: Complex) -> Int[np.ndarray, " token"]:
    """Bin of the local backbone geometry of each token, from N, CA and C alone."""
    torsions = backbone_torsions(record)
    known = np.isfinite(torsions).all(axis=1)
    width = 360.0 / NUM_TORSION_BINS
    bins = np.minimum((torsions[known] + 180.0) // width, NUM_TORSION_BINS - 1).astype(int)
    torsion_bin = np.full(record.num_tokens, NUM_TORSION_BINS**2)
    torsion_bin[known] = bins @ [NUM_TORSION_BINS, 1]
    ca = record.coords[:, REPRESENTATIVE_SLOT].astype(np.float64)
    resolved = np.flatnonzero(record.coord_mask[:, 1])
    distance = np.linalg.norm(ca[:, None] - ca[resolved][None], axis=-1)
    neighbours = (distance < NEIGHBOUR_RADIUS).sum(axis=1)
    crowding = np.searchsorted(NEIGHBOUR_EDGES, neighbours, side="right")
    return np.asarray(crowding * (NUM_TORSION_BINS**2 + 1) + torsion_bin)

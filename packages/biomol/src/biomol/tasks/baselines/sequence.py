"""Sequences for a backbone: frequencies alone, and frequencies given the local geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from biomol.chem.geometry import dihedral
from biomol.chem.vocab import NUM_TOKENS, PROTEIN_IDS
from biomol.data.complex import Complex
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
    count = record.num_tokens
    frame = record.coord_mask[:, :3].all(axis=1)
    n, ca, c = (record.coords[:, slot].astype(np.float64) for slot in range(3))
    linked = (np.diff(record.res_index) == 1) & frame[1:] & frame[:-1]
    inner = np.flatnonzero(linked[1:] & linked[:-1]) + 1
    torsion_bin = np.full(count, NUM_TORSION_BINS**2)
    if len(inner):
        phi = np.degrees(dihedral(c[inner - 1], n[inner], ca[inner], c[inner]))
        psi = np.degrees(dihedral(n[inner], ca[inner], c[inner], n[inner + 1]))
        width = 360.0 / NUM_TORSION_BINS
        i, j = (
            np.minimum((angle + 180.0) // width, NUM_TORSION_BINS - 1).astype(int)
            for angle in (phi, psi)
        )
        torsion_bin[inner] = i * NUM_TORSION_BINS + j
    resolved = np.flatnonzero(record.coord_mask[:, 1])
    distance = np.linalg.norm(ca[:, None] - ca[resolved][None], axis=-1)
    neighbours = (distance < NEIGHBOUR_RADIUS).sum(axis=1)
    crowding = np.searchsorted(NEIGHBOUR_EDGES, neighbours, side="right")
    return np.asarray(crowding * (NUM_TORSION_BINS**2 + 1) + torsion_bin)

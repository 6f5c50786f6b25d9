"""Local distance difference test: how many interatomic distances are kept.

Source: Mariani, Biasini, Barbato and Schwede, Bioinformatics 29, 2722 (2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from biomol.chem.vocab import REPRESENTATIVE_SLOT
from biomol.metrics.symmetry import swapped_slots
from scimind.typing import Bool, Float, Int

CUTOFF_ANGSTROM = 15.0
THRESHOLDS_ANGSTROM = (0.5, 1.0, 2.0, 4.0)
_ROWS_PER_BLOCK = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class DistanceCounts:
    """Distances of each atom to the atoms of other groups.

    Attributes:
        kept: Number of kept distances, averaged over the thresholds.
        total: Number of reference distances within the cutoff.
    """

    kept: Float[np.ndarray, " atom"]
    total: Float[np.ndarray, " atom"]

    @property
    def overall(self) -> float:
        """Kept share of all distances; NaN where there are none."""
        total = float(self.total.sum())
        return float(self.kept.sum()) / total if total else math.nan

    def per_group(self, group: Int[np.ndarray, " atom"], count: int) -> Float[np.ndarray, " group"]:
        """Kept share of the distances of each group; NaN where it has none.

        Args:
            group: Group (residue) of each atom, below ``count``.
            count: Number of groups.
        """
        kept = np.bincount(group, self.kept, minlength=count)
        total = np.bincount(group, self.total, minlength=count)
        return np.divide(kept, total, out=np.full(count, np.nan), where=total > 0)


def distance_counts(
    predicted: Float[np.ndarray, "atom 3"],
    reference: Float[np.ndarray, "atom 3"],
    group: Int[np.ndarray, " atom"],
    *,
    present: Bool[np.ndarray, " atom"] | None = None,
    rows: Int[np.ndarray, " row"] | None = None,
    columns: Bool[np.ndarray, " atom"] | None = None,
    cutoff: float = CUTOFF_ANGSTROM,
) -> DistanceCounts:
    """Counts reference distances below the cutoff, and those the prediction keeps.

    Distances within a group (residue) do not count. A distance is kept at a threshold when it
    differs by less than the threshold; distances to atoms the prediction lacks are lost.

    Args:
        predicted: Predicted positions of the atoms of the reference, angstrom.
        reference: Reference positions.
        group: Residue of each atom.
        present: Atoms that the prediction has; all by default.
        rows: Atoms to count for; all by default.
        columns: Partner atoms that count; all by default.
        cutoff: Largest reference distance (inclusion radius), angstrom.

    Returns:
        Counts for each row.
    """
    count = len(reference)
    rows = np.arange(count) if rows is None else rows
    partner = np.ones(count, bool) if columns is None else columns
    present = np.ones(count, bool) if present is None else present
    reference = np.asarray(reference, np.float64)
    predicted = np.where(present[:, None], np.asarray(predicted, np.float64), np.nan)
    kept, total = np.zeros(len(rows)), np.zeros(len(rows))
    for start in range(0, len(rows), _ROWS_PER_BLOCK):
        block = rows[start : start + _ROWS_PER_BLOCK]
        distance = _distances(reference[block], reference)
        near = (distance <= cutoff) & partner & (group[block][:, None] != group)
        i, j = np.nonzero(near)
        found = np.linalg.norm(predicted[block[i]] - predicted[j], axis=-1)
        error = np.abs(found - distance[i, j])
        # A comparison with NaN (an absent atom) is false: the distance is lost.
        share = np.mean([error < threshold for threshold in THRESHOLDS_ANGSTROM], axis=0)
        kept[start : start + len(block)] = np.bincount(i, share, minlength=len(block))
        total[start : start + len(block)] = np.bincount(i, minlength=len(block))
    return DistanceCounts(kept=kept, total=total)


def lddt(
    predicted: Float[np.ndarray, "token slot 3"],
    reference: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
    *,
    present: Bool[np.ndarray, "token slot"] | None = None,
    group: Int[np.ndarray, " token"] | None = None,
    rename: bool = True,
) -> tuple[float, Float[np.ndarray, " token"]]:
    """All-atom lDDT.

    Args:
        predicted: Predicted positions, angstrom.
        reference: Reference positions.
        mask: Atoms of the reference.
        restype: Identity of each token, for the interchangeable atoms.
        present: Atoms that the prediction has; all by default.
        group: Residue of each token, for molecules of one token per atom (see
            ``matching.residue_groups``); every token is a residue by default.
        rename: Name interchangeable atoms of the prediction as suits the score.

    Returns:
        The score over all distances (NaN where there are none), and the score of each token.
        Stereochemical violations are not penalised, see ``metrics.validity``.
    """
    present = np.ones_like(mask) if present is None else present
    if rename:
        predicted, present = rename_for_lddt(predicted, reference, mask, restype, present=present)
    token = np.nonzero(mask)[0]
    residue = token if group is None else group[token]
    counts = distance_counts(predicted[mask], reference[mask], residue, present=present[mask])
    return counts.overall, counts.per_group(token, len(mask))


def ca_lddt(
    predicted: Float[np.ndarray, "token 3"],
    reference: Float[np.ndarray, "token 3"],
    mask: Bool[np.ndarray, " token"] | None = None,
) -> float:
    """Mean lDDT of one point per residue, averaged over residues as AlphaFold does.

    Args:
        predicted: Positions of CA (C1' in nucleotides), angstrom.
        reference: Positions to compare with.
        mask: Residues that count; all by default.

    Returns:
        Mean over residues with at least one partner in reach; NaN where there are none.
    """
    if mask is not None:
        predicted, reference = predicted[mask], reference[mask]
    residue = np.arange(len(reference))
    counts = distance_counts(predicted, reference, residue)
    reached = counts.total > 0
    return float(np.mean(counts.kept[reached] / counts.total[reached])) if reached.any() else np.nan


def representative(positions: Float[np.ndarray, "token slot 3"]) -> Float[np.ndarray, "token 3"]:
    """Positions of the representative atoms (CA, C1', ligand atom)."""
    return positions[:, REPRESENTATIVE_SLOT]


def rename_for_lddt(
    predicted: Float[np.ndarray, "token slot 3"],
    reference: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
    restype: Int[np.ndarray, " token"],
    *,
    present: Bool[np.ndarray, "token slot"],
) -> tuple[Float[np.ndarray, "token slot 3"], Bool[np.ndarray, "token slot"]]:
    """Names interchangeable atoms so that more distances to uniquely named atoms are kept.

    Only distances to atoms without a twin decide, so the order of residues does not matter; this
    is OpenStructure's rule.

    Args:
        predicted: Predicted positions, angstrom.
        reference: Reference positions.
        mask: Atoms of the reference.
        restype: Identity of each token.
        present: Atoms that the prediction has.

    Returns:
        Renamed positions and presence.
    """
    slots, twin = swapped_slots(restype, lddt=True)
    token = np.nonzero(mask)[0]
    if not (twin & mask).any():
        return predicted, present
    other = np.take_along_axis(predicted, slots[..., None], axis=1)
    other_present = np.take_along_axis(present, slots, axis=1)
    columns, rows = ~twin[mask], np.flatnonzero(twin[mask])

    def kept(positions: np.ndarray, has: np.ndarray) -> Float[np.ndarray, " token"]:
        counts = distance_counts(
            positions[mask],
            reference[mask],
            token,
            present=has[mask],
            rows=rows,
            columns=columns,
        )
        return np.bincount(token[rows], counts.kept, minlength=len(mask))

    better = kept(other, other_present) > kept(predicted, present)
    return (
        np.where(better[:, None, None], other, predicted),
        np.where(better[:, None], other_present, present),
    )


def _distances(
    a: Float[np.ndarray, "row 3"], b: Float[np.ndarray, "column 3"]
) -> Float[np.ndarray, "row column"]:
    # The difference form: |a|² + |b|² - 2ab loses digits far from the origin.
    squares = [(a[:, None, axis] - b[None, :, axis]) ** 2 for axis in range(3)]
    return np.asarray(np.sqrt(squares[0] + squares[1] + squares[2]))

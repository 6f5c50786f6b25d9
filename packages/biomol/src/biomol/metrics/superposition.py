"""Rigid superposition and the scores that need one: RMSD, GDT, TM-score."""

from __future__ import annotations

import math

import numpy as np

from scimind.typing import Bool, Float

_GDT_CUTOFFS = {"ts": (1.0, 2.0, 4.0, 8.0), "ha": (0.5, 1.0, 2.0, 4.0)}
_MAX_STARTS = 200
_MAX_ROUNDS = 20


def superpose(
    mobile: Float[np.ndarray, "*batch point 3"],
    fixed: Float[np.ndarray, "*batch point 3"],
    weight: Float[np.ndarray, "*batch point"] | None = None,
) -> tuple[Float[np.ndarray, "*batch 3 3"], Float[np.ndarray, "*batch 3"]]:
    """Rotation and translation that bring ``mobile`` onto ``fixed`` with least squares error.

    Args:
        mobile: Points to move.
        fixed: Points to move them to.
        weight: Weight of each point; ones by default. At least one must be positive.

    Returns:
        ``(R, t)`` with ``mobile @ R + t`` the superposed points; ``R`` is a proper rotation.

    Source: Kabsch, Acta Cryst. A32, 922 (1976).
    """
    mobile, fixed = np.asarray(mobile, np.float64), np.asarray(fixed, np.float64)
    weight = np.ones(mobile.shape[:-1]) if weight is None else np.asarray(weight, np.float64)
    share = (weight / weight.sum(axis=-1, keepdims=True))[..., None]
    centre_m = (share * mobile).sum(axis=-2, keepdims=True)
    centre_f = (share * fixed).sum(axis=-2, keepdims=True)
    covariance = np.swapaxes(share * (mobile - centre_m), -1, -2) @ (fixed - centre_f)
    u, _, vt = np.linalg.svd(covariance)
    handedness = np.ones((*covariance.shape[:-2], 3))
    handedness[..., 2] = np.sign(np.linalg.det(u @ vt))
    rotation = (u * handedness[..., None, :]) @ vt
    translation = (centre_f - centre_m @ rotation)[..., 0, :]
    return rotation, translation


def rmsd(
    mobile: Float[np.ndarray, "point 3"],
    fixed: Float[np.ndarray, "point 3"],
    mask: Bool[np.ndarray, " point"] | None = None,
    *,
    aligned: bool = False,
) -> float:
    """Root-mean-square deviation in angstrom, after superposition unless ``aligned``.

    Args:
        mobile: Predicted points.
        fixed: Reference points.
        mask: Points that count; all by default.
        aligned: The two are in the same frame already: no superposition.

    Returns:
        The deviation; NaN without points.
    """
    if mask is not None:
        mobile, fixed = mobile[mask], fixed[mask]
    if not len(mobile):
        return math.nan
    moved = np.asarray(mobile, np.float64)
    if not aligned:
        rotation, translation = superpose(mobile, fixed)
        moved = moved @ rotation + translation
    return math.sqrt(float(np.mean(np.sum((moved - fixed) ** 2, axis=-1))))


def gdt(
    mobile: Float[np.ndarray, "residue 3"],
    fixed: Float[np.ndarray, "residue 3"],
    mask: Bool[np.ndarray, " residue"] | None = None,
    *,
    kind: str = "ts",
) -> float:
    """Global distance test, 0 to 1: mean share of residues within four cutoffs.

    Each cutoff has its own superposition, searched from many fragments as LGA does, so the value
    is a lower bound of the optimum.

    Args:
        mobile: Predicted CA (or C1') positions, angstrom.
        fixed: Reference positions.
        mask: Residues that the model has; the others count as missed.
        kind: ``"ts"`` (1, 2, 4, 8 angstrom) or ``"ha"`` (0.5, 1, 2, 4 angstrom).

    Source: Zemla, Nucleic Acids Res. 31, 3370 (2003).
    """
    total = len(fixed)
    if mask is not None:
        mobile, fixed = mobile[mask], fixed[mask]
    if not len(mobile):
        return math.nan if not total else 0.0
    shares = []
    for cutoff in _GDT_CUTOFFS[kind]:
        distances = _search(mobile, fixed, cutoff)
        shares.append((distances <= cutoff).sum(axis=-1).max() / total)
    return float(np.mean(shares))


def tm_score(
    mobile: Float[np.ndarray, "residue 3"],
    fixed: Float[np.ndarray, "residue 3"],
    mask: Bool[np.ndarray, " residue"] | None = None,
    *,
    length: int | None = None,
) -> float:
    """TM-score of a given residue correspondence, 0 to 1, normalised by the reference.

    The superposition is searched from many fragments as in the original program; unlike
    TM-align, the correspondence is not searched.

    Args:
        mobile: Predicted CA positions, angstrom.
        fixed: Reference positions.
        mask: Residues that the model has.
        length: Residues of the reference; the number of points by default.

    Source: Zhang and Skolnick, Proteins 57, 702 (2004).
    """
    length = len(fixed) if length is None else length
    if mask is not None:
        mobile, fixed = mobile[mask], fixed[mask]
    if not len(mobile):
        return math.nan if not length else 0.0
    # The programs use 0.5 for short chains, where the formula is small or negative.
    d0 = max(1.24 * (length - 15) ** (1 / 3) - 1.8, 0.5) if length > 21 else 0.5
    best = 0.0
    for cutoff in (min(max(d0, 4.5), 8.0), d0, d0 + 1.0):
        distances = _search(mobile, fixed, cutoff)
        scores = (1.0 / (1.0 + (distances / d0) ** 2)).sum(axis=-1) / length
        best = max(best, float(scores.max()))
    return best


def _search(
    mobile: Float[np.ndarray, "residue 3"], fixed: Float[np.ndarray, "residue 3"], cutoff: float
) -> Float[np.ndarray, "start residue"]:
    """Distances after superposing on fragments and refining on what falls within the cutoff."""
    count = len(mobile)
    chosen = _fragments(count)
    seen = []
    for _ in range(_MAX_ROUNDS):
        rotation, translation = superpose(
            np.broadcast_to(mobile, (len(chosen), count, 3)),
            np.broadcast_to(fixed, (len(chosen), count, 3)),
            chosen,
        )
        moved = np.asarray(mobile, np.float64) @ rotation + translation[:, None]
        distances = np.linalg.norm(moved - fixed, axis=-1)
        seen.append(distances)
        # Fewer than three points fix no rotation: take the nearest three.
        within = distances <= np.maximum(
            cutoff, np.sort(distances, axis=-1)[:, [min(2, count - 1)]]
        )
        refined = np.unique(within, axis=0).astype(np.float64)
        if refined.shape == chosen.shape and np.array_equal(refined, chosen):
            break
        chosen = refined
    return np.concatenate(seen)


def _fragments(count: int) -> Float[np.ndarray, "start residue"]:
    """Masks of contiguous fragments: the whole, halves, quarters, ... down to four residues."""
    masks = []
    length = count
    while True:
        starts = np.arange(count - length + 1)
        stride = max(1, math.ceil(len(starts) / _MAX_STARTS))
        for start in starts[::stride]:
            mask = np.zeros(count)
            mask[start : start + length] = 1.0
            masks.append(mask)
        if length <= 4:
            return np.unique(np.array(masks), axis=0)
        length = max(4, length // 2)

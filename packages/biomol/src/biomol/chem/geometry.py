"""Rigid-body geometry, dihedral angles and superposition of coordinates, in NumPy."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import FRAME_SLOTS
from scimind.typing import Bool, Float

_EPSILON = 1e-8


def local_frames(
    first: Float[np.ndarray, "*batch 3"],
    origin: Float[np.ndarray, "*batch 3"],
    third: Float[np.ndarray, "*batch 3"],
) -> Float[np.ndarray, "*batch 3 3"]:
    """Right-handed frame of three atoms by Gram-Schmidt.

    The x axis points from ``origin`` to ``third``, ``first`` lies in the xy plane with y > 0. For
    a residue the three are N, CA, C.

    Args:
        first: First atom, angstrom.
        origin: Atom at the origin of the frame.
        third: Atom on the x axis.

    Returns:
        Rotation whose rows are the axes. It is the zero matrix for collinear atoms.

    Source: Jumper et al. 2021, SI algorithm 21.
    """
    x = _unit(third - origin)
    in_plane = first - origin
    y = _unit(in_plane - (in_plane * x).sum(-1, keepdims=True) * x)
    frame = np.stack((x, y, np.cross(x, y)), axis=-2)
    proper = np.abs(np.linalg.det(frame)) > 0.5
    return np.where(proper[..., None, None], frame, 0.0)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.divide(vector, length, out=np.zeros_like(vector), where=length > _EPSILON)


def token_frames(
    coords: Float[np.ndarray, "token slot 3"], mask: Bool[np.ndarray, "token slot"]
) -> tuple[Float[np.ndarray, "token 3 3"], Bool[np.ndarray, " token"]]:
    """Frame of each polymer token from its ``FRAME_SLOTS``, and whether it has one.

    Args:
        coords: Positions, angstrom.
        mask: The position is known; tokens of a single atom have no frame.

    Returns:
        Rotations (rows are axes, zero without frame) and the mask of tokens with a frame.
    """
    first, centre, third = FRAME_SLOTS
    frames = local_frames(
        coords[:, first].astype(float),
        coords[:, centre].astype(float),
        coords[:, third].astype(float),
    )
    has_frame = mask[:, list(FRAME_SLOTS)].all(-1) & (np.abs(frames).sum((-1, -2)) > 0)
    return np.where(has_frame[:, None, None], frames, 0.0), has_frame


def to_local(
    frames: Float[np.ndarray, "*batch 3 3"],
    origin: Float[np.ndarray, "*batch 3"],
    points: Float[np.ndarray, "*batch point 3"],
) -> Float[np.ndarray, "*batch point 3"]:
    """Points in the frames of ``local_frames``."""
    local: np.ndarray = (points - origin[..., None, :]) @ np.swapaxes(frames, -1, -2)
    return local


def to_global(
    frames: Float[np.ndarray, "*batch 3 3"],
    origin: Float[np.ndarray, "*batch 3"],
    points: Float[np.ndarray, "*batch point 3"],
) -> Float[np.ndarray, "*batch point 3"]:
    """Inverse of ``to_local``."""
    moved: np.ndarray = points @ frames + origin[..., None, :]
    return moved


def dihedral(
    a: Float[np.ndarray, "*batch 3"],
    b: Float[np.ndarray, "*batch 3"],
    c: Float[np.ndarray, "*batch 3"],
    d: Float[np.ndarray, "*batch 3"],
) -> Float[np.ndarray, "*batch"]:
    """Dihedral angle of four atoms in radians, in (-pi, pi], IUPAC sign (clockwise positive).

    Source: Blondel and Karplus 1996, equation 27; well defined at 0 and 180 degrees.
    """
    axis = c - b
    left, right = np.cross(b - a, axis), np.cross(axis, d - c)
    sine = (np.cross(left, right) * _unit(axis)).sum(-1)
    cosine = (left * right).sum(-1)
    angle: np.ndarray = np.asarray(np.arctan2(sine, cosine))
    return angle


def superposition(
    mobile: Float[np.ndarray, "point 3"],
    target: Float[np.ndarray, "point 3"],
    weights: Float[np.ndarray, " point"] | None = None,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
    """Proper rotation R and translation t with ``mobile @ R.T + t`` closest to ``target``.

    Args:
        mobile: Points to move, angstrom.
        target: Points to meet.
        weights: Weight of each point, 1 by default.

    Returns:
        Rotation and translation that minimise the weighted squared distance.

    Raises:
        ValueError: There is no point with positive weight.

    Source: Kabsch 1976.
    """
    weight = np.ones(len(mobile)) if weights is None else np.asarray(weights, float)
    total = weight.sum()
    if not total > 0:
        raise ValueError(f"superposition of {len(mobile)} points has no positive weight; give some")
    centre_mobile = (weight[:, None] * mobile).sum(0) / total
    centre_target = (weight[:, None] * target).sum(0) / total
    covariance = ((mobile - centre_mobile) * weight[:, None]).T @ (target - centre_target)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    rotation = (u @ np.diag((1.0, 1.0, sign)) @ vt).T
    return rotation, centre_target - rotation @ centre_mobile


def random_rotation(generator: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Rotation drawn uniformly from SO(3)."""
    matrix: np.ndarray = Rotation.random(random_state=generator).as_matrix()
    return matrix

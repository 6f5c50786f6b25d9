"""Rigid-body geometry, dihedral angles and superposition of coordinates, in NumPy."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from biomol.chem.standard import slot_of
from biomol.chem.vocab import FRAME_SLOTS, TOKENS
from scimind.typing import Bool, Float, Int

_EPSILON = 1e-8

CHI_ATOMS: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    "ARG": (
        ("N", "CA", "CB", "CG"),
        ("CA", "CB", "CG", "CD"),
        ("CB", "CG", "CD", "NE"),
        ("CG", "CD", "NE", "CZ"),
    ),
    "ASN": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "OD1")),
    "ASP": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "OD1")),
    "CYS": (("N", "CA", "CB", "SG"),),
    "GLN": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD"), ("CB", "CG", "CD", "OE1")),
    "GLU": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD"), ("CB", "CG", "CD", "OE1")),
    "HIS": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "ND1")),
    "ILE": (("N", "CA", "CB", "CG1"), ("CA", "CB", "CG1", "CD1")),
    "LEU": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD1")),
    "LYS": (
        ("N", "CA", "CB", "CG"),
        ("CA", "CB", "CG", "CD"),
        ("CB", "CG", "CD", "CE"),
        ("CG", "CD", "CE", "NZ"),
    ),
    "MET": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "SD"), ("CB", "CG", "SD", "CE")),
    "PHE": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD1")),
    "PRO": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD")),
    "SER": (("N", "CA", "CB", "OG"),),
    "THR": (("N", "CA", "CB", "OG1"),),
    "TRP": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD1")),
    "TYR": (("N", "CA", "CB", "CG"), ("CA", "CB", "CG", "CD1")),
    "VAL": (("N", "CA", "CB", "CG1"),),
}
"""Atoms of the side-chain dihedrals chi1 to chi4 (IUPAC-IUB 1970)."""

SYMMETRIC_CHI: frozenset[tuple[str, int]] = frozenset(
    (("ASP", 1), ("GLU", 2), ("PHE", 1), ("TYR", 1))
)
"""Residue and chi number (from 0) where a turn by 180 degrees gives the same molecule."""


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


def chi_slots(code: str) -> Int[np.ndarray, "chi 4"]:
    """Slots of the four atoms of each side-chain dihedral of a residue; empty for ALA, GLY."""
    slots = slot_of(code)
    rows = [[slots[name] for name in names] for names in CHI_ATOMS.get(code, ())]
    return np.array(rows, np.int32).reshape(-1, 4)


def chi_angles(
    restype: Int[np.ndarray, " token"],
    coords: Float[np.ndarray, "token slot 3"],
    mask: Bool[np.ndarray, "token slot"],
) -> tuple[Float[np.ndarray, "token 4"], Bool[np.ndarray, "token 4"]]:
    """Side-chain dihedrals chi1 to chi4 of every token.

    Args:
        restype: Identity, index into ``vocab.TOKENS``.
        coords: Positions, angstrom.
        mask: The position is known.

    Returns:
        Angles in radians (0 where undefined) and their mask.
    """
    angles, known = np.zeros((len(restype), 4)), np.zeros((len(restype), 4), bool)
    for identity in np.unique(restype).tolist():
        code = TOKENS[identity]
        if code not in CHI_ATOMS:
            continue
        tokens = np.flatnonzero(restype == identity)
        for chi, slots in enumerate(chi_slots(code).tolist()):
            points = coords[tokens][:, slots].astype(float)
            defined = mask[tokens][:, slots].all(-1)
            values = dihedral(*np.moveaxis(points, 1, 0))
            angles[tokens, chi], known[tokens, chi] = np.where(defined, values, 0.0), defined
    return angles, known


def ideal_cb(
    n: Float[np.ndarray, "*batch 3"],
    ca: Float[np.ndarray, "*batch 3"],
    c: Float[np.ndarray, "*batch 3"],
) -> Float[np.ndarray, "*batch 3"]:
    """Position of CB from the backbone with ideal angles, for L amino acids.

    Source: the coefficients of ProteinMPNN (Dauparas et al. 2022).
    """
    b, e = ca - n, c - ca
    cb: np.ndarray = -0.58273431 * np.cross(b, e) + 0.56802827 * b - 0.54067466 * e + ca
    return cb


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


def rmsd(mobile: Float[np.ndarray, "point 3"], target: Float[np.ndarray, "point 3"]) -> float:
    """Root-mean-square distance after ``superposition``, angstrom."""
    rotation, translation = superposition(mobile, target)
    difference = mobile @ rotation.T + translation - target
    return float(np.sqrt((difference**2).sum(-1).mean()))


def random_rotation(generator: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    """Rotation drawn uniformly from SO(3)."""
    matrix: np.ndarray = Rotation.random(random_state=generator).as_matrix()
    return matrix

"""Sampling coordinates: a deterministic few-step solver of the probability-flow equation."""

from __future__ import annotations

import numpy as np

from biomol.chem.geometry import superposition
from biomol.chem.vocab import REPRESENTATIVE_SLOT
from biomol.data.complex import Complex
from biomol.io.stereo import count_chirality_matches
from scimind.typing import Bool, Float


def superpose_onto(
    mobile: Float[np.ndarray, "atom 3"], target: Float[np.ndarray, "atom 3"]
) -> Float[np.ndarray, "atom 3"]:
    """``mobile`` moved as a rigid body onto ``target`` (least squares, proper rotation)."""
    rotation, translation = superposition(mobile, target)
    return np.asarray(mobile @ rotation.T + translation, np.float32)


def right_hand(
    record: Complex, positions: Float[np.ndarray, "token slot 3"]
) -> Float[np.ndarray, "token slot 3"]:
    """Of a structure and its mirror image the one with more stereocentres of the right hand.

    Distances, and so most of what a network learns about a structure without a given part, do not
    tell the two apart. A structure with as many right as wrong stays as it is.

    Args:
        record: The molecule, whose reference conformer says what is right.
        positions: All of its atoms, angstrom.
    """
    image = (positions * np.array([1.0, 1.0, -1.0])).astype(np.float32)
    mirrored = count_chirality_matches(record, image).matches
    return image if mirrored > count_chirality_matches(record, positions).matches else positions


def initial_positions(
    positions: Float[np.ndarray, "token slot 3"],
    given: Bool[np.ndarray, "token slot"],
    generated: Bool[np.ndarray, "token slot"],
    sigma: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "token slot 3"]:
    """Given atoms in place, the others at noise around their token, or around the centre."""
    base = np.zeros(positions.shape, np.float32)
    anchored = given[:, REPRESENTATIVE_SLOT]
    base[anchored] = positions[anchored, REPRESENTATIVE_SLOT][:, None]
    noise = sigma * rng.standard_normal(positions.shape, dtype=np.float32)
    start = np.where(given[..., None], positions, np.float32(0.0))
    return np.where(generated[..., None], base + noise, start).astype(np.float32)


def euler_step(
    noisy: Float[np.ndarray, "token slot 3"],
    clean: Float[np.ndarray, "token slot 3"],
    generated: Bool[np.ndarray, "token slot"],
    sigma: float,
    next_sigma: float,
    *,
    free: bool,
) -> Float[np.ndarray, "token slot 3"]:
    """One step down the noise levels: x' = D + (sigma'/sigma) (x - D).

    Training compares after superposition when nothing is given, so the network may answer in any
    pose: then the noisy positions are first brought into the pose of its answer.
    """
    if free:
        noisy = noisy.copy()
        noisy[generated] = superpose_onto(noisy[generated], clean[generated])
    moved = clean + (next_sigma / sigma) * (noisy - clean)
    return np.where(generated[..., None], moved, noisy).astype(np.float32)

"""Frames, dihedrals and superposition: inverses, closed forms, independent implementations."""

import biotite.structure as structure
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomol.chem.geometry import (
    dihedral,
    local_frames,
    random_rotation,
    superposition,
    to_global,
    to_local,
    token_frames,
)

seeds = st.integers(0, 2**31)


def points(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=5, size=(*shape, 3))


@given(seeds)
def test_frames_are_rotations_and_turn_with_the_molecule(seed: int) -> None:
    a, b, c = points(seed, 3, 4)
    frames = local_frames(a, b, c)
    np.testing.assert_allclose(frames @ np.swapaxes(frames, -1, -2), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-9)  # fmt: skip  # noqa: E501
    np.testing.assert_allclose(np.linalg.det(frames), 1.0)
    turn = random_rotation(np.random.default_rng(seed))
    np.testing.assert_allclose(
        local_frames(a @ turn.T, b @ turn.T, c @ turn.T), frames @ turn.T, atol=1e-8
    )


@given(seeds)
def test_local_coordinates_are_invariant_and_invertible(seed: int) -> None:
    a, b, c = points(seed, 3, 4)
    others = points(seed + 1, 4, 6)
    frames = local_frames(a, b, c)
    local = to_local(frames, b, others)
    np.testing.assert_allclose(to_global(frames, b, local), others, atol=1e-8)
    turn = random_rotation(np.random.default_rng(seed))
    moved = to_local(
        local_frames(a @ turn.T + 3, b @ turn.T + 3, c @ turn.T + 3), b @ turn.T + 3,
        others @ turn.T + 3,
    )  # fmt: skip
    np.testing.assert_allclose(moved, local, atol=1e-8)


def test_collinear_atoms_have_no_frame() -> None:
    line = np.outer(np.arange(3.0), (1.0, 2.0, 3.0))
    assert (local_frames(*line) == 0).all()
    coords, mask = np.zeros((2, 24, 3)), np.zeros((2, 24), bool)
    coords[:, :3] = line
    coords[1, 0] = (1.0, 0.0, 0.0)
    mask[:, :3] = True
    frames, has_frame = token_frames(coords, mask)
    assert has_frame.tolist() == [False, True]
    assert (frames[0] == 0).all()


@given(seeds)
def test_dihedrals_equal_biotites(seed: int) -> None:
    a, b, c, d = points(seed, 4, 5)
    np.testing.assert_allclose(dihedral(a, b, c, d), structure.dihedral(a, b, c, d), atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 0.5, np.pi / 2, -2.0, np.pi])
def test_a_constructed_dihedral_is_found(angle: float) -> None:
    a, b, c = np.array((1.0, 0, 0)), np.zeros(3), np.array((0, 0, 1.5))
    d = c + np.array((np.cos(angle), np.sin(angle), 0.4))
    found = float(dihedral(a, b, c, d))
    assert np.cos(found) == pytest.approx(np.cos(angle))  # clockwise is positive along b-c
    assert np.sin(found) == pytest.approx(np.sin(angle), abs=1e-12)


@given(seeds)
def test_superposition_recovers_a_motion_and_agrees_with_biotite(seed: int) -> None:
    generator = np.random.default_rng(seed)
    target = points(seed, 12)
    turn, shift = random_rotation(generator), generator.normal(size=3)
    mobile = (target - shift) @ turn
    rotation, translation = superposition(mobile, target)
    np.testing.assert_allclose(rotation, turn, atol=1e-7)
    np.testing.assert_allclose(mobile @ rotation.T + translation, target, atol=1e-7)
    noisy = mobile + generator.normal(size=mobile.shape)
    fitted, _ = structure.superimpose(target, noisy)
    rotation, translation = superposition(noisy, target)
    np.testing.assert_allclose(noisy @ rotation.T + translation, fitted, atol=1e-5)


def test_superposition_never_mirrors() -> None:
    target = points(5, 10)
    rotation, _ = superposition(target * (1, 1, -1), target)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="no positive weight"):
        superposition(target, target, np.zeros(10))


def test_random_rotations_are_uniform() -> None:
    generator = np.random.default_rng(0)
    turns = np.stack([random_rotation(generator) for _ in range(4000)])
    np.testing.assert_allclose(np.linalg.det(turns), 1.0)
    # Under the Haar measure every entry has mean 0 and variance 1/3.
    np.testing.assert_allclose(turns.mean(axis=0), 0.0, atol=0.04)
    np.testing.assert_allclose((turns**2).mean(axis=0), 1 / 3, atol=0.03)

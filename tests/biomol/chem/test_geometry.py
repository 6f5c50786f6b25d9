"""Frames, dihedrals and superposition: inverses, closed forms, independent implementations."""

import biotite.structure as structure
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from biomol.chem.geometry import (
    CHI_ATOMS,
    chi_angles,
    chi_slots,
    dihedral,
    local_frames,
    random_rotation,
    rmsd,
    superposition,
    to_global,
    to_local,
    token_frames,
)
from biomol.chem.standard import reference_slots
from biomol.chem.vocab import PROTEIN_CODES, TOKEN_ID

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
    assert np.cos(found) == pytest.approx(np.cos(angle))
    assert np.sin(found) == pytest.approx(np.sin(angle), abs=1e-12)


def test_every_residue_has_the_chi_angles_of_its_side_chain() -> None:
    counts = {code: len(CHI_ATOMS.get(code, ())) for code in PROTEIN_CODES}
    assert counts["ALA"] == counts["GLY"] == 0
    assert counts["LYS"] == counts["ARG"] == 4
    for code in PROTEIN_CODES:
        slots = chi_slots(code)
        assert slots.shape == (counts[code], 4)
        positions = reference_slots(code).positions
        for row in slots:  # four atoms in a chain of bonds
            lengths = np.linalg.norm(np.diff(positions[row], axis=0), axis=1)
            assert (lengths < 1.95).all()


def test_chi_angles_turn_with_the_side_chain_and_need_all_atoms() -> None:
    reference = reference_slots("SER")
    coords = reference.positions[None].astype(np.float64)
    mask = reference.mask[None].copy()
    restype = np.array([TOKEN_ID["SER"]])
    before, known = chi_angles(restype, coords, mask)
    assert known.tolist() == [[True, False, False, False]]
    ca, cb, og = 1, 4, 5
    axis = coords[0, cb] - coords[0, ca]
    turn = Rotation.from_rotvec(0.7 * axis / np.linalg.norm(axis)).as_matrix()
    coords[0, og] = turn @ (coords[0, og] - coords[0, cb]) + coords[0, cb]
    after, _ = chi_angles(restype, coords, mask)
    assert np.angle(np.exp(1j * (after - before)))[0, 0] == pytest.approx(0.7, abs=1e-6)
    mask[0, og] = False
    assert not chi_angles(restype, coords, mask)[1].any()


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
    assert rmsd(noisy, target) == pytest.approx(structure.rmsd(target, fitted), abs=1e-5)


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

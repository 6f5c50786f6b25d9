from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from biomol.metrics.superposition import gdt, rmsd, superpose, tm_score


def _chain(count: int, seed: int = 0) -> np.ndarray:
    steps = np.random.default_rng(seed).normal(size=(count, 3))
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def _moved(points: np.ndarray, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return points @ Rotation.random(random_state=seed).as_matrix().T + 50.0 * rng.normal(size=3)


def test_superposition_recovers_a_rigid_motion() -> None:
    fixed = _chain(40)
    mobile = _moved(fixed)
    rotation, translation = superpose(mobile, fixed)
    np.testing.assert_allclose(mobile @ rotation + translation, fixed, atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_superposition_equals_scipy_on_noisy_weighted_points() -> None:
    fixed, weight = _chain(30), np.random.default_rng(2).uniform(0.1, 2.0, 30)
    mobile = _moved(fixed) + np.random.default_rng(3).normal(size=fixed.shape)
    rotation, _ = superpose(mobile, fixed, weight)
    share = (weight / weight.sum())[:, None]
    expected, _ = Rotation.align_vectors(
        fixed - (share * fixed).sum(0), mobile - (share * mobile).sum(0), weights=weight
    )
    np.testing.assert_allclose(rotation.T, expected.as_matrix(), atol=1e-6)


def test_a_mirror_image_is_not_superposed() -> None:
    fixed = _chain(40)
    assert rmsd(fixed * [1, 1, -1], fixed) > 1.0
    assert rmsd(_moved(fixed), fixed) == pytest.approx(0.0, abs=1e-8)


def test_rmsd_of_two_stretched_points_has_its_closed_form() -> None:
    # Points at ±1 and ±2 on a line: after superposition each is 1 apart.
    mobile = np.array([[-1.0, 0, 0], [1.0, 0, 0]])
    assert rmsd(mobile, 2 * mobile) == pytest.approx(1.0)
    assert np.isnan(rmsd(mobile[:0], mobile[:0]))


def test_identical_structures_score_one_and_missing_residues_cost_their_share() -> None:
    fixed = _chain(60)
    present = np.arange(60) < 45
    assert gdt(_moved(fixed), fixed) == 1.0
    assert tm_score(_moved(fixed), fixed) == pytest.approx(1.0)
    assert gdt(_moved(fixed), fixed, present) == 0.75
    assert tm_score(_moved(fixed), fixed, present) == pytest.approx(0.75)


def test_gdt_finds_the_domain_that_is_right() -> None:
    # 30 residues are exact, 30 are turned far away: each cutoff can hold one half.
    fixed = _chain(60)
    mobile = fixed.copy()
    mobile[30:] = _moved(fixed[30:]) + 500.0
    assert gdt(mobile, fixed) == pytest.approx(0.5)
    assert gdt(mobile, fixed, kind="ha") == pytest.approx(0.5)


def test_tm_score_equals_biotite_after_its_superposition() -> None:
    structure = pytest.importorskip("biotite.structure")
    fixed = _chain(80)
    mobile = fixed + np.random.default_rng(5).normal(scale=1.5, size=fixed.shape)
    rotation, translation = superpose(mobile, fixed)
    atoms = [structure.AtomArray(80) for _ in range(2)]
    for array, points in zip(atoms, (fixed, mobile @ rotation + translation), strict=True):
        array.coord = points.astype(np.float32)
        array.atom_name[:], array.res_name[:], array.chain_id[:] = "CA", "ALA", "A"
        array.res_id = np.arange(1, 81)
    plain = structure.tm_score(*atoms, np.arange(80), np.arange(80), 80)
    # The least-squares superposition is one candidate of the search: the search is not worse.
    assert plain - 1e-6 <= tm_score(mobile, fixed) < plain + 0.02


def test_tm_score_equals_tm_align_where_the_alignment_is_plain() -> None:
    tmtools = pytest.importorskip("tmtools", reason="tmtools (extra 'eval') is not installed")
    fixed = _chain(100)
    mobile = _moved(fixed + np.random.default_rng(6).normal(scale=1.0, size=fixed.shape))
    found = tmtools.tm_align(mobile, fixed, "A" * 100, "A" * 100)
    assert tm_score(mobile, fixed) == pytest.approx(found.tm_norm_chain2, abs=0.01)

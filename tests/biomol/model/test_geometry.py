"""Frames, pair features and superposition against SciPy and under rigid motions."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, ops
from scipy.spatial.transform import Rotation

from biomol.model.geometry import (
    NEIGHBOUR_SLOTS,
    PAIR_FEATURE_SIZE,
    SIDE_POINT,
    adjacent_residues,
    pair_distances,
    pair_features,
    superpose,
    to_global,
    to_local,
    token_frames,
)
from small_complexes import features_of, peptide

pytestmark = pytest.mark.usefixtures("runtime")


def tensor(array):
    return Tensor(np.asarray(array, np.float32))


def structure(seed=0):
    """Positions (1, 32, 24, 3), visible atoms and noise of a padded peptide."""
    features = features_of(peptide(seed=seed))
    visible = features["coord_mask"].astype(np.float32)[None]
    rng = np.random.default_rng(seed)
    return features["coords"][None], visible, rng.uniform(0, 2, visible.shape) * visible


def test_superposition_equals_scipy():
    rng = np.random.default_rng(0)
    for count in (3, 4, 20):
        mobile, target = rng.normal(size=(2, count, 3)) * 10
        weight = rng.uniform(0.1, 1.0, count)
        weight[3:] *= rng.random(count - 3) < 0.7
        centres = [(x * weight[:, None]).sum(0) / weight.sum() for x in (mobile, target)]
        rotation, _ = Rotation.align_vectors(target - centres[1], mobile - centres[0], weight)
        expected = rotation.apply(mobile - centres[0]) + centres[1]
        found = superpose(tensor(mobile[None]), tensor(target[None]), tensor(weight[None]))
        np.testing.assert_allclose(found.asnumpy()[0], expected, atol=2e-3)


def test_superposition_undoes_a_rigid_motion_from_the_visible_atoms_alone():
    rng = np.random.default_rng(1)
    target = rng.normal(size=(4, 30, 3)) * 8
    motion = [Rotation.random(random_state=rng) for _ in range(4)]
    mobile = np.stack(
        [r.apply(x) + rng.normal(size=3) * 20 for r, x in zip(motion, target, strict=True)]
    )
    weight = np.ones((4, 30))
    weight[:, 20:] = 0
    wrong = mobile.copy()
    wrong[:, 20:] += 50.0
    found = superpose(tensor(wrong), tensor(target), tensor(weight)).asnumpy()
    np.testing.assert_allclose(found[:, :20], target[:, :20], atol=2e-3)


def test_superposition_never_reflects():
    rng = np.random.default_rng(2)
    target = rng.normal(size=(1, 12, 3)) * 5
    mobile = target * np.array([1.0, 1.0, -1.0])
    found = superpose(tensor(mobile), tensor(target), tensor(np.ones((1, 12)))).asnumpy()[0]
    rotation, _ = Rotation.align_vectors(
        target[0] - target[0].mean(0), mobile[0] - mobile[0].mean(0)
    )
    expected = rotation.apply(mobile[0] - mobile[0].mean(0)) + target[0].mean(0)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.sqrt(((found - target[0]) ** 2).sum(-1).mean()) > 1.0


def test_superposition_of_nothing_is_finite():
    found = superpose(
        tensor(np.ones((1, 5, 3))), tensor(np.zeros((1, 5, 3))), tensor(np.zeros((1, 5)))
    )
    assert np.isfinite(found.asnumpy()).all()


def test_frames_are_right_handed_and_orthonormal():
    positions, visible, sigma = structure()
    rotation, reliability = token_frames(tensor(positions), tensor(visible), tensor(sigma))
    real = visible[0, :, :3].all(axis=-1)
    frames = rotation.asnumpy()[0][real].astype(np.float64)
    product = frames @ frames.swapaxes(1, 2)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-4)
    np.testing.assert_allclose(
        reliability.asnumpy()[0][real], 1 / (1 + sigma[0, real, :3].max(-1) ** 2), rtol=1e-5
    )
    assert (reliability.asnumpy()[0][~real] == 0).all()


def test_a_frame_needs_its_three_atoms():
    positions, visible, sigma = structure()
    for slot in range(3):
        part = visible.copy()
        part[0, 4, slot] = 0
        _, reliability = token_frames(tensor(positions), tensor(part), tensor(0 * sigma))
        assert reliability.asnumpy()[0, 4] == 0
        assert reliability.asnumpy()[0, 3] == 1


def test_local_and_global_are_inverse():
    positions, visible, sigma = structure()
    rotation, _ = token_frames(tensor(positions), tensor(visible), tensor(sigma))
    vectors = np.random.default_rng(3).normal(size=positions.shape)
    back = to_global(rotation, to_local(rotation, tensor(vectors))).asnumpy()
    real = visible[0, :, 0] > 0
    np.testing.assert_allclose(back[0, real], vectors[0, real], atol=1e-4)


def test_the_c_alpha_to_c_bond_lies_on_the_x_axis_of_its_frame():
    positions, visible, sigma = structure()
    rotation, _ = token_frames(tensor(positions), tensor(visible), tensor(sigma))
    local = to_local(rotation, tensor(positions - positions[:, :, 1:2])).asnumpy()[0]
    bond = local[visible[0, :, 0] > 0, 2]
    np.testing.assert_allclose(bond[:, 0], np.linalg.norm(bond, axis=-1), rtol=1e-4)
    np.testing.assert_allclose(bond[:, 1:], 0, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_pair_features_are_invariant_to_rotation_and_translation(seed):
    positions, visible, sigma = structure(seed)
    rotation = Rotation.random(random_state=seed)
    moved = rotation.apply(positions.reshape(-1, 3)).reshape(positions.shape)
    moved = (moved + np.array([30.0, -12.0, 5.0])) * visible[..., None]

    def features(x):
        frames = token_frames(tensor(x), tensor(visible), tensor(sigma))
        return pair_features(tensor(x), tensor(visible), tensor(sigma), *frames).asnumpy()

    first, second = features(positions), features(moved)
    assert first.shape[-1] == PAIR_FEATURE_SIZE
    np.testing.assert_allclose(first, second, atol=2e-4)
    mirrored = features(positions * np.array([1.0, 1.0, -1.0]))
    assert np.abs(first - mirrored).max() > 0.1, "handedness must be seen"


def neighbours(positions, visible, index, chain, sigma=None):
    sigma = np.zeros_like(visible) if sigma is None else sigma
    frames, reliability = token_frames(*map(tensor, (positions, visible, sigma)))
    return adjacent_residues(
        *map(tensor, (positions, visible, sigma)), frames, reliability,
        Tensor(index[None]), Tensor(chain[None]),
    ).asnumpy()[0]  # fmt: skip


def test_adjacent_residues_are_seen_in_the_own_frame_and_not_across_a_break():
    positions, visible, _ = structure()
    index = np.arange(32, dtype=np.int32)
    index[6:] += 1
    chain = np.where(np.arange(32) < 9, 0, 1).astype(np.int32)
    found = neighbours(positions, visible, index, chain)
    assert found.shape == (32, 2 * NEIGHBOUR_SLOTS, 3)
    frames, _ = token_frames(tensor(positions), tensor(visible), tensor(0 * visible))
    rotation = frames.asnumpy()[0]
    for token, before, after in ((3, True, True), (5, True, False), (6, False, True),
                                 (8, True, False), (9, False, True), (0, False, True)):  # fmt: skip
        centre = positions[0, token, 1]
        for near, there, rows in ((token - 1, before, slice(4)), (token + 1, after, slice(4, 8))):
            atoms = positions[0, near, :NEIGHBOUR_SLOTS] - centre
            expected = atoms @ rotation[token].T if there else np.zeros((4, 3))
            np.testing.assert_allclose(found[token, rows], expected, atol=1e-4)
    turn = Rotation.random(random_state=3)
    moved = (turn.apply(positions.reshape(-1, 3)).reshape(positions.shape) + 7) * visible[..., None]
    np.testing.assert_allclose(neighbours(moved, visible, index, chain), found, atol=2e-4)


def test_an_adjacent_residue_counts_as_far_as_both_are_known():
    positions, visible, _ = structure()
    index, chain = np.arange(32, dtype=np.int32), np.zeros(32, np.int32)
    sure = neighbours(positions, visible, index, chain)
    sigma = np.zeros_like(visible)
    sigma[0, 4] = 2.0
    sigma[0, 7, 2] = 1e6  # one atom of a frame is nothing but noise
    found = neighbours(positions, visible, index, chain, sigma)
    np.testing.assert_allclose(found[3, 4:], sure[3, 4:] / 5.0, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[4], sure[4] / 5.0, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[7], 0.0, atol=1e-5)
    expected = sure[8].copy()
    expected[2] = 0.0
    np.testing.assert_allclose(found[8], expected, atol=1e-4)
    np.testing.assert_array_equal(found[10], sure[10])


def test_the_point_of_the_side_chain_continues_the_bond_to_c_beta():
    positions, visible, sigma = structure()
    rotation, _ = token_frames(tensor(positions), tensor(visible), tensor(0 * sigma))
    local = to_local(rotation, tensor(positions - positions[:, :, 1:2])).asnumpy()[0]
    beta = local[visible[0, :, 4] > 0, 4]
    cosine = beta @ SIDE_POINT / np.linalg.norm(beta, axis=-1) / np.linalg.norm(SIDE_POINT)
    # N-CA-CB angles vary by a few degrees
    assert (cosine > np.cos(np.radians(12))).all()
    np.testing.assert_allclose(np.linalg.norm(SIDE_POINT), 1.6 * 1.53, atol=0.05)


def test_distances_are_exact_far_from_the_origin_and_smooth_at_zero():
    rng = np.random.default_rng(5)
    points = rng.normal(size=(1, 6, 3)) + 60.0
    found = pair_distances(tensor(points), tensor(points)).asnumpy()[0]
    rounded = points[0].astype(np.float32).astype(np.float64)
    expected = np.linalg.norm(rounded[:, None] - rounded, axis=-1)
    np.testing.assert_allclose(found, expected, atol=2e-4)

    def total(x):
        return pair_distances(x, x).sum()

    slope = ms.grad(total)(tensor(points)).asnumpy()
    assert np.isfinite(slope).all()


def test_the_slope_of_a_superposed_deviation_matches_differences():
    rng = np.random.default_rng(6)
    mobile, target = rng.normal(size=(2, 1, 6, 3)) * 3
    weight = np.ones((1, 6))

    def deviation(x):
        return ops.square(superpose(x, tensor(target), tensor(weight)) - tensor(target)).sum()

    slope = ms.grad(deviation)(tensor(mobile)).asnumpy()
    direction = rng.normal(size=mobile.shape)
    direction /= np.linalg.norm(direction)
    step = 1e-2
    up, down = (
        float(deviation(tensor(mobile + sign * step * direction)).asnumpy()) for sign in (1, -1)
    )
    # central differences in float32: 1e-7 of a value near 100 over a step of 2e-2
    np.testing.assert_allclose(
        (slope * direction).sum(), (up - down) / (2 * step), rtol=2e-2, atol=2e-2
    )

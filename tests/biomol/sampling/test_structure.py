"""Noise levels and the solver, with a denoiser that knows the answer."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from biomol.data.noise import SIGMA_MAX
from biomol.io.stereo import count_chirality_matches
from biomol.sampling.schedule import karras_levels
from biomol.sampling.structure import (
    euler_step,
    initial_positions,
    right_hand,
    superpose_onto,
)
from small_complexes import molecule, peptide


@given(st.integers(1, 200))
def test_levels_fall_from_the_largest_to_zero(steps):
    levels = karras_levels(steps)
    assert len(levels) == steps + 1
    assert levels[0] == pytest.approx(SIGMA_MAX)
    assert levels[-1] == 0.0
    assert (np.diff(levels) < 0).all()
    if steps > 1:
        assert levels[-2] == pytest.approx(0.05)


def test_levels_are_even_in_the_seventh_root():
    roots = karras_levels(9, sigma_min=0.1, sigma_max=50.0)[:-1] ** (1 / 7)
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0])


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="num_steps=0"):
        karras_levels(0)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    truth = (rng.normal(size=(10, 24, 3)) * 8).astype(np.float32)
    exists = rng.random((10, 24)) < 0.6
    exists[:, 1] = True
    truth = np.where(exists[..., None], truth, np.float32(0))
    return rng, truth, exists


def solve(denoise, start, generated, levels, free):
    positions = start
    for sigma, next_sigma in pairwise(levels):
        positions = euler_step(
            positions, denoise(positions), generated, float(sigma), float(next_sigma), free=free
        )
    return positions


@pytest.mark.parametrize("steps", [1, 5, 20])
def test_an_exact_denoiser_leads_to_the_truth_and_leaves_given_atoms(problem, steps):
    rng, truth, exists = problem
    given_atoms = exists & (np.arange(10) < 6)[:, None]
    generated = exists & ~given_atoms
    start = initial_positions(truth, given_atoms, generated, SIGMA_MAX, rng)
    np.testing.assert_array_equal(start[given_atoms], truth[given_atoms])
    found = solve(lambda _: truth, start, generated, karras_levels(steps), free=False)
    np.testing.assert_array_equal(found[given_atoms], truth[given_atoms])
    np.testing.assert_allclose(found[generated], truth[generated], atol=1e-4)


def test_an_exact_denoiser_may_answer_in_any_pose_when_nothing_is_given(problem):
    rng, truth, exists = problem
    none = np.zeros_like(exists)
    start = initial_positions(truth, none, exists, SIGMA_MAX, rng)

    def denoise(_):
        turned = Rotation.random(random_state=rng).apply(truth.reshape(-1, 3)) + rng.normal(size=3)
        return turned.reshape(truth.shape).astype(np.float32)

    found = solve(denoise, start, exists, karras_levels(8), free=True)
    moved = superpose_onto(found[exists], truth[exists])
    np.testing.assert_allclose(moved, truth[exists], atol=1e-3)


def test_for_gaussian_data_the_solver_converges_with_first_order():
    # Data N(0, s^2): D(x) = x s^2 / (s^2 + t^2), and the exact flow is
    # x(0) = x(T) s / sqrt(s^2 + T^2).
    spread, top = 5.0, 80.0
    start = np.random.default_rng(1).normal(size=(4, 24, 3)) * top
    exact = start * spread / np.sqrt(spread**2 + top**2)
    everything = np.ones((4, 24), bool)
    errors = []
    for steps in (40, 80, 160):
        levels = karras_levels(steps, sigma_min=1e-3, sigma_max=top)
        positions = start.astype(np.float32)
        for sigma, next_sigma in pairwise(levels):
            clean = positions * np.float32(spread**2 / (spread**2 + sigma**2))
            positions = euler_step(
                positions, clean, everything, float(sigma), float(next_sigma), free=False
            )
        errors.append(np.abs(positions - exact).max())
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.25)
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.25)


def test_noise_starts_around_the_token_whose_representative_is_given(problem):
    _, truth, exists = problem
    given_atoms = np.zeros_like(exists)
    given_atoms[:5, 1] = True
    generated = exists & ~given_atoms
    samples = np.stack(
        [
            initial_positions(truth, given_atoms, generated, 2.0, np.random.default_rng(seed))
            for seed in range(400)
        ]
    )
    expected = np.where((np.arange(10) < 5)[:, None, None], truth[:, 1:2], 0) + 0 * truth
    # five standard errors of the mean
    assert np.abs((samples.mean(0) - expected)[generated]).max() < 5 * 2.0 / np.sqrt(400)
    assert samples[:, generated].std(0).mean() == pytest.approx(2.0, rel=0.02)
    assert (samples[:, ~exists] == 0).all()


def test_superposition_of_one_or_two_atoms_moves_the_centre():
    for count in (1, 2):
        mobile, target = np.random.default_rng(count).normal(size=(2, count, 3))
        moved = superpose_onto(mobile.astype(np.float32), target.astype(np.float32))
        np.testing.assert_allclose(moved.mean(0), target.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "record",
    [molecule("C[C@H](N)C(=O)O"), molecule("C[C@H](F)[C@H](O)Cl"), peptide("ACDE")],
    ids=["one centre", "two centres", "peptide"],
)
def test_of_two_mirror_images_the_right_one_is_answered(record):
    image = (record.coords * [1, 1, -1]).astype(np.float32)
    assert count_chirality_matches(record, image).matches == 0
    for positions in (record.coords, image):
        found = right_hand(record, positions)
        count = count_chirality_matches(record, found)
        assert count.matches == count.total > 0
        np.testing.assert_array_equal(found, record.coords)


def test_a_molecule_without_stereocentres_stays_as_it_is():
    record = molecule("CCO")
    assert right_hand(record, record.coords) is record.coords

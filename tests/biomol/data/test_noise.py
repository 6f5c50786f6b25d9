"""What is hidden, what is given, and what must be predicted of one complex."""

from dataclasses import replace

import numpy as np
import pytest

from biomol.chem.geometry import random_rotation
from biomol.chem.vocab import MASK_ID, NUM_SLOTS, MolType
from biomol.data.batch import Inputs, Targets
from biomol.data.noise import (
    ATOM_SHAKE,
    PRESETS,
    RESIDUE_SHAKE,
    SIDE_CHAIN_SIGMA_MAX,
    SIGMA_MAX,
    backbone_mask,
    canonical_rotation,
    corrupt,
    log_normal_sigma,
    nothing_hidden,
    resolved,
    shake_of,
    shaken,
    stack,
)
from small_complexes import features_of, hidden, molecule, peptide

SEEDS = range(40)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def features():
    return features_of(peptide())


@pytest.fixture(scope="module")
def ligand():
    return features_of(molecule())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("record", [peptide(), molecule()], ids=["protein", "ligand"])
def test_the_same_generator_gives_the_same_row(preset, record):
    features = features_of(record)
    sampler, _ = PRESETS[preset]
    rows = []
    for seed in (3, 3, 4):
        generator = rng(seed)
        rows.append(corrupt(features, sampler(features, generator), generator))
    for part in (0, 1):
        for name, array in rows[0][part].items():
            np.testing.assert_array_equal(array, rows[1][part][name])
    if preset != "sequence":
        assert any((rows[0][0][name] != rows[2][0][name]).any() for name in rows[0][0])


@pytest.mark.parametrize("preset", PRESETS)
def test_rows_have_the_fields_and_shapes_of_a_batch(preset, features, ligand):
    sampler, tracks = PRESETS[preset]
    rows = [corrupt(x, sampler(x, rng(i)), rng(i)) for i, x in enumerate((features, ligand))]
    inputs, targets = stack(rows)
    assert isinstance(inputs, Inputs)
    assert isinstance(targets, Targets)
    assert inputs.positions.shape == targets.coords.shape == (2, 32, NUM_SLOTS, 3)
    assert all(array.dtype in (np.float32, np.int32) for array in inputs.arrays())
    assert all(np.isfinite(array).all() for array in (*inputs.arrays(), *targets.arrays()))
    if tracks == "sequence":
        assert not inputs.atom_visible.any()
    if tracks != "structure":
        assert not targets.coord_weight.any()


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("seed", range(5))
def test_truth_and_input_agree_where_nothing_is_hidden(preset, seed, features):
    sampler, _ = PRESETS[preset]
    levels = sampler(features, rng(seed))
    inputs, targets = corrupt(features, levels, rng(seed))
    real = features["token_mask"]
    shown = real & ~levels.hide_identity
    np.testing.assert_array_equal(inputs["token"][shown], features["restype"][shown])
    assert (inputs["token"][levels.hide_identity & real] == MASK_ID).all()
    np.testing.assert_array_equal(targets["restype"], features["restype"])
    # identities are asked exactly where they are hidden, positions exactly where they are noised
    np.testing.assert_array_equal(targets["restype_weight"] > 0, levels.hide_identity & real)
    asked = levels.visible & resolved(features) & (levels.sigma > 0)
    np.testing.assert_array_equal(targets["coord_weight"] > 0, asked)
    given_atoms = levels.visible & (levels.sigma == 0)
    np.testing.assert_array_equal(inputs["positions"][given_atoms], targets["coords"][given_atoms])
    assert (inputs["positions"][~levels.visible] == 0).all()
    assert (targets["coords"][~levels.visible] == 0).all()
    assert (inputs["sigma"][~levels.visible] == 0).all()
    assert targets["align"] == float(not given_atoms.any())


def test_targets_are_the_structure_moved_as_a_rigid_body(features):
    levels = hidden(features, visible=True, sigma=2.0)
    _, targets = corrupt(features, levels, rng(1))
    atoms = features["coord_mask"]
    before, after = features["coords"][atoms], targets["coords"][atoms]
    np.testing.assert_allclose(after.mean(0), 0, atol=1e-4)
    distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (before, after)]
    np.testing.assert_allclose(*distances, atol=1e-3)
    volume = [np.linalg.det((x - x[0])[[1, 2, 3]]) for x in (before, after)]
    assert volume[0] == pytest.approx(volume[1], rel=1e-2)
    unturned = corrupt(features, levels, rng(1), rotate=False)[1]["coords"][atoms]
    np.testing.assert_allclose(unturned, before - before.mean(0), atol=1e-4)


def test_a_shaken_residue_keeps_its_shape_and_moves_as_far_as_it_says(features, ligand):
    atoms = features["coord_mask"]
    clean = features["coords"].astype(np.float32)
    amount = shake_of(features)
    shifts = []
    for seed in SEEDS:
        moved = shaken(clean, amount, rng(seed))
        for token in np.flatnonzero(atoms.any(axis=1)):
            before, after = clean[token, atoms[token]], moved[token, atoms[token]]
            distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (before, after)]
            np.testing.assert_allclose(*distances, atol=1e-4)
        shifts.append((moved - clean)[atoms[:, 1], 1])
    assert np.std(shifts) == pytest.approx(RESIDUE_SHAKE, rel=0.1)
    assert (shake_of(ligand)[ligand["token_mask"] > 0] == ATOM_SHAKE).all()
    levels = replace(hidden(features, visible=True, sigma=0.0), shake=amount)
    gaps = []
    for rotate in (False, True):
        trace = corrupt(features, levels, rng(0), rotate=rotate)[0]["positions"][atoms[:, 1], 1]
        gaps.append(np.linalg.norm(np.diff(trace, axis=0), axis=1))
    original = np.linalg.norm(np.diff(clean[atoms[:, 1], 1], axis=0), axis=1)
    np.testing.assert_allclose(gaps[0], original, atol=1e-4)  # inference shakes nothing
    assert np.abs(gaps[1] - original).mean() > 0.1


def test_noise_has_the_standard_deviation_it_says(features):
    sigma = np.where(np.arange(NUM_SLOTS) < 4, 0.5, 6.0)
    levels = hidden(features, visible=True, sigma=sigma)
    inputs, targets = zip(*(corrupt(features, levels, rng(seed)) for seed in SEEDS), strict=True)
    error = np.stack([i["positions"] - t["coords"] for i, t in zip(inputs, targets, strict=True)])
    for slots, expected in ((slice(0, 4), 0.5), (slice(4, None), 6.0)):
        atoms = features["coord_mask"].copy()
        atoms[:, :4] &= slots.start == 0
        atoms[:, 4:] &= slots.start == 4
        sample = error[:, atoms]
        assert sample.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * sample.size))


def test_properties_are_asked_or_given_never_both_and_never_invented(features):
    levels = nothing_hidden(features).giving(np.array([True, True]))
    inputs, targets = corrupt(features, levels, rng())
    # the peptide has an affinity and no second property
    np.testing.assert_array_equal(features["prop_mask"], [True, False])
    np.testing.assert_array_equal(inputs["prop_given"], [1, 0])
    np.testing.assert_array_equal(targets["prop_weight"], [0, 0])
    assert inputs["prop_value"][0] == features["prop"][0]
    inputs, targets = corrupt(features, nothing_hidden(features), rng())
    assert not inputs["prop_given"].any()
    assert not inputs["prop_value"].any()
    np.testing.assert_array_equal(targets["prop_weight"], [1, 0])


def test_unlabelled_and_padded_tokens_have_no_weight(features):
    features = {**features, "token_label": features["token_label"].copy()}
    features["token_label"][2] = -1
    _, targets = corrupt(features, nothing_hidden(features), rng())
    expected = np.arange(32) < 12
    expected[2] = False
    np.testing.assert_array_equal(targets["token_label_weight"][:, 0] > 0, expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_inverse_folding_shows_a_backbone_and_hides_identities(seed, features):
    levels = PRESETS["inverse_folding"][0](features, rng(seed))
    backbone = backbone_mask(features["mol_type"])
    np.testing.assert_array_equal(levels.visible & backbone, resolved(features) & backbone)
    assert not (levels.visible & ~backbone & levels.hide_identity[:, None]).any()
    assert (levels.sigma == 0).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_side_chains_are_noised_on_a_given_backbone(seed, features):
    levels = PRESETS["side_chains"][0](features, rng(seed))
    backbone = backbone_mask(features["mol_type"])
    unknown = levels.hide_identity[:, None]
    np.testing.assert_array_equal(levels.visible, resolved(features) & (backbone | ~unknown))
    assert (levels.sigma[backbone] == 0).all()
    assert (levels.sigma[levels.visible & ~backbone] > 0).all()
    assert levels.sigma.max() <= SIDE_CHAIN_SIGMA_MAX


def test_many_side_chain_tasks_know_every_residue(features):
    hidden = [
        PRESETS["side_chains"][0](features, rng(seed)).hide_identity.any() for seed in range(2000)
    ]
    # 0.4, and a little more because few residues of twelve may be hidden by chance
    assert 0.52 < np.mean(hidden) < 0.62


@pytest.mark.parametrize("seed", SEEDS)
def test_codesign_hides_one_segment_and_gives_the_rest(seed, features):
    levels = PRESETS["codesign"][0](features, rng(seed))
    hide = np.flatnonzero(levels.hide_identity)
    assert len(hide) >= 1
    assert hide[-1] < 12
    np.testing.assert_array_equal(np.diff(hide), 1)
    backbone = backbone_mask(features["mol_type"])
    segment = levels.hide_identity[:, None]
    assert not (levels.visible & segment & ~backbone).any()
    np.testing.assert_array_equal(levels.sigma > 0, levels.visible & segment)


@pytest.mark.parametrize("seed", SEEDS)
def test_fold_gives_the_sequence_and_one_level_for_all_atoms(seed, features):
    levels = PRESETS["fold"][0](features, rng(seed))
    assert not levels.hide_identity.any()
    levels_used = np.unique(levels.sigma[levels.visible])
    assert len(levels_used) == 1
    assert 0.01 <= levels_used[0] <= SIGMA_MAX


def test_the_backbone_exists_whatever_the_identity(features):
    for sequence in ("G" * 8, "W" * 8):
        record = peptide(sequence)
        assert record.atom_mask[backbone_mask(record.mol_type)].all()
    atoms = molecule()
    mask = backbone_mask(atoms.mol_type)
    assert (atoms.mol_type == MolType.ATOM).all()
    np.testing.assert_array_equal(mask, np.eye(NUM_SLOTS, dtype=bool)[np.ones(len(mask), int)])


def test_levels_follow_the_clipped_log_normal():
    sample = np.log([log_normal_sigma(rng(seed), 4.8, 1.0) for seed in range(2000)])
    assert np.median(sample) == pytest.approx(np.log(4.8), abs=0.1)
    assert sample.std() == pytest.approx(1.0, abs=0.1)
    assert log_normal_sigma(rng(), 1e9, 0.1) == SIGMA_MAX


@pytest.mark.parametrize("seed", range(4))
def test_the_own_pose_of_a_structure_does_not_depend_on_the_pose_it_came_in(seed):
    points = rng(seed).normal(size=(40, 3)).cumsum(axis=0)
    points -= points.mean(axis=0)
    own = points @ canonical_rotation(points).T
    turn = random_rotation(rng(seed + 100)).astype(np.float64)
    again = points @ turn.T
    np.testing.assert_allclose(again @ canonical_rotation(again).T, own, atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(canonical_rotation(points)), 1.0, atol=1e-5)
    spread = own.T @ own
    np.testing.assert_allclose(spread - np.diag(np.diag(spread)), 0, atol=1e-2)
    assert (np.diff(np.diag(spread)) < 0).all(), "widest axis first"


def test_only_a_structure_that_is_all_noise_is_brought_into_its_own_pose():
    features = features_of(peptide("MKWEFYRLVWGH"))
    turned = dict(features)
    turn = random_rotation(rng(1))
    turned["coords"] = (features["coords"] @ turn.T) * features["coord_mask"][..., None]
    for name, same in (("fold", True), ("side_chains", False)):
        levels_of = PRESETS[name][0]
        first, second = (
            corrupt(x, replace(levels_of(x, rng(2)), shake=None), rng(3))[1]["coords"]
            for x in (features, turned)
        )
        known = features["coord_mask"]
        np.testing.assert_allclose(
            np.linalg.norm(first[known], axis=-1), np.linalg.norm(second[known], axis=-1), atol=1e-3
        )
        assert np.allclose(first, second, atol=1e-3) is same

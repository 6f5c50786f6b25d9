"""Preconditioning against Karras et al. (2022), table 1."""

from dataclasses import replace

import numpy as np
import pytest
from mindspore import Tensor

from biomol.chem.geometry import random_rotation, superposition
from biomol.chem.standard import reference_slots
from biomol.chem.vocab import NUM_TOKENS, SLOT_NAMES, TOKENS
from biomol.data.noise import backbone_mask
from biomol.data.offsets import mean_offsets
from biomol.model.geometry import token_frames
from biomol.model.prior import OFFSET_ANGSTROM, SURROUNDINGS_SIZE, AtomPrior
from small_complexes import batch_of, features_of, forward, hidden, molecule, peptide, small_network

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(scope="module")
def silent():
    """A network whose raw answer is a constant vector: the read-out has a bias and no weight."""
    network = small_network()  # with every parameter drawn at random
    read_out = network.denoiser.displacement
    read_out.weight.set_data(Tensor(np.zeros(read_out.weight.shape, np.float32)))
    prior = AtomPrior(network.config, np.random.default_rng(0))
    network.denoiser.prior.offset.set_data(prior.offset)
    for parameter in network.denoiser.prior.correction.get_parameters():
        parameter.set_data(Tensor(np.zeros(parameter.shape, np.float32)))
    return network


@pytest.mark.parametrize("sigma", [0.05, 1.0, 16.0, 160.0])
def test_one_common_level_is_the_closed_form(silent, sigma):
    # an atom token has no frame: D = c_skip x + c_out F with F in the laboratory frame
    data = silent.config.sigma_data
    features = features_of(molecule())
    inputs, _ = batch_of([features], [hidden(features, visible=True, sigma=sigma)])
    clean = forward(silent, inputs, "structure")[3]
    raw = silent.denoiser.displacement.bias.asnumpy().reshape(48, 3)[1]
    skip = data**2 / (sigma**2 + data**2)
    out = sigma * data / np.sqrt(sigma**2 + data**2)
    atoms = inputs.atom_visible[0, :, 1] > 0
    expected = skip * inputs.positions[0, atoms, 1] + out * raw
    np.testing.assert_allclose(clean[0, atoms, 1], expected, rtol=1e-4, atol=1e-4)


def prior_of(network, inputs):
    """Mean and width of each atom."""
    positions, visible, sigma, token = (
        Tensor(x) for x in (inputs.positions, inputs.atom_visible, inputs.sigma, inputs.token)
    )
    frames = token_frames(positions, visible, sigma)
    prior = network.denoiser.prior
    surroundings = Tensor(np.zeros((*inputs.token.shape, SURROUNDINGS_SIZE), np.float32))
    mean = prior.mean(positions, sigma, token, *frames, surroundings)
    return mean.asnumpy()[0], prior.width(sigma).asnumpy()[0]


def test_the_prior_of_the_representative_atom_is_a_centred_gaussian(silent):
    features = features_of(peptide(), 12)
    inputs, _ = batch_of([features], [hidden(features, visible=True, sigma=3.0)])
    mean, width = prior_of(silent, inputs)
    assert (mean[:, 1] == 0).all()
    np.testing.assert_allclose(width[:, 1], silent.config.sigma_data, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 4.0, 1000.0])
def test_other_atoms_are_expected_about_the_best_guess_of_their_representative(silent, sigma):
    config = silent.config
    data = config.sigma_data
    features = features_of(peptide(), 12)
    levels = hidden(features, visible=True, sigma=sigma)
    inputs, _ = batch_of([features], [levels])
    mean, width = prior_of(silent, inputs)
    keep = data**2 / (data**2 + sigma**2)
    # what the frame adds is gone as soon as the frame is
    distance = np.linalg.norm(mean[:, 2] - keep * inputs.positions[0, :, 1], axis=-1)
    np.testing.assert_allclose(distance, 1.53 / (1 + sigma**2), rtol=0.05)
    framed = 1 / (1 + sigma**2)
    local = config.sigma_frame**2 * framed + config.sigma_local**2 * (1 - framed)
    np.testing.assert_allclose(width[:, 4], np.sqrt(local * keep + data**2 * (1 - keep)), rtol=1e-4)


def test_on_a_known_backbone_the_mean_is_the_reference_conformer_of_the_residue(silent):
    record = peptide("MKWEFYRLVWGH")
    features = features_of(record, 12)
    side = ~backbone_mask(features["mol_type"])
    levels = hidden(features, visible=True, sigma=np.where(side, 40.0, 0.0))
    inputs, _ = batch_of([features], [levels])
    mean, _ = prior_of(silent, inputs)
    for token in range(12):
        code = TOKENS[int(record.restype[token])]
        reference = reference_slots(code).positions[: len(SLOT_NAMES[code])].astype(float)
        used = np.arange(len(reference)) != 1
        # all distances within the residue, and its hand, are those of the reference
        rotation, shift = superposition(reference[used], mean[token, : len(reference)][used])
        moved = reference @ rotation.T + shift
        np.testing.assert_allclose(moved[used], mean[token, : len(reference)][used], atol=1e-3)
        np.testing.assert_allclose(moved[1], inputs.positions[0, token, 1], atol=1e-3)


def test_measured_means_replace_the_reference_where_they_are_known():
    record = peptide("WK")
    measured = mean_offsets([record])
    prior = AtomPrior(small_network().config, np.random.default_rng(0))
    reference = prior.offset.asnumpy().copy()
    prior.start_at(measured)
    started = prior.offset.asnumpy()
    seen = np.isin(np.arange(NUM_TOKENS), record.restype)
    np.testing.assert_array_equal(started[~seen], reference[~seen])
    used = np.isfinite(measured).reshape(NUM_TOKENS, -1)
    np.testing.assert_allclose(
        started[used] * OFFSET_ANGSTROM, measured.reshape(NUM_TOKENS, -1)[used], atol=1e-5
    )


def test_a_structure_is_recovered_when_no_noise_is_left(silent):
    features = features_of(peptide(), 12)
    inputs, targets = batch_of([features], [hidden(features, visible=True, sigma=1e-4)])
    clean = forward(silent, inputs, "structure")[3]
    np.testing.assert_allclose(clean, targets.coords, atol=2e-3)


def test_in_training_half_of_the_complexes_are_answered_by_the_prior_alone():
    network = small_network(dropout=0.1)
    features = features_of(peptide(), 12)
    side = ~backbone_mask(features["mol_type"])
    levels = hidden(features, visible=True, sigma=np.where(side, 3.0, 0.0))
    inputs, _ = batch_of([features] * 32, [levels] * 32)
    asked = (inputs.sigma > 0) & (inputs.atom_visible > 0)

    def bypassed():
        *_, clean, _, expected = forward(network, inputs, "structure")
        keep = network.config.sigma_frame**2 / (3.0**2 + network.config.sigma_frame**2)
        alone = inputs.positions * keep + expected * (1.0 - keep)
        off = np.where(asked, np.abs(clean - alone).max(axis=-1), 0.0).max(axis=(1, 2))
        return int((off < 1e-3).sum())

    assert bypassed() == 0
    network.set_train(True)
    assert 6 <= bypassed() <= 26  # 32 tosses of a coin: outside once in 5,000


def test_what_the_prior_expects_turns_with_the_backbone_and_depends_on_it():
    network = small_network(seed=3)
    features = features_of(peptide("MKWEFYRLVWGH", seed=5), 12)
    side = ~backbone_mask(features["mol_type"])
    levels = hidden(features, visible=True, sigma=np.where(side, 20.0, 0.0))
    inputs, _ = batch_of([features], [levels])
    asked = ((inputs.sigma > 0) & (inputs.atom_visible > 0))[0]
    turn = random_rotation(np.random.default_rng(0))

    def expected(positions):
        moved = replace(inputs, positions=positions.astype(np.float32))
        return forward(network, moved, "structure")[5][0]

    before = expected(inputs.positions)
    np.testing.assert_allclose(
        expected(inputs.positions @ turn.T + 4.0)[asked], (before @ turn.T + 4.0)[asked], atol=1e-3
    )
    bent = inputs.positions.copy()
    bent[0, 6:] += 3.0  # the residue before the gap keeps its frame and loses its neighbour
    assert np.abs(expected(bent)[5] - before[5])[asked[5]].max() > 1e-3

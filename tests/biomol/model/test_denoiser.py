"""Preconditioning against Karras et al. (2022), table 1."""

import numpy as np
import pytest
from mindspore import Tensor

from small_complexes import batch_of, features_of, forward, hidden, molecule, peptide, small_network

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(scope="module")
def silent():
    """A network whose raw answer is a constant vector: the read-out has a bias and no weight."""
    network = small_network()
    read_out = network.denoiser.displacement
    read_out.weight.set_data(Tensor(np.zeros(read_out.weight.shape, np.float32)))
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


def test_precondition_of_the_representative_atom_is_a_centred_gaussian(silent):
    features = features_of(peptide(), 12)
    inputs, _ = batch_of([features], [hidden(features, visible=True, sigma=3.0)])
    arguments = (Tensor(x) for x in (inputs.positions, inputs.atom_visible, inputs.sigma))
    base, width = (x.asnumpy() for x in silent.denoiser.precondition(*arguments))
    assert (base[:, :, 1] == 0).all()
    np.testing.assert_allclose(width[:, :, 1], silent.config.sigma_data, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 4.0, 1000.0])
def test_other_atoms_are_expected_about_the_best_guess_of_their_representative(silent, sigma):
    data, local = silent.config.sigma_data, silent.config.sigma_local
    features = features_of(peptide(), 12)
    levels = hidden(features, visible=True, sigma=sigma)
    inputs, _ = batch_of([features], [levels])
    arguments = (Tensor(x) for x in (inputs.positions, inputs.atom_visible, inputs.sigma))
    base, width = (x.asnumpy() for x in silent.denoiser.precondition(*arguments))
    keep = data**2 / (data**2 + sigma**2)
    np.testing.assert_allclose(
        base[0, :, 4], keep * inputs.positions[0, :, 1], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        width[0, :, 4], np.sqrt(local**2 * keep + data**2 * (1 - keep)), rtol=1e-4
    )


def test_a_structure_is_recovered_when_no_noise_is_left(silent):
    features = features_of(peptide(), 12)
    inputs, targets = batch_of([features], [hidden(features, visible=True, sigma=1e-4)])
    clean = forward(silent, inputs, "structure")[3]
    np.testing.assert_allclose(clean, targets.coords, atol=2e-3)

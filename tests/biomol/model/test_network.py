"""What the network may and may not depend on. Eager mode, random weights, small dims."""

from dataclasses import fields, replace

import numpy as np
import pytest
from mindspore import Tensor
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import MASK_ID, NUM_SLOTS, MolType
from biomol.config.model import ModelConfig
from biomol.data.batch import Inputs
from biomol.data.noise import PRESETS, backbone_mask
from biomol.model.network import TRACKS, BioMol
from scimind import device
from small_complexes import (
    batch_of,
    features_of,
    forward,
    hidden,
    molecule,
    peptide,
    small_config,
    small_network,
)

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(scope="module")
def network():
    return small_network(pair_update="full")


def with_backbone(record, tokens=None):
    features = features_of(record, tokens)
    return features, hidden(features, visible=backbone_mask(features["mol_type"]))


def moved(inputs, seed=0):
    """The same structure in another pose."""
    turn = Rotation.random(random_state=seed)
    positions = turn.apply(inputs.positions.reshape(-1, 3)).reshape(inputs.positions.shape)
    positions = (positions + np.array([3.0, -7.0, 11.0])) * inputs.atom_visible[..., None]
    return turn, replace(inputs, positions=positions.astype(np.float32))


def test_the_geometry_track_does_not_see_the_pose_of_a_structure(network):
    features, levels = with_backbone(peptide())
    inputs, _ = batch_of([features], [levels])
    first = forward(network, inputs, "geometry")
    second = forward(network, moved(inputs)[1], "geometry")
    for a, b in zip(first[:3], second[:3], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)
    # and it does see the structure
    mirrored = replace(inputs, positions=inputs.positions * np.float32([1, 1, -1]))
    assert np.abs(forward(network, mirrored, "geometry")[0] - first[0]).max() > 1e-2


def test_side_chains_on_a_given_backbone_turn_with_it():
    network = small_network(seed=4)
    features = features_of(peptide("ARNDQEKLMWYV", seed=2), 12)
    side = ~backbone_mask(features["mol_type"])
    levels = hidden(features, visible=True, sigma=np.where(side, 2.0, 0.0))
    inputs, _ = batch_of([features], [levels])
    turn, turned = moved(replace(inputs, positions=inputs.positions.copy()))
    shift = np.array([3.0, -7.0, 11.0])
    clean, clean_turned = (forward(network, x, "structure")[3][0] for x in (inputs, turned))
    visible = inputs.atom_visible[0] > 0
    predicted = visible & side
    assert predicted.sum() > 20
    assert np.abs((clean - inputs.positions[0])[predicted]).max() > 0.3
    np.testing.assert_allclose(clean_turned[visible], turn.apply(clean[visible]) + shift, atol=2e-3)


@pytest.mark.parametrize("tracks", TRACKS)
def test_half_precision_gives_nearly_the_same_answers_also_with_padding(tracks):
    network = small_network(pair_update="full")
    features = features_of(peptide("ARNDQEKLMWYV", seed=2), 32)
    levels = hidden(features, visible=True, sigma=1.0)
    inputs, _ = batch_of([features], [levels])
    single = forward(network, inputs, tracks)
    device.setup("cpu", "fp16", threads=1)
    try:
        half = forward(network, inputs, tracks)
    finally:
        device.setup("cpu", threads=1)
    for a, b in zip(single, half, strict=True):
        if a is None:
            continue
        # 11 bits through a few layers; logits and angstrom are of order 1
        np.testing.assert_allclose(b, a, atol=0.05)
    assert any(np.abs(a - b).max() > 0 for a, b in zip(single, half, strict=True) if a is not None)


def test_given_atoms_come_back_unchanged(network):
    features = features_of(peptide())
    side = ~backbone_mask(features["mol_type"])
    levels = hidden(features, visible=True, sigma=np.where(side, 5.0, 0.0))
    inputs, _ = batch_of([features], [levels])
    clean = forward(network, inputs, "structure")[3]
    given = (inputs.atom_visible > 0) & (inputs.sigma == 0)
    assert given.sum() == 4 * 12
    np.testing.assert_array_equal(clean[given], inputs.positions[given])
    assert (clean[inputs.atom_visible == 0] == 0).all()


@pytest.mark.parametrize("pair_update", ["none", "multiplication", "full"])
def test_padding_changes_nothing(pair_update):
    network = small_network(pair_update=pair_update)
    record = peptide()
    results = []
    for tokens in (12, 32, 64):
        features = features_of(record, tokens)
        levels = hidden(features, identity=np.arange(tokens) == 3, visible=True, sigma=0.0)
        inputs, _ = batch_of([features], [levels])
        # the same noise in every bucket
        noise = np.random.default_rng(0).normal(size=(12, NUM_SLOTS, 3)) * 2
        inputs.positions[0, :12] += (noise * inputs.atom_visible[0, :12, :, None]).astype(
            np.float32
        )
        inputs.sigma[0, :12] = 2.0 * inputs.atom_visible[0, :12]
        results.append(forward(network, inputs, "structure"))
    for other in results[1:]:
        identity, values, labels, clean, distogram, expected = other
        np.testing.assert_allclose(identity[:, :12], results[0][0], atol=1e-4)
        np.testing.assert_allclose(values, results[0][1], atol=1e-4)
        np.testing.assert_allclose(labels[:, :12], results[0][2], atol=1e-4)
        np.testing.assert_allclose(clean[:, :12], results[0][3], atol=1e-4)
        np.testing.assert_allclose(distogram[:, :12, :12], results[0][4], atol=1e-4)
        np.testing.assert_allclose(expected[:, :12], results[0][5], atol=1e-4)


def test_complexes_of_a_batch_do_not_see_each_other(network):
    records = [peptide(), molecule(), peptide("GAVLIPFW", seed=1)]
    features = [features_of(record, 32) for record in records]
    levels = [
        hidden(f, visible=True, sigma=s) for f, s in zip(features, (1.0, 8.0, 3.0), strict=True)
    ]
    inputs, _ = batch_of(features, levels)
    order = [2, 0, 1]
    shuffled = Inputs(**{f.name: getattr(inputs, f.name)[order] for f in fields(inputs)})
    first, second = (forward(network, x, "structure") for x in (inputs, shuffled))
    alone = forward(
        network,
        Inputs(**{f.name: getattr(inputs, f.name)[1:2] for f in fields(inputs)}),
        "structure",
    )
    for a, b, c in zip(first, second, alone, strict=True):
        np.testing.assert_allclose(a[order], b, atol=1e-4)
        np.testing.assert_allclose(a[1:2], c, atol=1e-4)


@pytest.mark.parametrize("preset", ["inverse_folding", "codesign"])
def test_hiding_an_identity_hides_everything_that_gives_it_away(preset):
    # Same backbone, other residues: where the identity is hidden the inputs must be identical.
    first, second = peptide("WWWWAAAA"), peptide("GKDEAAAA")
    slots = backbone_mask(first.mol_type)
    second = replace(
        second,
        coords=np.where(slots[..., None], first.coords, second.coords),
    )
    rows = []
    for record in (first, second):
        features = features_of(record, 8)
        hide = np.arange(8) < 4
        levels = hidden(
            features,
            identity=hide,
            visible=slots | ~hide[:, None],
            sigma=np.where(hide[:, None], 3.0, 0.0) if preset == "codesign" else 0.0,
        )
        rows.append(batch_of([features], [levels])[0])
    for field in fields(Inputs):
        np.testing.assert_array_equal(
            getattr(rows[0], field.name), getattr(rows[1], field.name), err_msg=field.name
        )
    assert (rows[0].token[0, :4] == MASK_ID).all()
    # and the presets never show more than these levels
    sampler, _ = PRESETS[preset]
    for seed in range(30):
        features = features_of(first, 8)
        levels = sampler(features, np.random.default_rng(seed))
        assert not (levels.visible & levels.hide_identity[:, None] & ~slots).any()


def test_hiding_an_atom_hides_its_charge_and_handedness():
    rows = []
    for smiles in ("C[C@H](N)C(=O)[O-]", "C[C@@H](O)C(=O)[NH-]"):
        features = features_of(molecule(smiles), 8)
        features["coords"][:] = 0
        inputs, _ = batch_of([features], [hidden(features, identity=features["token_mask"])])
        rows.append(inputs)
    for name in ("token", "charge", "chirality"):
        np.testing.assert_array_equal(getattr(rows[0], name), getattr(rows[1], name))
    shown, _ = batch_of([features], [hidden(features)])
    assert (shown.charge != 0).any()
    assert (shown.chirality != 0).any()


ABLATIONS = {
    "token": lambda x: np.where(x == MASK_ID, x, x[:, ::-1]),
    "mol_type": lambda x: np.where(x == MolType.PROTEIN, MolType.RNA, x),
    "res_index": lambda x: x * 3,
    "chain_id": lambda x: np.where(np.arange(x.shape[1]) > 5, 1, x),
    "entity_id": lambda x: np.where(np.arange(x.shape[1]) > 5, 1, x),
    "charge": lambda x: x + 1,
    "chirality": lambda x: (x + 1) % 3,
    "bond": lambda x: np.zeros_like(x),
    "topology": lambda x: x + 1,
    "prop_value": lambda x: x + 1,
    "prop_given": lambda x: 1 - x,
    "positions": lambda x: x * 1.5,
    "sigma": lambda x: x * 3 + 0.5,
    "atom_visible": lambda x: x * (np.arange(x.shape[-1]) < 4),
}
READ = {
    "sequence": {name for name in ABLATIONS if name not in ("positions", "sigma", "atom_visible")},
    "geometry": set(ABLATIONS),
    "structure": set(ABLATIONS),
}


@pytest.mark.parametrize("tracks", TRACKS)
def test_every_input_of_a_track_is_read_and_no_other(network, tracks):
    features = features_of(peptide("MKDEFYRLVWGH"), 12)
    levels = hidden(features, visible=True, sigma=1.0).giving(np.array([True, False]))
    inputs, _ = batch_of([features], [levels])
    # two chains, so that the entity can matter
    inputs.chain_id[0, 8:] = 1
    inputs.res_index[0, 8:] -= 8
    before = forward(network, inputs, tracks)
    for name, change in ABLATIONS.items():
        value = getattr(inputs, name)
        changed = replace(inputs, **{name: change(value).astype(value.dtype)})
        assert (getattr(changed, name) != value).any(), name
        after = forward(network, changed, tracks)
        difference = max(
            np.abs(a - b).max() for a, b in zip(before, after, strict=True) if a is not None
        )
        if name in READ[tracks]:
            assert difference > 1e-5, f"{tracks} does not read {name}"
        else:
            assert difference == 0, f"{tracks} reads {name}"


def test_only_the_structure_track_answers_with_positions(network):
    features = features_of(peptide(), 12)
    inputs, _ = batch_of([features], [hidden(features, visible=True, sigma=1.0)])
    for tracks in TRACKS:
        outputs = forward(network, inputs, tracks)
        shapes = [None if x is None else x.shape for x in outputs]
        assert shapes[:3] == [(1, 12, 67), (1, 2), (1, 12, 3)]
        if tracks == "structure":
            assert shapes[3:] == [(1, 12, 24, 3), (1, 12, 12, 32), (1, 12, 24, 3)]
            np.testing.assert_allclose(outputs[4], outputs[4].swapaxes(1, 2), atol=1e-5)
        else:
            assert shapes[3:] == [None] * 3


def test_a_network_without_outputs_has_no_heads_for_them():
    network = BioMol(ModelConfig(dim_single=16, dim_pair=8, trunk_blocks=1, denoiser_blocks=1))
    names = [parameter.name for parameter in network.get_parameters()]
    assert not any(name.startswith(("properties.", "labels.")) for name in names)
    features = features_of(peptide(), 12)
    inputs, _ = batch_of([features], [hidden(features)])
    assert forward(network, inputs, "sequence")[1:] == [None] * 5


def test_the_seed_fixes_the_initial_weights():
    from biomol.model.network import BioMol

    first, same, other = (BioMol(small_config(), seed) for seed in (1, 1, 2))
    pairs = list(zip(*(net.get_parameters() for net in (first, same, other)), strict=True))
    assert all((a.asnumpy() == b.asnumpy()).all() for a, b, _ in pairs)
    assert any((a.asnumpy() != c.asnumpy()).any() for a, _, c in pairs)


def test_dropout_acts_in_training_only_and_follows_its_key():
    network = small_network(dropout=0.3)
    features = features_of(peptide(), 12)
    inputs, _ = batch_of([features], [hidden(features)])
    arrays = [Tensor(array) for array in inputs.arrays()]

    def identity(key):
        return network(Tensor(np.array(key, np.int32)), "sequence", *arrays)[0].asnumpy().copy()

    assert (identity([0, 1]) == identity([5, 6])).all()
    network.set_train(True)
    assert (identity([0, 1]) == identity([0, 1])).all()
    assert np.abs(identity([0, 1]) - identity([5, 6])).max() > 1e-3

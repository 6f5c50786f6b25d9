"""What the engine shows to the network and how it reads the answers; random weights, eager mode."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from biomol.chem.vocab import PROTEIN_IDS, TOKEN_ID, TOKENS
from biomol.data.noise import SIDE_CHAIN_SIGMA_MAX, SIGMA_MAX, backbone_mask
from biomol.io.fasta import complex_from_sequence
from biomol.sampling.engine import BioMolEngine, _StructureJob, _windows
from biomol.sampling.inference import MAX_PAIRS, Inference, batch_size
from scimind.errors import InputError
from small_complexes import (
    SCALE,
    batch_of,
    features_of,
    forward,
    hidden,
    molecule,
    peptide,
    small_network,
)


def eager(forward, inputs):
    """The forward pass without compilation: a small network needs none."""
    outputs = forward.network(forward.key, forward.tracks, *inputs)[:4]
    return tuple(output for output in outputs if output is not None)


@pytest.fixture(scope="module")
def engine(runtime):
    engine = BioMolEngine(small_network(seed=2), SCALE, {"model": "biomol-test"}, window=16)
    engine.inference._run = eager
    return engine


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr("biomol.sampling.inference.MAX_PAIRS", 4 * 32**2)


def test_batches_fill_the_memory_that_is_allowed_and_no_more():
    for tokens in (32, 128, 384, 768):
        count = batch_size(tokens)
        assert count == 1 or count * tokens**2 <= MAX_PAIRS


def test_answers_come_back_in_order_whatever_the_sizes(engine):
    records = [peptide("AC" * 20), molecule(), peptide("GWK"), peptide("AC" * 20), molecule("CCO")]
    together = engine.properties(records, engine.property_names)
    alone = np.concatenate([engine.properties([r], engine.property_names) for r in records])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(together[0], together[3], atol=1e-6)


def test_properties_have_their_own_units_and_order(engine):
    record = peptide()
    features = features_of(record)
    from biomol.data.noise import nothing_hidden

    row = engine.inference.row(features, nothing_hidden(features))
    raw = engine.inference.outputs([row], "sequence")[0]["property"]
    found = engine.properties([record], ["table/binds", "table/affinity"])[0]
    assert found[1] == pytest.approx(raw[0] * 2.0 + 1.0, rel=1e-5)
    assert found[0] == pytest.approx(1 / (1 + np.exp(-raw[1])), rel=1e-5)


def test_a_property_does_not_depend_on_its_own_label(engine):
    record = peptide()
    other = replace(record, properties={"table/affinity": 99.0, "table/binds": 1.0})
    names = engine.property_names
    np.testing.assert_array_equal(
        engine.properties([record], names), engine.properties([other], names)
    )


def test_properties_read_a_structure_only_when_asked_and_never_its_pose(engine):
    record = peptide()
    turn = Rotation.random(random_state=1)
    coords = turn.apply(record.coords.reshape(-1, 3)).reshape(record.coords.shape) + 5.0
    turned = replace(
        record, coords=np.where(record.coord_mask[..., None], coords, 0).astype(np.float32)
    )
    bare = replace(record, coord_mask=np.zeros_like(record.coord_mask))
    names = engine.property_names
    with_structure, again = (
        engine.properties([x], names, use_structure=True) for x in (record, turned)
    )
    np.testing.assert_allclose(with_structure, again, atol=2e-3)
    without = engine.properties([record], names)
    assert np.abs(with_structure - without).max() > 1e-3
    np.testing.assert_array_equal(without, engine.properties([bare], names))


def test_unknown_names_are_refused_with_the_known_ones(engine):
    with pytest.raises(InputError, match="table/affinity"):
        engine.properties([peptide()], ["solubility"])
    with pytest.raises(InputError, match="secondary_structure"):
        engine.token_probabilities([peptide()], "disorder")


@pytest.mark.parametrize("count", [1, 15, 16, 17, 40, 255, 1000])
def test_windows_read_every_token_once_and_away_from_their_ends(count):
    windows = _windows(count, 16)
    read = np.concatenate([np.arange(low, high) for _, low, high in windows])
    np.testing.assert_array_equal(read, np.arange(count))
    for first, low, high in windows:
        assert 0 <= first <= low < high <= min(first + 16, count)
        assert low == 0 or low - first >= 3
        assert high == count or first + 16 - high >= 3


def test_label_probabilities_of_a_long_chain_are_those_of_its_windows(engine):
    record = peptide("MKDEFYRLVWGHPSTNQCAI" * 2)
    found = engine.token_probabilities([record, peptide("GAV")], "secondary_structure")
    assert [x.shape for x in found] == [(40, 3), (3, 3)]
    for probabilities in found:
        np.testing.assert_allclose(probabilities.sum(-1), 1.0, atol=1e-6)
    from biomol.data.crop import select_tokens

    for first, low, high in _windows(40, 16):
        piece = select_tokens(record, np.arange(first, min(first + 16, 40)))
        alone = engine.token_probabilities([piece], "secondary_structure")[0]
        np.testing.assert_allclose(found[0][low:high], alone[low - first : high - first], atol=1e-5)


def native_replaced(record, sequence):
    """The same backbone with other residues and their side chains where ``sequence`` says so."""
    other = peptide(sequence, seed=7)
    backbone = backbone_mask(record.mol_type)
    offset = (record.coords - other.coords)[:, 1:2]
    coords = np.where(backbone[..., None], record.coords, other.coords + offset)
    coords = np.where(other.atom_mask[..., None], coords, 0).astype(np.float32)
    return replace(other, coords=coords, name=record.name, chirality=other.chirality)


def test_sequence_probabilities_do_not_see_the_native_residues(engine):
    record = peptide("MKDEFYRLVWGH")
    other = native_replaced(record, "WWWWWWRLVWGH")
    # where nothing is hidden the record is the same
    keep = np.arange(12) >= 6
    other = replace(
        other, coords=np.where(keep[:, None, None], record.coords, other.coords).astype(np.float32)
    )
    hide = ~keep
    first, second = (engine.sequence_probabilities([x], [hide])[0] for x in (record, other))
    np.testing.assert_allclose(first, second, atol=1e-5)
    np.testing.assert_allclose(first.sum(-1), 1.0)
    assert (first[:, [i for i in range(len(TOKENS)) if i not in PROTEIN_IDS]] == 0).all()


def test_designs_keep_what_is_not_hidden_and_follow_the_seed(engine):
    records = [peptide("MKDEFYRLVWGH"), peptide("GAVLIPFW", seed=3, name="other")]
    hidden = [np.arange(12) % 2 == 0, np.arange(8) < 3]

    def design(seed):
        return engine.design(records, hidden, temperature=1.0, seed=seed, num_steps=3)

    first, again, other = design(0), design(0), design(1)
    for record, mask, a, b in zip(records, hidden, first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a[~mask], record.restype[~mask])
        assert np.isin(a[mask], PROTEIN_IDS).all()
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    assert (records[0].restype == peptide("MKDEFYRLVWGH").restype).all(), "the record is untouched"


def test_cold_designs_are_the_most_probable_residues(engine):
    record, hide = peptide("MKDEFYRLVWGH"), np.ones(12, bool)
    best = engine.sequence_probabilities([record], [hide])[0].argmax(-1)
    for temperature in (0.0, 1e-6):
        found = engine.design([record], [hide], temperature=temperature, num_steps=1)[0]
        np.testing.assert_array_equal(found, best)


def test_a_design_is_not_told_that_it_hit_the_native_residue(engine):
    # The design of a design must be itself: side chains of the record are never shown, also
    # where a decided residue happens to be that of the record.
    hide = np.ones(12, bool)
    record = peptide("MKDEFYRLVWGH")
    for steps in (2, 6, 12):
        first = engine.design([record], [hide], temperature=0.0, num_steps=steps)[0]
        names = {TOKEN_ID[code]: code for code in TOKEN_ID}
        from biomol.chem.vocab import PROTEIN_CODES, PROTEIN_LETTERS

        letters = dict(zip(PROTEIN_CODES, PROTEIN_LETTERS, strict=True))
        sequence = "".join(letters[names[int(token)]] for token in first)
        native = native_replaced(record, sequence)
        again = engine.design([native], [hide], temperature=0.0, num_steps=steps)[0]
        np.testing.assert_array_equal(first, again)
    seen = engine._design_row(native, np.zeros(12, bool), hide, native.restype)["atom_visible"]
    assert seen[:, 4:].sum() == 0
    assert seen[:12, :4].all()


def test_nothing_hidden_needs_no_design(engine):
    record = peptide()
    found = engine.design([record], [np.zeros(12, bool)])[0]
    np.testing.assert_array_equal(found, record.restype)
    assert engine.design([], []) == []


def test_given_atoms_stay_exactly_and_missing_ones_are_built(engine):
    record = peptide("MKWEFYRLVWGH")
    record = replace(
        record, coords=record.coords + np.float32(100.0) * record.coord_mask[..., None]
    )
    given = record.coord_mask & backbone_mask(record.mol_type)
    sample = engine.structures([record], [given], seed=0, num_steps=3, num_samples=2)[0]
    assert sample.shape == (2, 12, 24, 3)
    # float32 at 100 angstrom resolves 1e-5
    np.testing.assert_allclose(sample[0][given], record.coords[given], atol=3e-5)
    built = record.atom_mask & ~given
    assert (np.abs(sample[:, built]) > 1).any(-1).all()
    assert (sample[:, ~record.atom_mask] == 0).all()
    assert np.isfinite(sample).all()
    assert np.abs(sample[0] - sample[1]).max() > 0.01, "samples differ"


def test_without_noise_the_answer_does_not_depend_on_the_seed(engine):
    record = peptide("MKWEFYRLVWGH")
    given = record.coord_mask & backbone_mask(record.mol_type)
    first, second = (
        engine.structures([record], [given], seed=seed, num_steps=3, noise=0.0)[0]
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(first, second)


def test_side_chains_start_from_less_noise_than_whole_chains(engine):
    record = peptide("MKWEFYRLVWGH")
    jobs = [
        _StructureJob(engine.inference, record, given, np.random.default_rng(0))
        for given in (
            record.coord_mask & backbone_mask(record.mol_type),
            np.zeros_like(record.coord_mask),
        )
    ]
    assert [job.sigma_max for job in jobs] == [SIDE_CHAIN_SIGMA_MAX, SIGMA_MAX]
    for job in jobs:
        job.start(job.sigma_max)
        spread = (job.positions - job.clean[:, 1:2] * ~job.free)[job.generated].std()
        np.testing.assert_allclose(spread, job.sigma_max, rtol=0.2)


def test_structures_follow_the_seed_and_ignore_coordinates_that_are_not_given(engine):
    record = peptide()
    bare = replace(
        record, coords=np.zeros_like(record.coords), coord_mask=np.zeros_like(record.coord_mask)
    )
    nothing = np.zeros_like(record.coord_mask)
    first, same, other = (
        engine.structures([x], [nothing], seed=seed, num_steps=2)[0]
        for x, seed in ((record, 0), (bare, 0), (record, 1))
    )
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 0.01
    assert np.abs(first[0][record.atom_mask].mean(0)).max() < 100


def test_a_sequence_without_any_coordinates_gets_a_structure(engine):
    record = complex_from_sequence("MKV", name="bare")
    sample = engine.structures([record], [np.zeros_like(record.coord_mask)], num_steps=2)[0]
    assert sample.shape == (1, 3, 24, 3)
    assert np.isfinite(sample).all()


def test_the_forward_pass_returns_what_its_names_say(runtime):
    network = small_network()
    inference = Inference(network, SCALE)
    names = {tracks: forward.names for tracks, forward in inference._forward.items()}
    assert names["sequence"] == names["geometry"] == ("identity", "property", "label")
    assert names["structure"] == (*names["sequence"], "positions")


def test_answers_are_those_of_evaluation_mode_and_the_mode_is_left_as_it_was(runtime):
    network = small_network(seed=2, dropout=0.5)
    network.set_train(True)
    inference = Inference(network, SCALE)
    assert network.training
    features = features_of(peptide(), 12)
    row = inference.row(features, hidden(features))
    (answer,) = inference.outputs([row], "sequence")
    assert network.training
    network.set_train(False)
    inputs, _ = batch_of([features], [hidden(features)])
    np.testing.assert_allclose(
        answer["identity"], forward(network, inputs, "sequence")[0][0], atol=1e-4
    )

"""Batches are a pure function of the seed and the step, with the truth on the other side."""

from collections.abc import Sequence

import numpy as np
import pytest

from biomol.data.batch import Inputs, Targets
from biomol.data.noise import PRESETS
from biomol.data.sources import Source, batch_size, stream
from scimind.data import FailureLog, Shard
from scimind.errors import ConfigError, InputError
from small_complexes import SCALE, molecule, peptide

RECORDS = [
    *(peptide("MKDEFYRLVWGHPSTNQCAI" * 2, seed=seed, name=f"chain{seed}") for seed in range(6)),
    *(molecule(smiles, smiles) for smiles in ("CCO", "c1ccccc1", "CC(=O)O", "CCN")),
]


def source(presets=None, **changes):
    settings = {
        "name": "test",
        "records": RECORDS,
        "members": np.arange(len(RECORDS)),
        "presets": presets or {"fold": 0.5, "side_chains": 0.5},
        "buckets": (16, 32),
    }
    return Source(**{**settings, **changes})


def batches(one=None, seed=0, shard=None):
    return stream(
        one or source(),
        SCALE,
        seed=seed,
        max_batch=3,
        max_pairs=2 * 32**2,
        shard=shard or Shard(0, 1),
        failures=FailureLog(),
    )


def assert_equal(a, b):
    assert a[0] == b[0]
    for left, right in zip(a[1:], b[1:], strict=True):
        np.testing.assert_array_equal(left, right)


def different(a, b):
    return any(
        left.shape != right.shape or (left != right).any()
        for left, right in zip(a[1:], b[1:], strict=True)
    )


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    first, again, other = batches(), batches(), batches(seed=1)
    for step in (5, 0, 3, 5):
        assert_equal(first.batch(step), again.batch(step))
    assert different(first.batch(0), first.batch(1))
    assert different(first.batch(0), other.batch(0))


def test_a_stream_goes_on_where_it_was_stopped():
    whole, stopped = iter(batches()), batches()
    expected = [next(whole) for _ in range(6)]
    iterator = iter(stopped)
    for batch in expected[:4]:
        assert_equal(next(iterator), batch)
    state = stopped.state()
    resumed = batches()
    resumed.restore(state)
    for batch, wanted in zip(iter(resumed), expected[4:], strict=False):
        assert_equal(batch, wanted)


def test_shapes_are_those_of_the_buckets_and_sizes_of_the_pair_budget():
    assert batch_size(16, 3, 2 * 32**2) == 3
    assert batch_size(32, 3, 2 * 32**2) == 2
    assert batch_size(999, 3, 2 * 32**2) == 1
    shapes = set()
    stream = batches()
    for step in range(12):
        tracks, *arrays = stream.batch(step)
        assert tracks == "structure"
        assert len(arrays) == len(Inputs.__dataclass_fields__) + len(Targets.__dataclass_fields__)
        shapes.add(arrays[0].shape)
    assert shapes == {(3, 16), (2, 32)}


def test_every_member_is_seen_in_an_epoch_and_nobody_else():
    # tokens of a hidden sequence are masked, so look at the targets
    names = list(Inputs.__dataclass_fields__) + list(Targets.__dataclass_fields__)
    members = [6, 7, 9]
    stream = batches(source({"fold": 1.0}, members=members, buckets=(16,)))
    seen = set()
    for step in range(2 * stream.steps_per_epoch):
        batch = dict(zip(names, stream.batch(step)[1:], strict=True))
        for restype, mask in zip(batch["restype"], batch["token_mask"], strict=True):
            seen.add(tuple(restype[mask > 0].tolist()))
    assert seen == {tuple(RECORDS[member].restype.tolist()) for member in members}


def test_two_shards_see_different_records_at_the_same_step():
    names = list(Inputs.__dataclass_fields__) + list(Targets.__dataclass_fields__)
    one = source({"sequence": 1.0}, buckets=(32,), members=range(4))
    seen = []
    for rank in range(2):
        batch = dict(zip(names, batches(one, shard=Shard(rank, 2)).batch(0)[1:], strict=True))
        seen.append({tuple(labels) for labels in batch["token_label"][..., 0].tolist()})
    assert not seen[0] & seen[1]


def test_the_presets_of_a_source_run_the_same_tracks():
    assert source({"fold": 1.0}).tracks == "structure"
    assert source({"inverse_folding": 1.0}).tracks == "geometry"
    with pytest.raises(ConfigError, match="different tracks"):
        _ = source({"fold": 0.5, "sequence": 0.5}).tracks


@pytest.mark.parametrize("preset", PRESETS)
def test_a_property_is_a_question_or_a_condition(preset):
    names = list(Inputs.__dataclass_fields__) + list(Targets.__dataclass_fields__)
    stream = batches(source({preset: 1.0}))
    conditions = questions = 0
    for step in range(40):
        batch = dict(zip(names, stream.batch(step)[1:], strict=True))
        assert not ((batch["prop_given"] > 0) & (batch["prop_weight"] > 0)).any()
        assert (batch["prop_value"][batch["prop_given"] == 0] == 0).all()
        conditions += int((batch["prop_given"] > 0).sum())
        questions += int((batch["prop_weight"] > 0).sum())
    assert 0 < conditions < questions


def test_a_record_that_cannot_be_used_is_recorded_and_replaced():
    class Broken(Sequence):
        """Records of which one cannot be read."""

        damaged = False

        def __len__(self):
            return 4

        def __getitem__(self, index):
            if self.damaged and index == 2:
                raise InputError("record 2 is damaged", rule="test")
            return RECORDS[6 + index]

        num_tokens = np.array([RECORDS[6 + index].num_tokens for index in range(4)])

    failures = FailureLog()
    records = Broken()
    one = source({"sequence": 1.0}, records=records, members=range(4), buckets=(16,))
    broken = stream(
        one, SCALE, seed=0, max_batch=4, max_pairs=10**6, shard=Shard(0, 1), failures=failures
    )
    # only now: the shape checker of the tests looks into sequences, too
    records.damaged = True
    assert broken.batch(0)[1].shape == (4, 16)
    assert len(failures.failures) >= 1

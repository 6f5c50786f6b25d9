"""Facts about the order of examples: complete, seeded, shared between processes, resumable."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from scimind.data import (
    Batches,
    Bucket,
    Buckets,
    Field,
    IterableBatches,
    Mixture,
    PadCollate,
    Shard,
    ShuffledOrder,
    Stream,
    WeightedSchedule,
    evaluation_batches,
)
from scimind.data.failures import FailureLog
from scimind.errors import CheckpointError, ConfigError, InputError

COLLATE = PadCollate({"id": Field((), np.int64), "value": Field(("token",), np.float32, -1.0)})
BUCKETS = Buckets([Bucket(4, {"token": 8}), Bucket(2, {"token": 16})])


class Ragged:
    """Examples of 1 to 16 tokens; the listed ones are unreadable."""

    def __init__(self, length=37, corrupt=()):
        self.lengths = [1 + (7 * i) % 16 for i in range(length)]
        self.corrupt = set(corrupt)

    def __len__(self):
        return len(self.lengths)

    def name(self, index):
        return f"molecule-{index}"

    def sizes(self, index):
        return {"token": self.lengths[index]}

    def __getitem__(self, index):
        if index in self.corrupt:
            raise InputError("3 atoms in the header, 2 in the file", rule="test.count")
        return {"id": np.int64(index), "value": np.full(self.lengths[index], index, np.float32)}


def stack(items, _bucket):
    return (np.array(items),)


def same(a, b):
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and np.array_equal(a[k], b[k]) for k in a
    )


def test_every_epoch_is_a_new_permutation_that_the_seed_determines():
    order = ShuffledOrder(50, seed=3)
    first, second = order.take(0, 50), order.take(50, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert ShuffledOrder(50, seed=3).take(50, 50) == second
    assert ShuffledOrder(50, seed=4).take(0, 50) != first
    assert ShuffledOrder(50, seed=3, path=("validation",)).take(0, 50) != first
    # Access in any order, as parallel workers do, changes nothing.
    assert [order[p] for p in (120, 3, 77, 3)] == [
        ShuffledOrder(50, seed=3)[p] for p in (120, 3, 77, 3)
    ]


@pytest.mark.parametrize("seed", [0, 1, 99])
def test_the_schedule_keeps_the_weights_in_every_prefix(seed):
    weights = np.array([0.7, 0.05, 0.25])
    schedule = WeightedSchedule(weights * 3, seed)
    drawn = np.array([schedule.source_at(k) for k in range(3000)])
    for n in (1, 10, 100, 1000, 3000):
        counts = np.bincount(drawn[:n], minlength=3)
        assert np.array_equal(schedule.counts_before(n), counts)
        # Interval discrepancy of the golden-ratio sequence: below 2 + ln(n) with room to spare.
        assert np.all(np.abs(counts - n * weights) < 2 + np.log(n))


def test_the_schedule_counts_the_same_forwards_backwards_and_far_away():
    schedule = WeightedSchedule([1, 2], seed=5)
    far = schedule.counts_before(200_000)
    near = schedule.counts_before(100)
    assert far.sum() == 200_000
    assert np.array_equal(WeightedSchedule([1, 2], seed=5).counts_before(100), near)
    assert np.array_equal(schedule.counts_before(200_000), far)


@pytest.mark.parametrize("weights", [[], [1, 0], [1, -1], [1, float("nan")], [float("inf")]])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be positive"):
        WeightedSchedule(weights, seed=0)


@pytest.mark.parametrize("world", [2, 3, 4])
def test_the_ranks_together_load_the_batch_of_one_process(world):
    def stream(rank, world, scale):
        buckets = Buckets([Bucket(4 * scale, {"token": 8}), Bucket(2 * scale, {"token": 16})])
        return Batches(Ragged(), COLLATE, buckets=buckets, seed=7, shard=Shard(rank, world))

    single = stream(0, 1, world)
    ranks = [stream(rank, world, 1) for rank in range(world)]
    for step in range(40):
        whole = single.batch(step)
        parts = [rank.batch(step) for rank in ranks]
        assert same(whole, {k: np.concatenate([part[k] for part in parts]) for k in whole})


def test_each_bucket_shows_every_example_once_before_any_twice():
    stream = Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=1)
    seen: dict[int, list[int]] = {8: [], 16: []}
    for batch in islice(stream, 60):
        assert batch["value"].shape in {(4, 8), (2, 16)}
        seen[batch["value"].shape[1]] += batch["id"].tolist()
    lengths = Ragged().lengths
    for size, ids in seen.items():
        members = [i for i, n in enumerate(lengths) if (n <= 8) == (size == 8)]
        for epoch in range(len(ids) // len(members)):
            part = ids[epoch * len(members) : (epoch + 1) * len(members)]
            assert sorted(part) == members
    counts = Counter(seen[8] + seen[16])
    assert set(counts) == set(range(37))
    # Over all buckets the counts stay close: the schedule follows the bucket populations.
    assert max(counts.values()) - min(counts.values()) <= 2


def test_padding_is_the_fill_value_and_nothing_else_changes():
    batch = COLLATE([Ragged()[1], Ragged()[2]], Bucket(2, {"token": 16}))
    assert batch["value"].dtype == np.float32
    assert np.all(batch["value"][0, :8] == 1)
    assert np.all(batch["value"][0, 8:] == -1)
    assert np.all(batch["value"][1, 15:] == -1)


@pytest.mark.parametrize("stop", [0, 1, 13, 29])
def test_a_restored_stream_continues_mid_epoch_bit_for_bit(stop):
    def augment(item, generator):
        return {**item, "value": item["value"] + generator.normal(size=item["value"].shape)}

    def stream():
        return Batches(
            Ragged(),
            PadCollate({"id": Field((), np.int64), "value": Field(("token",), np.float64)}),
            buckets=BUCKETS,
            seed=2,
            transform=augment,
        )

    golden = list(islice(stream(), 40))
    first = stream()
    head = list(islice(first, stop))
    state = json.loads(json.dumps(first.state()))
    second = stream()
    second.restore(state)
    tail = list(islice(second, 40 - stop))
    assert all(same(a, b) for a, b in zip(golden, head + tail, strict=True))


def test_a_position_of_other_data_seed_or_batch_size_is_refused():
    state = Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=2).state()
    for other in (
        Batches(Ragged(38), COLLATE, buckets=BUCKETS, seed=2),
        Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=3),
        Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=2, shard=Shard(0, 2)),
    ):
        with pytest.raises(CheckpointError, match="the saved data position"):
            other.restore(state)


def test_loading_with_threads_gives_the_same_batches():
    plain = Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=1)
    threaded = Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=1, workers=3)
    assert all(same(a, b) for a, b in islice(zip(plain, threaded, strict=True), 20))


def test_an_unreadable_example_is_raised_with_its_name():
    stream = Batches(Ragged(corrupt=[5]), COLLATE, buckets=BUCKETS, seed=0)
    with pytest.raises(InputError, match="3 atoms") as caught:
        list(islice(stream, 40))
    assert any("molecule-5" in note for note in caught.value.__notes__)


def test_recorded_failures_are_counted_replaced_and_written(tmp_path):
    def stream(rank=0, world=1, log=None):
        buckets = Buckets([Bucket(4 // world, {"token": 8}), Bucket(2 // world, {"token": 16})])
        return Batches(
            Ragged(corrupt=[5, 11]),
            COLLATE,
            buckets=buckets,
            seed=0,
            shard=Shard(rank, world),
            on_error="record",
            failures=log,
        )

    log = FailureLog(tmp_path / "failures.jsonl")
    batches = list(islice(stream(log=log), 60))
    ids = {int(i) for batch in batches for i in batch["id"]}
    assert ids == set(range(37)) - {5, 11}
    assert set(log.failures) == {"molecule-5", "molecule-11"}
    assert log.num_failed_loads > 2
    lines = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert {line["name"] for line in lines} == {"molecule-5", "molecule-11"}
    assert {line["rule"] for line in lines} == {"test.count"}
    # The replacement is a function of the position too, so the ranks still agree with one process.
    for step, whole in enumerate(batches[:30]):
        parts = [stream(rank, 2).batch(step) for rank in range(2)]
        assert same(whole, {k: np.concatenate([part[k] for part in parts]) for k in whole})


def test_a_source_that_is_broken_as_a_whole_ends_the_run():
    stream = Batches(
        Ragged(corrupt=range(0, 37, 2)), COLLATE, buckets=BUCKETS, seed=0, on_error="record"
    )
    with pytest.raises(InputError, match="the limit is 20%"):
        list(islice(stream, 100))
    stream = Batches(Ragged(corrupt=range(37)), COLLATE, buckets=1, seed=0, on_error="record",
                     failures=FailureLog(limit=1.0))  # fmt: skip
    with pytest.raises(InputError, match="examples in a row"):
        stream.batch(0)


def test_an_error_of_the_program_is_never_recorded_as_bad_data():
    def broken(item, generator):
        raise TypeError("a bug")

    stream = Batches(Ragged(), COLLATE, buckets=BUCKETS, seed=0, transform=broken,
                     on_error="record")  # fmt: skip
    with pytest.raises(TypeError, match="a bug"):
        stream.batch(0)


def test_an_example_too_long_for_every_bucket_is_refused_or_recorded_or_cropped():
    buckets = Buckets([Bucket(4, {"token": 8}), Bucket(2, {"token": 14})])
    with pytest.raises(InputError, match=r"has 15 tokens.*holds 14 tokens.*larger bucket"):
        Batches(Ragged(), COLLATE, buckets=buckets, seed=0)
    recorded = Batches(Ragged(), COLLATE, buckets=buckets, seed=0, on_error="record")
    too_long = sum(n > 14 for n in Ragged().lengths)
    assert len(recorded.failures) == too_long > 0
    assert recorded.num_examples == 37 - too_long

    def crop(item, generator):
        start = int(generator.integers(max(1, len(item["value"]) - 13)))
        return {**item, "value": item["value"][start : start + 14]}

    cropped = Batches(Ragged(), COLLATE, buckets=buckets, seed=0, crop=True, transform=crop)
    assert {int(i) for batch in islice(cropped, 40) for i in batch["id"]} == set(range(37))


def test_the_smallest_bucket_that_holds_an_example_is_chosen():
    buckets = Buckets(
        [Bucket(1, {"token": 64, "atom": 512}), Bucket(2, {"token": 32, "atom": 512}),
         Bucket(4, {"token": 32, "atom": 128})]
    )  # fmt: skip
    assert buckets.choose({"token": 32, "atom": 128}).batch_size == 4
    assert buckets.choose({"token": 3, "atom": 129}).batch_size == 2
    assert buckets.choose({"token": 33, "atom": 1}).batch_size == 1
    with pytest.raises(InputError, match="gives no size for atom"):
        buckets.choose({"token": 1})
    with pytest.raises(ConfigError, match="different axes"):
        Buckets([Bucket(1, {"token": 64}), Bucket(1, {"atom": 64})])
    with pytest.raises(ConfigError, match="at least 1"):
        Bucket(0)


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({"id": np.int64(1)}, "lacks"),
        ({"id": np.int64(1), "value": np.ones((2, 2), np.float32)}, r"has shape \(2, 2\)"),
        ({"id": np.int64(1), "value": np.ones(9, np.float32)}, r"has shape \(9,\)"),
        ({"id": 1.5, "value": np.ones(2, np.float32)}, "has type float64"),
        ({"id": 1, "value": np.array(["C"])}, "has type <U1"),
    ],
)
def test_an_example_that_breaks_the_layout_is_refused(example, message):
    with pytest.raises(InputError, match=message):
        COLLATE([example], Bucket(1, {"token": 8}))


def test_an_empty_source_is_an_input_error():
    with pytest.raises(InputError, match="no examples"):
        Batches([], stack, buckets=1, seed=0)


def test_a_mixture_keeps_its_weights_and_resumes():
    def mixture():
        streams = {
            "protein": Batches(range(10), stack, buckets=2, seed=0, name="protein"),
            "ligand": Batches(range(100, 107), stack, buckets=3, seed=0, name="ligand"),
        }
        return Mixture(streams, {"protein": 3, "ligand": 1}, seed=4)

    golden = [batch[0].tolist() for batch in islice(mixture(), 80)]
    assert sum(len(batch) == 2 for batch in golden) == pytest.approx(60, abs=2)
    first = mixture()
    for _ in islice(first, 33):
        pass
    second = mixture()
    second.restore(json.loads(json.dumps(first.state())))
    assert [batch[0].tolist() for batch in islice(second, 47)] == golden[33:]
    assert isinstance(second, Stream)
    with pytest.raises(ConfigError, match="mixture weights name"):
        Mixture({"a": first}, {"b": 1.0}, seed=0)


@pytest.mark.parametrize("buffer", [1, 5, 1000])
def test_an_iterable_source_is_complete_shared_and_resumable(buffer):
    def stream(rank=0, world=1):
        return IterableBatches(
            lambda epoch: iter(range(23)),
            stack,
            bucket=6 // world,
            seed=1,
            shard=Shard(rank, world),
            shuffle_buffer=buffer,
        )

    golden = [batch[0] for batch in islice(stream(), 23)]
    ids = np.concatenate(golden)
    for epoch in range(6):
        assert sorted(ids[epoch * 23 : (epoch + 1) * 23]) == list(range(23))
    if buffer > 1:
        assert ids[:23].tolist() != ids[23:46].tolist()
    parts = [[batch[0] for batch in islice(stream(rank, 2), 23)] for rank in range(2)]
    for whole, a, b in zip(golden, *parts, strict=True):
        assert np.array_equal(whole, np.concatenate([a, b]))
    first = stream()
    for _ in islice(first, 9):
        pass
    second = stream()
    second.restore(first.state())
    for whole, batch in zip(golden[9:], second, strict=False):
        assert np.array_equal(whole, batch[0])


def test_an_empty_iterable_source_is_an_error_not_a_loop():
    with pytest.raises(InputError, match="empty"):
        next(iter(IterableBatches(lambda epoch: iter(()), stack, bucket=2, seed=0)))


def test_an_evaluation_pass_shows_every_example_once_and_counts_the_failed():
    log = FailureLog(limit=1.0)
    seen: list[int] = []
    for rank in range(2):
        for part in evaluation_batches(
            Ragged(corrupt=[4, 9]), COLLATE, buckets=BUCKETS, shard=Shard(rank, 2),
            on_error="record", failures=log,
        ):  # fmt: skip
            assert part.batch["value"].shape in {(4, 8), (2, 16)}
            assert part.batch["id"][: len(part.indices)].tolist() == part.indices
            seen += part.indices
    assert sorted(seen) == sorted(set(range(37)) - {4, 9})
    assert set(log.failures) == {"molecule-4", "molecule-9"}
    with pytest.raises(InputError, match="3 atoms"):
        list(evaluation_batches(Ragged(corrupt=[4]), COLLATE, buckets=BUCKETS))

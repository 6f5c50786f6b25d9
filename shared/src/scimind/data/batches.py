"""Batches from a map source, an iterable source, or a mixture: each a pure function of the step."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from scimind.data.buckets import Bucket, Buckets
from scimind.data.failures import RECORDED, FailureLog, OnError
from scimind.data.order import ShuffledOrder, WeightedSchedule
from scimind.data.stream import MapSource, Shard, State, Stream, item_name
from scimind.errors import CheckpointError, ConfigError, InputError
from scimind.seeding import numpy_generator

ItemT = TypeVar("ItemT")
BatchT = TypeVar("BatchT")

_SUBSTITUTES = 100

_log = logging.getLogger(__name__)


class Batches(Generic[ItemT, BatchT]):
    """An endless, shuffled, bucketed stream over a map source.

    Every bucket has its own endless permutation of the examples it holds, and a weighted schedule
    chooses the bucket of each step in proportion to the number of its batches. So the batch of
    step ``k`` is a function of ``(seed, k)`` alone: no state to lose, and the global batch is the
    same on one process as on many (see ``Shard``). Within a bucket every example comes once before
    any comes twice.

    An example that cannot be read is, by ``on_error``, raised with its name, or recorded in
    ``failures`` and replaced by another one of its bucket, chosen from the seed and the position.

    Args:
        source: The examples. With more than one bucket it has ``sizes(index)``.
        collate: Makes a batch of the bucket's static shape.
        buckets: The static shapes, or a batch size where all examples have one shape.
        seed: Seed of the order and of ``transform``.
        shard: This process's part of the global batch.
        transform: Random augmentation of one example, with a generator keyed by seed and position.
        crop: ``transform`` or ``collate`` shortens examples longer than the largest bucket;
            otherwise such an example is an error, raised or recorded like any other.
        on_error: ``"raise"`` or ``"record"``.
        failures: Where ``"record"`` records.
        workers: Threads that load the examples of one batch; 0 loads in the caller's thread.
        shuffle: False goes through each bucket in the source's order.
        name: Tells the order of this stream from others with the same seed.

    Example:
        >>> collate = lambda items, bucket: (np.array(items),)
        >>> stream = Batches([1.0, 2.0, 3.0], collate, buckets=2, seed=0)
        >>> next(iter(stream))[0].shape
        (2,)
    """

    def __init__(
        self,
        source: MapSource[ItemT],
        collate: Callable[[list[ItemT], Bucket], BatchT],
        *,
        buckets: Buckets | int,
        seed: int,
        shard: Shard = Shard(),  # noqa: B008
        transform: Callable[[ItemT, np.random.Generator], ItemT] | None = None,
        crop: bool = False,
        on_error: OnError = "raise",
        failures: FailureLog | None = None,
        workers: int = 0,
        shuffle: bool = True,
        name: str = "train",
    ) -> None:
        if not len(source):
            raise InputError(
                "the source holds no examples; check the data folder", rule="data.empty"
            )
        self.buckets = Buckets([Bucket(buckets)]) if isinstance(buckets, int) else buckets
        self.failures = failures if failures is not None else FailureLog()
        self.name = name
        self._source = source
        self._collate = collate
        self._transform = transform
        self._seed = seed
        self._shard = shard
        self._on_error = on_error
        self._workers = workers
        self._pool: ThreadPoolExecutor | None = None
        self._step = 0
        members = self._assign(crop)
        self._members = {b: indices for b, indices in enumerate(members) if indices}
        if not self._members:
            raise InputError(
                f"none of the {len(source)} examples fits a bucket; the first failure was "
                f"{next(iter(self.failures.failures.values())).message}",
                rule="data.empty",
            )
        self._filled = list(self._members)
        self._orders = {
            b: ShuffledOrder(len(indices), seed, (name, b), shuffle=shuffle)
            for b, indices in self._members.items()
        }
        self._schedule = WeightedSchedule(
            [len(self._members[b]) / self._global_size(b) for b in self._filled], seed, (name,)
        )
        for b, indices in self._members.items():
            if len(indices) < self._global_size(b):
                _log.warning(
                    "%s: bucket %s holds %d examples, fewer than a global batch of %d, which "
                    "therefore repeats some",
                    name, dict(self.buckets[b].sizes), len(indices), self._global_size(b),
                )  # fmt: skip

    @property
    def records_failures(self) -> bool:
        """Whether an unreadable example is recorded instead of raised."""
        return self._on_error == "record"

    @property
    def num_examples(self) -> int:
        """Examples that some bucket holds."""
        return sum(len(indices) for indices in self._members.values())

    @property
    def steps_per_epoch(self) -> int:
        """Steps after which every example has been seen about once."""
        return max(1, round(sum(len(i) / self._global_size(b) for b, i in self._members.items())))

    def bucket_at(self, step: int) -> Bucket:
        """The static shape of one step."""
        return self.buckets[self._filled[self._schedule.source_at(step)]]

    def batch(self, step: int) -> BatchT:
        """This rank's part of the global batch of one step."""
        chosen = self._schedule.source_at(step)
        turn = int(self._schedule.counts_before(step)[chosen])
        b = self._filled[chosen]
        first = turn * self._global_size(b)
        positions = range(first, first + self._global_size(b))[
            self._shard.slice(self.buckets[b].batch_size)
        ]
        if not self._workers:
            items = [self._load(b, position) for position in positions]
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._workers, f"{self.name}-load")
            items = list(self._pool.map(lambda position: self._load(b, position), positions))
        return self._collate(items, self.buckets[b])

    def __iter__(self) -> Iterator[BatchT]:
        while True:
            batch = self.batch(self._step)
            self._step += 1
            yield batch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}

    def state(self) -> State:
        """The step, and what must be equal for the step to mean the same batches."""
        return {"step": self._step, **self._identity()}

    def restore(self, state: State) -> None:
        """Continues at a saved position.

        Raises:
            CheckpointError: The state belongs to another data set, seed or global batch size.
        """
        _check_identity(self.name, state, self._identity())
        self._step = int(state["step"])

    def _identity(self) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "examples": [len(self._members[b]) for b in self._filled],
            "global_batch": [self._global_size(b) for b in self._filled],
        }

    def _global_size(self, bucket: int) -> int:
        return self._shard.world * self.buckets[bucket].batch_size

    def _assign(self, crop: bool) -> list[list[int]]:
        if not self.buckets.axes:
            return [list(range(len(self._source)))]
        sizes_of: Callable[[int], Mapping[str, int]] | None = getattr(self._source, "sizes", None)
        if sizes_of is None:
            raise ConfigError(
                f"{type(self._source).__name__} has no method sizes(index), which buckets with the "
                f"axes {self.buckets.axes} need"
            )
        members: list[list[int]] = [[] for _ in self.buckets]
        for index in range(len(self._source)):
            name = item_name(self._source, index)
            try:
                members[self.buckets.index(sizes_of(index), name=name, crop=crop)].append(index)
            except RECORDED as error:
                if self._on_error == "raise":
                    raise
                self.failures.record(name, error)
        return members

    def _load(self, bucket: int, position: int) -> ItemT:
        members = self._members[bucket]
        index = members[self._orders[bucket][position]]
        key = (self.name, bucket, position)
        for _, replacement in zip(
            range(_SUBSTITUTES), self._substitutes(key, members), strict=False
        ):
            try:
                item = self._source[index]
                if self._transform is not None:
                    item = self._transform(item, numpy_generator(self._seed, "transform", *key))
            except Exception as error:
                name = item_name(self._source, index)
                if self._on_error == "raise" or not isinstance(error, RECORDED):
                    error.add_note(f"while loading {name} (index {index} of the source)")
                    raise
                self.failures.record(name, error)
                index = replacement
            else:
                self.failures.loaded()
                return item
        raise InputError(
            f"{_SUBSTITUTES} examples in a row could not be read, the last was "
            f"{item_name(self._source, index)}; check the data folder",
            rule="data.failure_limit",
        )

    def _substitutes(self, key: tuple[str, int, int], members: Sequence[int]) -> Iterator[int]:
        generator = numpy_generator(self._seed, "substitute", *key)
        while True:
            yield members[int(generator.integers(len(members)))]


class IterableBatches(Generic[ItemT, BatchT]):
    """An endless stream over a source that can only be read from its beginning.

    Every process reads all items and keeps its part of each global batch. ``restore`` reads and
    discards what was consumed of the current epoch, and says so.

    Args:
        open_epoch: Opens the source for the given epoch, from its first item.
        collate: Makes a batch of the bucket's static shape.
        bucket: The one static shape.
        seed: Seed of the shuffle.
        shard: This process's part of the global batch.
        shuffle_buffer: Items held to choose the next one from; 1 keeps the source's order.
        name: Tells the order of this stream from others with the same seed.
    """

    def __init__(
        self,
        open_epoch: Callable[[int], Iterable[ItemT]],
        collate: Callable[[list[ItemT], Bucket], BatchT],
        *,
        bucket: Bucket | int,
        seed: int,
        shard: Shard = Shard(),  # noqa: B008
        shuffle_buffer: int = 1,
        name: str = "train",
    ) -> None:
        if shuffle_buffer < 1:
            raise ConfigError(f"shuffle_buffer is {shuffle_buffer}; it must be at least 1")
        self.bucket = Bucket(bucket) if isinstance(bucket, int) else bucket
        self.name = name
        self._open_epoch = open_epoch
        self._collate = collate
        self._seed = seed
        self._shard = shard
        self._shuffle_buffer = shuffle_buffer
        self._epoch = 0
        self._taken = 0

    def __iter__(self) -> Iterator[BatchT]:
        size = self._shard.world * self.bucket.batch_size
        epoch, taken = self._epoch, self._taken
        items = self._shuffled(epoch)
        if taken:
            _log.info("%s: reading past %d items to the saved position", self.name, taken)
            for _ in islice(items, taken):
                pass
        while True:
            rows: list[ItemT] = []
            while len(rows) < size:
                new = list(islice(items, size - len(rows)))
                rows += new
                taken += len(new)
                if len(rows) < size:
                    if not taken:
                        raise InputError(f"{self.name}: the source is empty", rule="data.empty")
                    epoch, taken = epoch + 1, 0
                    items = self._shuffled(epoch)
            batch = self._collate(rows[self._shard.slice(self.bucket.batch_size)], self.bucket)
            self._epoch, self._taken = epoch, taken
            yield batch

    def state(self) -> State:
        """The epoch, and the number of its items consumed by all processes together."""
        return {"epoch": self._epoch, "taken": self._taken, **self._identity()}

    def restore(self, state: State) -> None:
        """Continues at a saved position; takes effect at the next ``iter()``.

        Raises:
            CheckpointError: The state belongs to another seed or shuffle buffer.
        """
        _check_identity(self.name, state, self._identity())
        self._epoch, self._taken = int(state["epoch"]), int(state["taken"])

    def _identity(self) -> dict[str, Any]:
        return {"seed": self._seed, "shuffle_buffer": self._shuffle_buffer}

    def _shuffled(self, epoch: int) -> Iterator[ItemT]:
        generator = numpy_generator(self._seed, "order", self.name, epoch)
        held: list[ItemT] = []
        for item in self._open_epoch(epoch):
            if len(held) < self._shuffle_buffer:
                held.append(item)
                continue
            slot = int(generator.integers(len(held)))
            yield held[slot]
            held[slot] = item
        for slot in (
            generator.permutation(len(held)) if self._shuffle_buffer > 1 else range(len(held))
        ):
            yield held[slot]


class Mixture(Generic[BatchT]):
    """Several streams in turn, each step from one of them, in proportion to their weights.

    Args:
        streams: The streams by name.
        weights: Their weights by name; a stream's share of the steps is its weight over the sum.
        seed: Shifts the schedule.
    """

    def __init__(
        self, streams: Mapping[str, Stream[BatchT]], weights: Mapping[str, float | int], seed: int
    ) -> None:
        if set(streams) != set(weights):
            raise ConfigError(
                f"mixture weights name {sorted(weights)}, the sources are {sorted(streams)}"
            )
        self._streams = dict(streams)
        self._names = [name for name in self._streams if weights[name] > 0]
        negative = [name for name in weights if not weights[name] >= 0]
        if negative or not self._names:
            raise ConfigError(
                f"mixture weights must be >= 0 and one of them > 0, found {dict(weights)}"
            )
        self._weights = [float(weights[name]) for name in self._names]
        self._seed = seed
        self._schedule = WeightedSchedule(self._weights, seed, ("mixture",))
        self._step = 0

    def source_at(self, step: int) -> str:
        """Name of the stream that serves one step."""
        return self._names[self._schedule.source_at(step)]

    def __iter__(self) -> Iterator[BatchT]:
        iterators = {name: iter(self._streams[name]) for name in self._names}
        while True:
            batch = next(iterators[self.source_at(self._step)])
            self._step += 1
            yield batch

    def state(self) -> State:
        """The step and the state of every stream."""
        streams = {name: self._streams[name].state() for name in self._names}
        return {"step": self._step, **self._identity(), "streams": streams}

    def restore(self, state: State) -> None:
        """Continues at a saved position; takes effect at the next ``iter()``.

        Raises:
            CheckpointError: The state belongs to another mixture, or to other data.
        """
        _check_identity("mixture", state, self._identity())
        for name in self._names:
            self._streams[name].restore(state["streams"][name])
        self._step = int(state["step"])

    def _identity(self) -> dict[str, Any]:
        return {"seed": self._seed, "names": self._names, "weights": self._weights}


def _check_identity(name: str, state: State, expected: Mapping[str, Any]) -> None:
    for key, value in expected.items():
        if state.get(key) != value:
            raise CheckpointError(
                f"the saved data position of {name!r} has {key}={state.get(key)!r}, this run has "
                f"{value!r}; a position only continues on the same data, seed and global batch "
                "(processes x batch size): restore these settings, or start a new run from the "
                "weights alone"
            )

"""One pass over a source: every example once, in static shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from scimind.data.buckets import Bucket, Buckets
from scimind.data.failures import RECORDED, FailureLog, OnError
from scimind.data.stream import MapSource, Shard, item_name

ItemT = TypeVar("ItemT")
BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class EvaluationBatch(Generic[BatchT]):
    """A batch and the examples in its rows; rows beyond ``len(indices)`` repeat the last one."""

    batch: BatchT
    indices: list[int]


def evaluation_batches(
    source: MapSource[ItemT],
    collate: Callable[[list[ItemT], Bucket], BatchT],
    *,
    buckets: Buckets | int,
    shard: Shard = Shard(),  # noqa: B008
    crop: bool = False,
    on_error: OnError = "raise",
    failures: FailureLog | None = None,
) -> Iterator[EvaluationBatch[BatchT]]:
    """Every example of a source once, smallest bucket first, in the source's order within it.

    The last batch of a bucket is filled by repeating its last example, to keep the shape static;
    only the first ``len(indices)`` rows count. Over the ranks every example comes once.

    Args:
        source: The examples; with bucket axes it has ``sizes(index)``.
        collate: Makes a batch of the bucket's static shape.
        buckets: The static shapes, or a batch size where all examples have one shape.
        shard: This process evaluates every ``world``-th example.
        crop: ``collate`` shortens examples longer than the largest bucket.
        on_error: ``"raise"`` or ``"record"``.
        failures: Where ``"record"`` records.

    Raises:
        InputError: An example is unreadable or too long, and ``on_error`` is ``"raise"``.
    """
    shapes = Buckets([Bucket(buckets)]) if isinstance(buckets, int) else buckets
    log = failures if failures is not None else FailureLog(limit=1.0)
    members: list[list[int]] = [[] for _ in shapes]
    for index in range(len(source))[shard.rank :: shard.world]:
        name = item_name(source, index)
        try:
            sizes = source.sizes(index) if shapes.axes else {}  # type: ignore[attr-defined]
            members[shapes.index(sizes, name=name, crop=crop)].append(index)
        except RECORDED as error:
            if on_error == "raise":
                raise
            log.record(name, error)
    for bucket, indices in zip(shapes, members, strict=True):
        rows: list[tuple[int, ItemT]] = []
        for index in indices:
            name = item_name(source, index)
            try:
                rows.append((index, source[index]))
            except Exception as error:
                if on_error == "raise" or not isinstance(error, RECORDED):
                    error.add_note(f"while loading {name} (index {index} of the source)")
                    raise
                log.record(name, error)
                continue
            log.loaded()
            if len(rows) == bucket.batch_size:
                yield _filled(rows, collate, bucket)
                rows = []
        if rows:
            yield _filled(rows, collate, bucket)


def _filled(
    rows: list[tuple[int, ItemT]], collate: Callable[[list[ItemT], Bucket], BatchT], bucket: Bucket
) -> EvaluationBatch[BatchT]:
    items = [item for _, item in rows]
    items += [items[-1]] * (bucket.batch_size - len(items))
    return EvaluationBatch(collate(items, bucket), [index for index, _ in rows])

"""The same batches through ``mindspore.dataset``, whose C++ runtime loads them in parallel."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from typing import Generic, SupportsIndex, TypeVar

import numpy as np

from scimind.data.batches import Batches
from scimind.data.stream import Batch, State, batch_arrays
from scimind.errors import ConfigError

ItemT = TypeVar("ItemT")
BatchT = TypeVar("BatchT", bound=Batch)


class MindSporeBatches(Generic[ItemT, BatchT]):
    """Serves a ``Batches`` stream from a ``mindspore.dataset.GeneratorDataset``.

    Since a batch is a function of its step, any number of workers gives the same batches in the
    same order. The position counts batches handed out.

    Args:
        batches: The stream; it is not advanced itself.
        workers: Parallel workers.
        processes: Python processes instead of threads. They are spawned, never forked: forking
            after OpenMP or libav has started in the parent ends in a segmentation fault. The source
            and the collate function must then be importable, and failures that a worker records
            stay in the worker's own log file.
        window: Steps per pipeline; the next window starts where the last one ended.
    """

    def __init__(
        self,
        batches: Batches[ItemT, BatchT],
        *,
        workers: int = 1,
        processes: bool = False,
        window: int = 4096,
    ) -> None:
        if processes and batches.failures.path is None and batches.records_failures:
            raise ConfigError(
                "on_error='record' with worker processes needs failures.path: a record kept in the "
                "memory of a worker would be lost"
            )
        if not 1 <= workers <= (os.cpu_count() or 1):
            raise ConfigError(
                f"{workers} data workers on {os.cpu_count()} cores; mindspore.dataset takes 1 to "
                f"{os.cpu_count()}"
            )
        self._batches = batches
        self._workers = workers
        self._processes = processes
        self._window = window

    def __iter__(self) -> Iterator[BatchT]:
        import mindspore.dataset as ds

        if self._processes:
            ds.config.set_multiprocessing_start_method("spawn")
        start = int(self.state()["step"])
        # A pipeline must know its columns before it loads, so the first batch is made twice.
        template = self._batches.batch(start)
        columns = list(template) if isinstance(template, dict) else None
        while True:
            dataset = ds.GeneratorDataset(
                source=_Window(self._batches, start, self._window),
                column_names=[f"column{c}" for c in range(len(template))],
                num_parallel_workers=self._workers,
                python_multiprocessing=self._processes,
                shuffle=False,
            )
            for arrays in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True):
                start += 1
                self._batches.restore({**self._batches.state(), "step": start})
                yield (  # type: ignore[misc]
                    tuple(arrays) if columns is None else dict(zip(columns, arrays, strict=True))
                )

    def state(self) -> State:
        """The position after the last batch handed out."""
        return self._batches.state()

    def restore(self, state: State) -> None:
        """Continues at a saved position; takes effect at the next ``iter()``."""
        self._batches.restore(state)


class _Window(Generic[ItemT, BatchT]):
    """The steps ``start .. start + length - 1`` as a random-access source of tuples."""

    def __init__(self, batches: Batches[ItemT, BatchT], start: int, length: int) -> None:
        self._batches = batches
        self._start = start
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: SupportsIndex) -> tuple[np.ndarray, ...]:
        batch = self._batches.batch(self._start + operator.index(index))
        return tuple(batch_arrays(batch))

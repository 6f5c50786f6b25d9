"""Loading ahead in a thread, within a byte budget, without losing the position."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from scimind.data.stream import Batch, State, Stream, batch_arrays

BatchT = TypeVar("BatchT", bound=Batch)

_log = logging.getLogger(__name__)


@dataclass
class WaitReport:
    """How long training waited for data.

    Attributes:
        batches: Batches handed out.
        wait_s: Seconds the consumer waited in total, the first batch included.
        last_wait_s: Seconds it waited for the last batch.
    """

    batches: int = 0
    wait_s: float = 0.0
    last_wait_s: float = 0.0


class Prefetch(Generic[BatchT]):
    """Runs a stream ahead in one thread.

    The order is unchanged. ``state()`` is the position of the batches handed out, not of those
    loaded. An exception of the stream surfaces in the consumer at the batch it belongs to, after
    the good batches before it. Threads, not processes: forking after OpenMP or libav has started
    ends in a segmentation fault, and NumPy and the C++ readers release the interpreter lock.

    Args:
        stream: The stream; while this object iterates, nobody else may use it.
        depth: Batches held at most.
        byte_budget: Bytes held at most. A batch larger than the budget passes alone.
    """

    def __init__(
        self, stream: Stream[BatchT], *, depth: int = 4, byte_budget: int = 512 << 20
    ) -> None:
        if depth < 1:
            raise ValueError(f"prefetch depth is {depth}; it must be at least 1")
        self.report = WaitReport()
        self._stream = stream
        self._depth = depth
        self._byte_budget = byte_budget
        self._state = stream.state()
        self._producer: _Producer[BatchT] | None = None

    def __iter__(self) -> Iterator[BatchT]:
        self.close()
        # The stream has run ahead of what was handed out: go back.
        self._stream.restore(self._state)
        producer = self._producer = _Producer(self._stream, self._depth, self._byte_budget)
        try:
            while True:
                start = time.perf_counter()
                loaded = producer.next()
                if loaded is None:
                    return
                self.report.last_wait_s = time.perf_counter() - start
                self.report.wait_s += self.report.last_wait_s
                self.report.batches += 1
                batch, self._state = loaded
                yield batch
        finally:
            producer.stop()

    def state(self) -> State:
        """The position after the last batch handed out."""
        return self._state

    def restore(self, state: State) -> None:
        """Continues at a saved position; takes effect at the next ``iter()``."""
        self.close()
        self._stream.restore(state)
        self._state = state

    def close(self) -> None:
        """Stops the thread; iterating again starts a new one."""
        if self._producer is not None:
            self._producer.stop()
            self._producer = None


class _Producer(Generic[BatchT]):
    """The thread and the batches it holds."""

    def __init__(self, stream: Stream[BatchT], depth: int, byte_budget: int) -> None:
        self._stream = stream
        self._depth = depth
        self._byte_budget = byte_budget
        self._held: deque[tuple[BatchT, State, int]] = deque()
        self._held_bytes = 0
        self._changed = threading.Condition()
        self._stopped = False
        self._finished = False
        self._error: BaseException | None = None
        self._announced = False
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def next(self) -> tuple[BatchT, State] | None:
        """The next batch and the position after it; None at the end of a finite stream."""
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._finished or self._stopped)
            if self._held:
                batch, state, size = self._held.popleft()
                self._held_bytes -= size
                self._changed.notify_all()
                return batch, state
            if self._error is not None:
                raise self._error
            return None

    def stop(self) -> None:
        """Ends the thread and waits for it, so that the stream has one user again."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        try:
            for batch in self._stream:
                size = sum(getattr(part, "nbytes", 0) for part in batch_arrays(batch))
                if not self._offer(batch, self._stream.state(), size):
                    return
        except BaseException as error:
            self._error = error
        finally:
            with self._changed:
                self._finished = True
                self._changed.notify_all()

    def _offer(self, batch: BatchT, state: State, size: int) -> bool:
        if size > self._byte_budget and not self._announced:
            self._announced = True
            _log.warning(
                "a batch of %d bytes exceeds the prefetch budget of %d: such batches pass one at a "
                "time", size, self._byte_budget,
            )  # fmt: skip
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._has_room(size))
            if self._stopped:
                return False
            self._held.append((batch, state, size))
            self._held_bytes += size
            self._changed.notify_all()
        return True

    def _has_room(self, size: int) -> bool:
        if not self._held:
            return True
        return len(self._held) < self._depth and self._held_bytes + size <= self._byte_budget

"""Which example comes when: pure functions of the seed and the position.

Nothing here keeps a random state, so resuming needs no more than a step number, and the order is
the same on any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scimind.seeding import numpy_generator
from scimind.typing import Int

# 2^64 divided by the golden ratio, made odd: the multiplier of the Weyl sequence with the lowest
# discrepancy (Knuth, The Art of Computer Programming, volume 3, section 6.4).
_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_CHUNK = 1 << 16


class ShuffledOrder:
    """An endless sequence of indices: one fresh permutation of ``length`` examples per epoch.

    Args:
        length: Number of examples.
        seed: Seed of the run.
        path: Further keys that tell this order from the others of the run.
        shuffle: False gives ``0..length-1`` in every epoch.
    """

    def __init__(
        self, length: int, seed: int, path: Sequence[int | str] = (), *, shuffle: bool = True
    ) -> None:
        if length < 1:
            raise ValueError(f"an order needs at least one example, not {length}")
        self.length = length
        self._seed = seed
        self._path = tuple(path)
        self._shuffle = shuffle
        # Two epochs: a batch may straddle them.
        self._permutations: dict[int, Int[np.ndarray, " length"]] = {}

    def __getitem__(self, position: int) -> int:
        epoch, offset = divmod(position, self.length)
        return int(self._permutation(epoch)[offset]) if self._shuffle else offset

    def take(self, start: int, count: int) -> list[int]:
        """The indices at positions ``start .. start + count - 1``."""
        return [self[position] for position in range(start, start + count)]

    def _permutation(self, epoch: int) -> Int[np.ndarray, " length"]:
        permutations = self._permutations
        if epoch not in permutations:
            generator = numpy_generator(self._seed, "order", *self._path, epoch)
            # Replaced, not changed: loading threads read it without a lock.
            kept = {e: permutations[e] for e in (epoch - 1, epoch + 1) if e in permutations}
            permutations = {**kept, epoch: generator.permutation(self.length)}
            self._permutations = permutations
        return permutations[epoch]


class WeightedSchedule:
    """Which of several sources serves a step, in proportion to their weights.

    The choice is made by a golden-ratio Weyl sequence, not by drawing: after ``n`` steps the count
    of each source differs from ``n * weight`` by O(log n), for every prefix and every seed.

    Args:
        weights: Positive weights; they need not sum to one.
        seed: Shifts the sequence.
        path: Further keys that tell this schedule from the others of the run.
    """

    def __init__(self, weights: npt.ArrayLike, seed: int, path: Sequence[int | str] = ()) -> None:
        values = np.asarray(weights, dtype=np.float64)
        if values.ndim != 1 or not values.size or not np.all(np.isfinite(values) & (values > 0)):
            raise ValueError(f"weights must be positive and finite, not {weights!r}")
        self.probabilities = values / values.sum()
        # Upper ends of the sources' intervals on the 64-bit circle; the last one is open.
        edges = np.cumsum(self.probabilities)[:-1] * 2.0**64
        self._edges = np.minimum(edges, np.nextafter(2.0**64, 0.0)).astype(np.uint64)
        generator = numpy_generator(seed, "schedule", *path)
        self._offset = int(generator.integers(0, 1 << 63))
        self._counted = (0, np.zeros(len(values), dtype=np.int64))

    def source_at(self, step: int) -> int:
        """The source of one step."""
        point = np.uint64((self._offset + step * _GOLDEN) & _MASK)
        return int(np.searchsorted(self._edges, point, side="right"))

    def counts_before(self, step: int) -> Int[np.ndarray, " source"]:
        """How often each source is chosen in steps ``0 .. step - 1``."""
        start, counts = self._counted
        if step < start:
            start, counts = 0, np.zeros_like(counts)
        counts = counts.copy()
        for begin in range(start, step, _CHUNK):
            steps = np.arange(begin, min(begin + _CHUNK, step), dtype=np.uint64)
            # Unsigned products wrap, which is the arithmetic of the sequence.
            points = steps * np.uint64(_GOLDEN) + np.uint64(self._offset)
            sources = np.searchsorted(self._edges, points, side="right")
            counts += np.bincount(sources, minlength=len(counts))
        self._counted = (step, counts)
        return counts.copy()

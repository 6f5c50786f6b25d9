"""Batches of windows for the predictor and of pool entries for the corrector."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from dae_solver.data.pool import Pool
from dae_solver.data.starts import Starts
from dae_solver.model.operator import TrajectoryOperator
from scimind.data import Shard
from scimind.data.stream import State
from scimind.errors import CheckpointError
from scimind.seeding import numpy_generator
from scimind.typing import Float

Batch = tuple[np.ndarray, ...]


class WindowStream:
    """An endless stream; the batch of a step depends on seed, step and pool alone.

    Args:
        operator: Scalings.
        features: Scaled features of all windows.
        target: Coefficients of all windows.
        pool: The first pool, made at step 0.
        batch: Examples of the global batch, of each kind.
        seed: Of the order.
        remade: Makes the pool of an earlier step again.
        shard: This process's part.
        starts: Windows of which nothing but the start is known, in a batch of their own.
        starts_batch: Of how many.
    """

    def __init__(
        self,
        operator: TrajectoryOperator,
        features: Float[np.ndarray, "feature window"],
        target: Float[np.ndarray, "mode window"],
        pool: Pool,
        *,
        batch: int,
        seed: int,
        remade: Callable[[int], Pool],
        shard: Shard = Shard(),  # noqa: B008
        starts: Starts | None = None,
        starts_batch: int = 0,
    ) -> None:
        self.operator, self.batch, self.seed, self.remade = operator, batch, seed, remade
        self.features = np.ascontiguousarray(features.T)
        scaled = target / operator.modes.spread[:, None]
        self.target = np.ascontiguousarray(scaled.T, np.float32)
        self.shard, self.starts, self.starts_batch = shard, starts, starts_batch
        if starts is not None:
            scaled = operator.scaling.features(starts.features.T).T
            self.start_features = np.ascontiguousarray(scaled, np.float32)
        self.step = 0
        self._permutations: dict[str, tuple[tuple[int, int], np.ndarray]] = {}
        self.use(pool, 0)

    def use(self, pool: Pool, step: int) -> None:
        """Take another pool from here on, made at ``step``."""
        operator = self.operator
        unit, size = operator.scaling.unit(pool.residual)
        change = pool.change / (operator.scaling.change[:, None] * size)
        arrays = (pool.iterate / operator.modes.spread[:, None], unit, np.log(size), change)
        self.pool = tuple(np.ascontiguousarray(array.T, np.float32) for array in arrays)
        self.windows, self.made = pool.windows, step

    def _order(self, name: str, number: int, batch: int) -> np.ndarray:
        """Indices of this step: a permutation is used up before the next begins."""
        place = self.step * batch + np.arange(batch)
        found = np.empty(batch, int)
        for epoch in np.unique(place // number).tolist():
            here = place // number == epoch
            found[here] = self._permutation(name, epoch, number)[place[here] % number]
        part = self.shard.slice(batch // self.shard.world)
        return found[part]

    def _permutation(self, name: str, epoch: int, number: int) -> np.ndarray:
        key = (epoch, self.made if name == "pool" else 0)
        known = self._permutations.get(name)
        if known is None or known[0] != key:
            rng = numpy_generator(self.seed, "order", name, *key)
            known = self._permutations[name] = (key, rng.permutation(number))
        return known[1]

    def __iter__(self) -> Iterator[Batch]:
        while True:
            window = self._order("windows", len(self.target), self.batch)
            entry = self._order("pool", len(self.windows), self.batch)
            more = self._starts()
            self.step += 1
            yield (
                self.features[window],
                self.target[window],
                self.features[self.windows[entry]],
                *(array[entry] for array in self.pool),
                *more,
            )

    def _starts(self) -> Batch:
        starts = self.starts
        if starts is None:
            return ()
        chosen = self._order("starts", len(starts), self.starts_batch)
        network = starts.admittances[starts.network[chosen]]
        parts = (self.start_features, starts.x, starts.y, starts.parameters)
        return (*(part[chosen] for part in parts), network)

    def state(self) -> State:
        """Position, and the step at which the pool was made."""
        return {"step": self.step, "made": self.made}

    def restore(self, state: State) -> None:
        """Go on from a position.

        Raises:
            CheckpointError: The state is of another stream.
        """
        if set(state) != {"step", "made"}:
            raise CheckpointError(f"{state} is not the state of a stream of windows")
        self.step = int(state["step"])
        if state["made"] != self.made:
            self.use(self.remade(int(state["made"])), int(state["made"]))

"""Critical clearing times by bisection of many faults at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.case import BusId
from dae_solver.physics.disturbances import Line, fault
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    import pandas

    from dae_solver.physics.grid import PowerSystem

# Clearing times of each fault that are tried in one batch.
SECTIONS = 7


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault whose clearing time is sought.

    Attributes:
        bus: Where.
        trip: Lines that open when it is cleared.
        r: Fault resistance, pu.
        x: Fault reactance, pu.
    """

    bus: BusId
    trip: Line | Sequence[Line] | None = None
    r: float = 0.0
    x: float = 1e-4

    def __str__(self) -> str:
        return f"bus {self.bus}" + (f", trips {self.trip}" if self.trip is not None else "")


@dataclass(frozen=True, kw_only=True)
class ClearingTimes:
    """Critical clearing times, seconds.

    Attributes:
        faults: What was cleared.
        stable: Longest time that was seen to be stable; 0 where none was.
        unstable: Shortest time that was seen to be unstable; infinity where none was.
        monotonic: False where a longer time than an unstable one was stable.
        simulations: Simulations that it took in all.
    """

    faults: list[Fault]
    stable: Float[np.ndarray, " fault"]
    unstable: Float[np.ndarray, " fault"]
    monotonic: np.ndarray
    simulations: int

    @property
    def cct(self) -> Float[np.ndarray, " fault"]:
        """The middle between both; infinity where every time was stable."""
        return np.where(np.isinf(self.unstable), np.inf, 0.5 * (self.stable + self.unstable))

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each fault."""
        import pandas

        return pandas.DataFrame(
            {
                "bus": [each.bus for each in self.faults],
                "trip": [each.trip for each in self.faults],
                "cct_s": self.cct,
                "stable_s": self.stable,
                "unstable_s": self.unstable,
                "monotonic": self.monotonic,
            }
        )


def critical_times(
    grid: PowerSystem,
    faults: Sequence[Fault],
    *,
    shortest: float = 0.01,
    longest: float = 1.0,
    tolerance: float = 1e-3,
    t_end: float = 5.0,
    load_level: float = 1.0,
    **options: Any,
) -> ClearingTimes:
    """Search the clearing time between a stable and an unstable one, all faults in one batch.

    A scenario is stable where no two rotor angles are more than 180 degrees apart until ``t_end``
    seconds after the fault. Each round tries several times of every fault.

    Args:
        grid: The system.
        faults: Of which to find the time.
        shortest: First time that is tried, seconds.
        longest: Last time that is tried.
        tolerance: Distance at which the search ends.
        t_end: How long a scenario is watched.
        load_level: Operating point.
        **options: See :meth:`dae_solver.physics.grid.PowerSystem.simulate`.

    Raises:
        InputError: The times are not ``0 < shortest < longest``.
    """
    if not 0 < shortest < longest:
        raise InputError(
            f"clearing times from {shortest:g} to {longest:g} s; give 0 < shortest < longest",
            rule="power.clearing",
        )
    number = len(faults)
    low, high = np.zeros(number), np.full(number, np.inf)
    monotonic = np.ones(number, bool)
    count = 0
    times = np.tile(np.geomspace(shortest, longest, SECTIONS), (number, 1))
    while True:
        open_ = np.flatnonzero(np.isfinite(times).all(1))
        if not len(open_):
            break
        batch = [
            fault(each.bus, t=0.0, clear=float(clear), trip=each.trip, r=each.r, x=each.x)
            for k in open_
            for each, clear in ((faults[k], clear) for clear in times[k])
        ]
        runs = grid.simulate(
            grid.scenarios(*batch, load_level=load_level),
            t_end=t_end,
            every=1 / 30,
            **options,
        )
        count += len(batch)
        stable = runs.stable.reshape(len(open_), SECTIONS)
        for row, k in zip(stable, open_, strict=True):
            first = int(np.argmin(row)) if not row.all() else SECTIONS
            monotonic[k] &= not row[first:].any()
            if first > 0:
                low[k] = times[k, first - 1]
            if first < SECTIONS:
                high[k] = times[k, first]
        found = (high - low <= tolerance) | np.isinf(high) | (low == 0)
        inner = np.arange(1, SECTIONS + 1) / (SECTIONS + 1)
        with np.errstate(invalid="ignore"):
            times = low[:, None] + (high - low)[:, None] * inner
        times[found] = np.nan
    return ClearingTimes(
        faults=list(faults), stable=low, unstable=high, monotonic=monotonic, simulations=count
    )

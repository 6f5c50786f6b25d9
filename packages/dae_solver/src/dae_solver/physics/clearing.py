"""Critical clearing times by bisection of many faults at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dae_solver.physics.case import BusId
from dae_solver.physics.disturbances import Disturbance, Line, fault
from dae_solver.physics.looks import check_solver
from dae_solver.physics.scenarios import levels
from dae_solver.physics.separation import gone
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    import pandas

    from dae_solver.model.operator import TrajectoryOperator
    from dae_solver.physics.grid import PowerSystem

# Clearing times of each fault that are tried at first.
SECTIONS = 7
# A batch of so many scenarios costs little more than a smaller one: few faults are tried with more
# times at once, which takes fewer rounds; many are bisected, which takes fewer simulations.
FULL = 64
COARSE_TOLERANCE = 1e-6
# The fine engine first tries so much of the tolerance to either side of what a coarse one found.
HALF = 0.49


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
        simulations: Simulations by the fine engine.
        coarse: Simulations by the solver that looked first.
    """

    faults: list[Fault]
    stable: Float[np.ndarray, " fault"]
    unstable: Float[np.ndarray, " fault"]
    monotonic: np.ndarray
    simulations: int
    coarse: int = 0

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


@dataclass
class Search:
    """Brackets of all faults, and the simulations that narrow them.

    Attributes:
        faults: Of which the times are sought.
        keeps: ``keeps(disturbances, numbers of their faults)``: which keep synchronism.
        low: Longest stable time of each.
        high: Shortest unstable time of each.
        monotonic: As in :class:`ClearingTimes`.
        simulations: So far.
    """

    faults: list[Fault]
    keeps: Callable[[list[Disturbance], np.ndarray], np.ndarray]
    low: np.ndarray = field(init=False)
    high: np.ndarray = field(init=False)
    monotonic: np.ndarray = field(init=False)
    simulations: int = 0

    def __post_init__(self) -> None:
        number = len(self.faults)
        self.low, self.high = np.zeros(number), np.full(number, np.inf)
        self.monotonic = np.ones(number, bool)

    def try_(self, which: np.ndarray, times: Float[np.ndarray, "fault section"]) -> None:
        """Simulate some faults with increasing clearing times and move their brackets."""
        if not len(which):
            return
        batch = [
            fault(each.bus, t=0.0, clear=float(clear), trip=each.trip, r=each.r, x=each.x)
            for k, row in zip(which.tolist(), times, strict=True)
            for each, clear in ((self.faults[k], clear) for clear in row)
        ]
        self.simulations += len(batch)
        stable = self.keeps(batch, np.repeat(which, times.shape[1])).reshape(times.shape)
        for row, tried, k in zip(stable, times, which.tolist(), strict=True):
            first = len(row) if row.all() else int(np.argmin(row))
            self.monotonic[k] &= not row[first:].any()
            if first > 0:
                self.low[k] = tried[first - 1]
            if first < len(row):
                self.high[k] = tried[first]

    def narrow(self, tolerance: float) -> None:
        """Divide brackets until they are narrow; those without an end stay as they are."""
        while True:
            width = self.high - self.low
            open_ = np.flatnonzero((width > tolerance * (1 + 1e-9)) & np.isfinite(width))
            open_ = open_[self.low[open_] > 0]
            if not len(open_):
                return
            sections = int(np.clip(FULL // len(open_), 1, SECTIONS))
            inner = np.arange(1, sections + 1) / (sections + 1)
            self.try_(open_, self.low[open_, None] + width[open_, None] * inner)


def critical_times(
    grid: PowerSystem,
    faults: Sequence[Fault],
    *,
    shortest: float = 0.01,
    longest: float = 1.0,
    tolerance: float = 1e-3,
    t_end: float = 5.0,
    load_level: Any = 1.0,
    step: float = 1 / 120,
    coarse: float | None = 1 / 15,
    solver: Literal["classical", "hybrid"] = "classical",
    operator: TrajectoryOperator | str | Path | None = None,
    certify: float = 3.0,
    **options: Any,
) -> ClearingTimes:
    """Search the clearing time between a stable and an unstable one, all faults in one batch.

    A scenario is stable where no two rotor angles are more than 180 degrees apart until ``t_end``
    seconds after the fault. Each round tries several times of every fault. What a coarse solver
    finds is only where the fine engine begins: both ends of what is returned are of the fine one.

    Args:
        grid: The system.
        faults: Of which to find the time.
        shortest: First time that is tried, seconds.
        longest: Last time that is tried.
        tolerance: Distance at which the search ends.
        t_end: How long a scenario is watched.
        load_level: Operating point, or one for each fault.
        step: Of the fine engine, seconds.
        coarse: Step of the engine that looks first; None leaves all to the fine one.
        solver: ``hybrid`` looks first with a learned operator instead.
        operator: See :meth:`dae_solver.physics.grid.PowerSystem.simulate`.
        certify: Likewise.
        **options: Likewise, of the fine engine.

    Raises:
        InputError: There is no fault, the solver is unknown, or the times are not
            ``0 < shortest < longest``.
    """
    check_solver(solver, operator=operator)
    if not len(faults):
        raise InputError("there is no fault; give at least one bus", rule="power.clearing")
    if not 0 < shortest < longest:
        raise InputError(
            f"clearing times from {shortest:g} to {longest:g} s; give 0 < shortest < longest",
            rule="power.clearing",
        )

    level = levels(load_level, len(faults))

    def simulated(batch: list[Disturbance], of: np.ndarray, **how: Any) -> np.ndarray:
        scenarios = grid.scenarios(*batch, load_level=level[of])
        return grid.simulate(scenarios, t_end=t_end, **how).stable

    def fine(batch: list[Disturbance], of: np.ndarray) -> np.ndarray:
        how: dict[str, Any] = {
            "every": max(step, 1 / 30),
            "step": step,
            "until": gone(grid.dae),
            **options,
        }
        return simulated(batch, of, **how)

    def rough(batch: list[Disturbance], of: np.ndarray) -> np.ndarray:
        if solver == "hybrid":
            return simulated(
                batch,
                of,
                every=1 / 30,
                solver=solver,
                operator=operator,
                certify=certify,
                audit=0.0,
            )
        assert coarse is not None
        return simulated(
            batch, of, every=coarse, step=coarse, tolerance=COARSE_TOLERANCE, until=gone(grid.dae)
        )

    found = Search(list(faults), fine)
    every = np.arange(len(faults))
    first = np.tile(np.geomspace(shortest, longest, SECTIONS), (len(faults), 1))
    coarsely = 0
    if coarse is None and solver == "classical":
        found.try_(every, first)
        found.narrow(tolerance)
    else:
        looked = Search(list(faults), rough)
        looked.try_(every, first)
        looked.narrow(0.5 * tolerance)
        coarsely = looked.simulations
        _confirm(found, looked, tolerance, shortest, longest)
    return ClearingTimes(
        faults=list(faults),
        stable=found.low,
        unstable=found.high,
        monotonic=found.monotonic,
        simulations=found.simulations,
        coarse=coarsely,
    )


def _confirm(
    found: Search, looked: Search, tolerance: float, shortest: float, longest: float
) -> None:
    """Find the brackets of the fine engine beginning at those of the coarse one."""
    middle = np.where(np.isinf(looked.high), longest, 0.5 * (looked.low + looked.high))
    apart = HALF * tolerance
    low = np.clip(middle - apart, shortest, None)
    high = np.clip(middle + apart, None, longest)
    found.monotonic &= looked.monotonic
    open_ = np.arange(len(middle))
    tried = np.stack([low, high], axis=1)
    while len(open_):
        found.try_(open_, tried)
        apart *= 4.0
        below, above = found.low[open_] == 0.0, np.isinf(found.high[open_])
        # One that is stable everywhere, or nowhere, has no bracket.
        below &= low[open_] > shortest
        above &= high[open_] < longest
        low[open_[below]] = np.maximum(low[open_[below]] - apart, shortest)
        high[open_[above]] = np.minimum(high[open_[above]] + apart, longest)
        tried = np.where(below, low[open_], high[open_])[:, None]
        kept = below | above
        open_, tried = open_[kept], tried[kept]
    found.narrow(tolerance)

"""Lists of what may go wrong in a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from dae_solver.physics.disturbances import (
    Disturbance,
    fault,
    generator_trip,
    line_trip,
    load_step,
)
from scimind.errors import InputError

if TYPE_CHECKING:
    from dae_solver.physics.grid import PowerSystem

Contingency = list[Disturbance]


def line_trips(grid: PowerSystem, *, t: float = 0.1) -> list[Contingency]:
    """Every branch in service opens, one at a time."""
    return [[line_trip(branch, t=t)] for branch in _branches(grid)]


def cleared_faults(
    grid: PowerSystem, *, clear: float | tuple[float, ...] = 0.1, t: float = 0.1
) -> list[Contingency]:
    """A short circuit at both ends of every branch in service, cleared by opening it.

    Args:
        grid: The system.
        clear: How long they last, seconds; or several such times, each of which is tried.
        t: When they begin, seconds.
    """
    times = clear if isinstance(clear, tuple) else (clear,)
    ends = {branch.id: (branch.from_bus, branch.to_bus) for branch in grid.case.branches}
    return [
        [fault(bus, t=t, clear=lasts, trip=branch)]
        for branch in _branches(grid)
        for bus in ends[branch]
        for lasts in times
    ]


def generator_trips(grid: PowerSystem, *, t: float = 0.1) -> list[Contingency]:
    """Every machine and every converter is disconnected, one at a time."""
    units = (*grid.dae.machine_ids, *grid.dae.converters.ids)
    return [[generator_trip(unit, t=t)] for unit in units]


def load_steps(
    grid: PowerSystem, *, factors: tuple[float, ...] = (0.5, 1.5), t: float = 0.1
) -> list[Contingency]:
    """The load of every bus changes by each factor."""
    buses = dict.fromkeys(load.bus for load in grid.case.loads)
    return [[load_step(bus, t=t, p=factor)] for bus in buses for factor in factors]


def double_trips(grid: PowerSystem, *, after: float = 1.0, t: float = 0.1) -> list[Contingency]:
    """Every pair of branches opens, one ``after`` seconds behind the other (N-1-1)."""
    return [
        [line_trip(one, t=t), line_trip(other, t=t + after)]
        for one, other in combinations(_branches(grid), 2)
    ]


KINDS: dict[str, Callable[..., list[Contingency]]] = {
    "line": line_trips,
    "fault": cleared_faults,
    "generator": generator_trips,
    "load": load_steps,
    "double": double_trips,
}


def of_kinds(
    grid: PowerSystem, kinds: Sequence[str], *, clear: float | tuple[float, ...] = 0.1
) -> list[Contingency]:
    """The lists of some kinds, one behind the other.

    Args:
        grid: The system.
        kinds: Of :data:`KINDS`.
        clear: How long faults last, seconds.

    Raises:
        InputError: There is no such kind.
    """
    found: list[Contingency] = []
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(
                f"there are no contingencies of kind {kind!r}; kinds are: {', '.join(KINDS)}",
                rule="power.contingency",
            )
        options = {"clear": clear} if kind == "fault" else {}
        found += KINDS[kind](grid, **options)
    return found


def _branches(grid: PowerSystem) -> list[str]:
    return [branch.id for branch in grid.case.branches if branch.in_service]

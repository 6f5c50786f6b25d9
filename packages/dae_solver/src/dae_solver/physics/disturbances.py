"""What may happen to a grid; each disturbance becomes one or more events at known times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from dae_solver.physics.case import BusId
from dae_solver.physics.network import Topology
from dae_solver.solver.events import Change, TimeEvent
from scimind.errors import InputError

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE

Line = str | tuple[BusId, BusId]

# Beyond these no study means what it says: a longer fault is one in milliseconds, a larger factor
# of a load or of a governor's set-point is a power, a larger step of a voltage is in percent.
LONGEST_FAULT, LARGEST_LOAD, LARGEST_POWER, LARGEST_VOLTAGE = 10.0, 20.0, 10.0, 0.5


@dataclass(frozen=True)
class Action:
    """One change of a grid at a time.

    Attributes:
        time: When, seconds.
        name: For plots and reports.
        topology: What becomes of the network.
        changes: Of parameters.
    """

    time: float
    name: str
    topology: Callable[[Topology], Topology] | None = None
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Disturbance:
    """A named list of actions that need the grid to be worked out.

    Attributes:
        kind: ``fault``, ``line_trip``, and so on.
        actions: From the grid to its actions.
        text: For people.
    """

    kind: str
    actions: Callable[[PowerDAE], list[Action]]
    text: str


def fault(
    bus: BusId,
    *,
    t: float,
    clear: float,
    trip: Line | Sequence[Line] | None = None,
    r: float = 0.0,
    x: float = 1e-4,
) -> Disturbance:
    """A three-phase short circuit at a bus, cleared alone or by tripping lines.

    Args:
        bus: Where.
        t: When, seconds.
        clear: How long it lasts, seconds; 10 at most.
        trip: Lines that are opened when it is cleared: one by its id or its two buses, or a list.
        r: Fault resistance, pu.
        x: Fault reactance, pu.

    Raises:
        InputError: It lasts no time or too long, or has no impedance or a negative one.
    """
    if not 0 < clear <= LONGEST_FAULT:
        raise InputError(
            f"the fault at bus {bus} is cleared after {clear:g} s; clear is its duration in "
            f"seconds, above 0 and at most {LONGEST_FAULT:g}: neither milliseconds (100 ms are "
            "0.1) nor the instant of clearing",
            rule="power.clearing",
        )
    if not (0 <= r < np.inf and 0 <= x < np.inf):
        raise InputError(
            f"the fault at bus {bus} has the impedance r={r:g}, x={x:g} pu; neither part may be "
            "negative or infinite",
            rule="power.fault",
        )
    if r == 0 and x == 0:
        raise InputError(
            f"the fault at bus {bus} has no impedance; give a small one such as x=1e-4 pu",
            rule="power.fault",
        )
    lines = _lines(trip)

    def actions(grid: PowerDAE) -> list[Action]:
        place = grid.network.find(bus, "the fault")
        out = [grid.network.branch(line) for line in lines]
        admittance = 1.0 / complex(r, x)
        return [
            Action(t, f"fault at {bus}", lambda now: now.adding(place, admittance)),
            Action(
                t + clear,
                f"cleared{' by ' + ', '.join(map(str, lines)) if lines else ''}",
                lambda now: now.removing(place).without(out),
            ),
        ]

    text = f"fault at bus {bus}, {t:g} s, {1e3 * clear:g} ms"
    return Disturbance("fault_trip" if lines else "fault", actions, text + _tripping(lines))


def line_trip(line: Line, *, t: float) -> Disturbance:
    """A line is opened."""

    def actions(grid: PowerDAE) -> list[Action]:
        out = grid.network.branch(line)
        return [Action(t, f"{line} opens", lambda now: now.without([out]))]

    return Disturbance("line_trip", actions, f"line {line} opens, {t:g} s")


def trip_reclose(line: Line, *, t: float, after: float) -> Disturbance:
    """A line is opened and closed again ``after`` seconds.

    Raises:
        InputError: The time is not positive.
    """
    _positive(f"line {line} is reclosed after", after)

    def actions(grid: PowerDAE) -> list[Action]:
        place = grid.network.branch(line)
        return [
            Action(t, f"{line} opens", lambda now: now.without([place])),
            Action(t + after, f"{line} closes", lambda now: now.closing([place])),
        ]

    return Disturbance("trip_reclose", actions, f"line {line} opens, {t:g} s, for {after:g} s")


def unsuccessful_reclose(
    bus: BusId, *, t: float, clear: float, trip: Line, after: float, x: float = 1e-4
) -> Disturbance:
    """A fault cleared by tripping a line, which closes onto the fault again and trips for good.

    Args:
        bus: See :func:`fault`.
        t: Likewise, seconds.
        clear: How long both faults last, seconds.
        trip: The line.
        after: From its opening to its closing, seconds.
        x: Fault reactance, pu.

    Raises:
        InputError: See :func:`fault`, and where ``after`` is not positive.
    """
    _positive(f"line {trip} is reclosed after", after)
    first = fault(bus, t=t, clear=clear, trip=trip, x=x)

    def actions(grid: PowerDAE) -> list[Action]:
        place, line = grid.network.find(bus, "the fault"), grid.network.branch(trip)
        again = t + clear + after
        return [
            *first.actions(grid),
            Action(
                again,
                f"{trip} closes onto the fault",
                lambda now: now.closing([line]).adding(place, 1.0 / complex(0.0, x)),
            ),
            Action(again + clear, f"{trip} opens", lambda now: now.removing(place).without([line])),
        ]

    return Disturbance("unsuccessful_reclose", actions, f"{first.text}, reclosed after {after:g} s")


def load_step(bus: BusId, *, t: float, p: float) -> Disturbance:
    """The loads at a bus take ``p`` times their power from ``t`` on.

    Raises:
        InputError: The factor is not from 0 to 20.
    """
    _factor(f"the load at bus {bus}", "p", p, LARGEST_LOAD, "power.load")
    return _load(bus, [(t, p)], "load_step")


def load_pulse(bus: BusId, *, t: float, p: float, last: float = 1.0) -> Disturbance:
    """The loads at a bus take ``p`` times their power for ``last`` seconds.

    Raises:
        InputError: The factor is 0, from which there is no way back, or beyond 20; or the time is
            not positive.
    """
    if p == 0:
        raise InputError(
            f"the pulse of the load at bus {bus} has p=0, from which no factor leads back; give a "
            "small one",
            rule="power.load",
        )
    _factor(f"the load at bus {bus}", "p", p, LARGEST_LOAD, "power.load")
    _positive(f"the pulse of the load at bus {bus} lasts", last)
    return _load(bus, [(t, p), (t + last, 1.0 / p)], "load_pulse")


def _load(bus: BusId, steps: list[tuple[float, float]], kind: str) -> Disturbance:
    def actions(grid: PowerDAE) -> list[Action]:
        place, position = grid.network.find(bus, "the load step"), grid.network.position
        rows = [k for k, load in enumerate(grid.case.loads) if position[load.bus] == place]
        if not rows:
            buses = ", ".join(str(load.bus) for load in grid.case.loads[:10])
            raise InputError(
                f"there is no load at bus {bus}; loads are at: {buses}", rule="power.load"
            )
        return [
            Action(
                time,
                f"load at {bus} x {factor:g}",
                changes=tuple(
                    Change(name=name, value=factor, row=rows, how="scale") for name in ("p0", "q0")
                ),
            )
            for time, factor in steps
        ]

    return Disturbance(kind, actions, f"load at bus {bus} x {steps[0][1]:g}, {steps[0][0]:g} s")


def vref_step(machine: str, *, t: float, by: float) -> Disturbance:
    """The voltage set-point of a machine's exciter moves by ``by`` pu.

    Raises:
        InputError: That is more than 0.5 pu.
    """
    if not abs(by) <= LARGEST_VOLTAGE:
        raise InputError(
            f"the voltage set-point of {machine} moves by {by:g} pu; by is per unit, from "
            f"{-LARGEST_VOLTAGE:g} to {LARGEST_VOLTAGE:g}: neither percent (5 % are 0.05) nor "
            "kilovolts",
            rule="power.voltage",
        )
    return _set_point(machine, t, Change(name="vref", value=by, how="add"), f"vref {by:+g} pu")


def pref_step(machine: str, *, t: float, factor: float) -> Disturbance:
    """The power set-point of a machine's governor is multiplied by ``factor``.

    Raises:
        InputError: The factor is not from 0 to 10.
    """
    what = f"the power set-point of {machine}"
    _factor(what, "factor", factor, LARGEST_POWER, "power.device")
    return _set_point(
        machine, t, Change(name="pref", value=factor, how="scale"), f"pref x {factor:g}"
    )


def _set_point(machine: str, t: float, change: Change, text: str) -> Disturbance:
    def actions(grid: PowerDAE) -> list[Action]:
        row = machine_row(grid, machine)
        if change.name == "vref" and not any(row in group.of for group in grid.exciters):
            raise InputError(
                f"machine {machine} has no exciter, so its voltage set-point has no effect",
                rule="power.device",
            )
        placed = Change(name=change.name, value=change.value, row=row, how=change.how)
        return [Action(t, f"{machine} {text}", changes=(placed,))]

    return Disturbance(f"{change.name}_step", actions, f"{machine} {text}, {t:g} s")


def generator_trip(machine: str, *, t: float) -> Disturbance:
    """A machine or a converter is disconnected."""

    def actions(grid: PowerDAE) -> list[Action]:
        if machine in grid.converters.ids:
            name, row = "connected", grid.converters.ids.index(machine)
        else:
            name, row = "online", machine_row(grid, machine)
        return [Action(t, f"{machine} trips", changes=(Change(name=name, value=0.0, row=row),))]

    return Disturbance("generator_trip", actions, f"{machine} trips, {t:g} s")


def machine_row(grid: PowerDAE, machine: str) -> int:
    """Position of a machine.

    Raises:
        InputError: There is none of that name.
    """
    if machine in grid.converters.ids:
        raise InputError(
            f"{machine} is a converter, which has no set-points that step; "
            f"machines are: {', '.join(grid.machine_ids[:10])}",
            rule="power.machine",
        )
    if machine not in grid.machine_ids:
        raise InputError(
            f"there is no machine {machine!r}; machines are: {', '.join(grid.machine_ids[:10])}",
            rule="power.machine",
        )
    return grid.machine_ids.index(machine)


def events_of(grid: PowerDAE, disturbances: Sequence[Disturbance]) -> list[TimeEvent]:
    """The events of one scenario; topologies follow one another in the order of time.

    Raises:
        InputError: A time is not a number, or a network falls apart.
    """
    actions = sorted(
        (action for each in disturbances for action in each.actions(grid)),
        key=lambda action: action.time,
    )
    now, events = grid.network.built, []
    for action in actions:
        if not np.isfinite(action.time) or action.time < 0:
            raise InputError(
                f"{action.name!r} is to happen at {action.time} s; give a time from 0 on",
                rule="power.time",
            )
        changes: list[Any] = list(action.changes)
        if action.topology is not None:
            now = action.topology(now)
            changes.append(Change(name="network", value=grid.topology(now)))
        events.append(TimeEvent(time=float(action.time), changes=changes, name=action.name))
    return events


def _factor(what: str, name: str, value: float, high: float, rule: str) -> None:
    if not 0 <= value <= high:
        raise InputError(
            f"{what} is multiplied by {name}={value:g}; {name} is a factor from 0 to {high:g} "
            "(1.25 is a quarter more), not a power",
            rule=rule,
        )


def _positive(what: str, seconds: float) -> None:
    if not 0 < seconds < np.inf:
        raise InputError(
            f"{what} {seconds:g} s; give a positive number of seconds", rule="power.time"
        )


def _lines(trip: Line | Sequence[Line] | None) -> list[Line]:
    """One line or several; a pair of buses is one."""
    if trip is None:
        return []
    if isinstance(trip, str) or (isinstance(trip, tuple) and not isinstance(trip[0], tuple)):
        return [cast("Line", trip)]
    return [cast("Line", line) for line in trip]


def _tripping(lines: list[Line]) -> str:
    return f", trips {', '.join(map(str, lines))}" if lines else ""

"""When what happens in each scenario of a batch: as arrays, so that it happens to many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from dae_solver.solver.events import Happened, TimeEvent, combine
from scimind.errors import InputError
from scimind.typing import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Changes of one parameter in one way, in several scenarios.

    Attributes:
        name: The parameter.
        how: See :class:`dae_solver.solver.events.Change`.
        scenario: Of each value.
        row: Of the parameter, of each value; None where all rows get it.
        value: The values.
    """

    name: str
    how: str
    scenario: Int[np.ndarray, " value"]
    row: Int[np.ndarray, " value"] | None
    value: Float[np.ndarray, " value"]

    def apply(self, p: dict[str, np.ndarray], chosen: Bool[np.ndarray, " scenario"]) -> None:
        """Change parameters of some scenarios in place."""
        which = chosen[self.scenario]
        if which.any():
            scenario = self.scenario[which]
            place: Any = (..., scenario) if self.row is None else (self.row[which], scenario)
            combine(p, self.name, self.how, place, self.value[which])

    def take(self, place: Int[np.ndarray, " scenario"]) -> Alike:
        """Of some scenarios: which each becomes, below 0 where it is left out."""
        which = place[self.scenario] >= 0
        return Alike(
            name=self.name,
            how=self.how,
            scenario=place[self.scenario[which]],
            row=None if self.row is None else self.row[which],
            value=self.value[which],
        )


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """The time events of a batch.

    Attributes:
        events: Of each scenario, in order of time.
        times: Theirs, ``[scenario, number + 1]``; infinity after the last.
        alike: Of the first events of all scenarios, of the second, and so on: what changes, in
            order.
        apart: Where values are not single numbers, which :attr:`alike` does not have.
        asking: Where an event has a condition or a reset.
    """

    events: tuple[tuple[TimeEvent, ...], ...]
    times: Float[np.ndarray, "scenario number"]
    alike: tuple[tuple[Alike, ...], ...]
    apart: Bool[np.ndarray, "scenario number"]
    asking: Bool[np.ndarray, "scenario number"]

    def __len__(self) -> int:
        return len(self.events)

    @classmethod
    def of(cls, events: Sequence[Sequence[TimeEvent]]) -> Timetable:
        """That of one list of events for each scenario."""
        ordered = tuple(
            tuple(each) if len(each) < 2 else tuple(sorted(each, key=_time)) for each in events
        )
        shape = (len(ordered), max(map(len, ordered), default=0) + 1)
        times, (apart, asking) = np.full(shape, np.inf), np.zeros((2, *shape), bool)
        found: list[dict[Any, tuple[list[int], list[int], list[float]]]]
        found = [{} for _ in range(shape[1])]
        for scenario, its in enumerate(ordered):
            for number, event in enumerate(its):
                times[scenario, number] = event.time
                if event.condition is not None or event.reset is not None:
                    asking[scenario, number] = True
                if not all(isinstance(each.value, _NUMBER) for each in event.changes):
                    apart[scenario, number] = True
                    continue
                groups = found[number]
                for place, change in enumerate(event.changes):
                    row = change.row
                    key = (place, change.name, change.how, row is None)
                    group = groups.get(key)
                    if group is None:
                        group = groups[key] = ([], [], [])
                    for each in (0,) if row is None else np.atleast_1d(row).tolist():
                        group[0].append(scenario)
                        group[1].append(each)
                        group[2].append(change.value)
        alike = tuple(
            tuple(
                Alike(
                    name=name,
                    how=how,
                    scenario=np.array(scenarios, int),
                    row=None if every else np.array(rows, int),
                    value=np.array(values, float),
                )
                for (_, name, how, every), (scenarios, rows, values) in sorted(
                    groups.items(), key=lambda item: item[0][0]
                )
            )
            for groups in found
        )
        return cls(events=ordered, times=times, alike=alike, apart=apart, asking=asking)

    def take(self, scenarios: Int[np.ndarray, " some"]) -> Timetable:
        """That of some scenarios, by their numbers."""
        events = tuple(self.events[k] for k in scenarios.tolist())
        place = np.full(len(self), -1)
        place[scenarios] = np.arange(len(scenarios))
        if (place >= 0).sum() < len(scenarios):  # some of them several times
            return Timetable.of(events)
        return Timetable(
            events=events,
            times=self.times[scenarios],
            alike=tuple(tuple(each.take(place) for each in changes) for changes in self.alike),
            apart=self.apart[scenarios],
            asking=self.asking[scenarios],
        )

    def apply(
        self,
        p: dict[str, np.ndarray],
        scenarios: Int[np.ndarray, " some"],
        first: Int[np.ndarray, " some"],
        last: Int[np.ndarray, " some"],
    ) -> None:
        """Change parameters in place, of each scenario by its events from one to another.

        Args:
            p: Parameters of all scenarios.
            scenarios: Which, each once.
            first: Number of the first event of each.
            last: Number after the last.
        """
        if not len(scenarios):
            return
        number = np.arange(self.times.shape[1])
        chosen = np.zeros(self.times.shape, bool)
        chosen[scenarios] = (number >= first[:, None]) & (number < last[:, None])
        irregular = (self.apart & chosen).any(1)
        for scenario in np.flatnonzero(irregular).tolist():
            for event in np.flatnonzero(chosen[scenario]).tolist():
                for change in self.events[scenario][event].changes:
                    change.apply(p, scenario)
        chosen[irregular] = False
        for k in np.flatnonzero(chosen.any(0)).tolist():
            for alike in self.alike[k]:
                alike.apply(p, chosen[:, k])


def _between(
    marked: Bool[np.ndarray, "some number"],
    first: Int[np.ndarray, " some"],
    last: Int[np.ndarray, " some"],
) -> Bool[np.ndarray, " some"]:
    """Where an event from one number to another is marked."""
    if not marked.any():
        return np.zeros(len(marked), bool)
    number = np.arange(marked.shape[1])
    found: np.ndarray = (marked & (number >= first[:, None]) & (number < last[:, None])).any(1)
    return found


_NUMBER = (int, float, np.integer, np.floating)


def _time(event: TimeEvent) -> float:
    return event.time


@dataclass(frozen=True, kw_only=True)
class Due:
    """Events that are due, of several scenarios.

    Attributes:
        table: In which they are.
        scenarios: Of which each is.
        first: Number of the first event of each.
        last: Number after the last.
        instead: What happens instead, by the place of the scenario: events that ask whether they
            happen, or change states, and those that were added on the way.
    """

    table: Timetable
    scenarios: Int[np.ndarray, " some"]
    first: Int[np.ndarray, " some"]
    last: Int[np.ndarray, " some"]
    instead: dict[int, list[TimeEvent]] = field(default_factory=dict)

    def apply(self, p: dict[str, np.ndarray]) -> None:
        """Change parameters in place by those of the table."""
        whole = np.ones(len(self.scenarios), bool)
        whole[list(self.instead)] = False
        self.table.apply(p, self.scenarios[whole], self.first[whole], self.last[whole])

    @property
    def some(self) -> Bool[np.ndarray, " some"]:
        """Which scenarios have any."""
        found: np.ndarray = self.last > self.first
        for place, events in self.instead.items():
            found[place] = len(events) > 0
        return found

    def events(self, place: int) -> Sequence[TimeEvent]:
        """Those of a scenario, by its place among the scenarios."""
        if place in self.instead:
            return self.instead[place]
        its = self.table.events[int(self.scenarios[place])]
        return its[int(self.first[place]) : int(self.last[place])]

    def take(self, places: Int[np.ndarray, " part"]) -> Due:
        """Those of some of the scenarios, by their places."""
        kept = {place: k for k, place in enumerate(places.tolist())} if self.instead else {}
        return Due(
            table=self.table,
            scenarios=self.scenarios[places],
            first=self.first[places],
            last=self.last[places],
            instead={kept[k]: each for k, each in self.instead.items() if k in kept},
        )


class Schedule:
    """Where a batch is in its timetable; more events may be added on the way.

    Args:
        table: The timetable.
    """

    def __init__(self, table: Timetable) -> None:
        self.table = table
        self._next = np.zeros(len(table), int)
        self._added: dict[int, list[TimeEvent]] = {}

    @classmethod
    def of(
        cls, events: Timetable | Sequence[TimeEvent] | Sequence[Sequence[TimeEvent]], scenarios: int
    ) -> Schedule:
        """A schedule of a timetable, of one list for all scenarios, or of one list for each.

        Raises:
            InputError: The number of lists is not that of the scenarios.
        """
        if isinstance(events, Timetable):
            each: Any = events.events
        elif all(isinstance(event, TimeEvent) for event in events):
            each = [events] * scenarios
        else:
            each = events
        if len(each) != scenarios:
            raise InputError(
                f"{len(each)} lists of events for {scenarios} scenarios; give one list for each",
                rule="dae.events",
            )
        return cls(events if isinstance(events, Timetable) else Timetable.of(each))

    def next_time(self) -> Float[np.ndarray, " scenario"]:
        """Time of the next event per scenario, infinity where there is none."""
        return self.next_of(np.arange(len(self._next)))

    def next_of(self, scenarios: Int[np.ndarray, " some"]) -> Float[np.ndarray, " some"]:
        """The same of some scenarios."""
        found: np.ndarray = self.table.times[scenarios, self._next[scenarios]]
        if self._added:
            for place, scenario in enumerate(scenarios.tolist()):
                if its := self._added.get(scenario):
                    found[place] = min(float(found[place]), its[0].time)
        return found

    def add(self, scenario: int, event: TimeEvent) -> None:
        """One more event."""
        its = self._added.setdefault(scenario, [])
        its.append(event)
        its.sort(key=_time)

    def again(self, scenarios: Int[np.ndarray, " some"]) -> None:
        """Let scenarios begin anew, with none of their events."""
        self._next[scenarios] = 0
        for scenario in scenarios.tolist():
            self._added.pop(scenario, None)

    def pop(self, scenarios: Int[np.ndarray, " some"], times: Float[np.ndarray, " some"]) -> Due:
        """The events of scenarios that are due, each at its time."""
        table = self.table
        first = self._next[scenarios]
        last = (table.times[scenarios] <= times[:, None]).sum(1)
        last = np.maximum(first, last)
        self._next[scenarios] = last
        due = Due(table=table, scenarios=scenarios, first=first, last=last)
        for place in np.flatnonzero(_between(table.asking[scenarios], first, last)).tolist():
            due.instead[place] = list(due.events(place))
        if self._added:
            for place, scenario in enumerate(scenarios.tolist()):
                its = self._added.get(scenario, [])
                if not its or its[0].time > times[place]:
                    continue
                now = [event for event in its if event.time <= times[place]]
                due.instead[place] = sorted([*due.events(place), *now], key=_time)
                self._added[scenario] = its[len(now) :]
        return due


@dataclass(kw_only=True)
class Restart:
    """Events of several scenarios as they happened, with both sides of each.

    Attributes:
        due: The events.
        t: When, of each scenario.
        x_minus: States just before, ``[state, scenario]``.
        x_plus: States just after.
        y_minus: Algebraic variables just before, ``[algebraic, scenario]``.
        y_plus: Algebraic variables just after.
    """

    due: Due
    t: Float[np.ndarray, " some"]
    x_minus: Float[np.ndarray, "state some"]
    x_plus: Float[np.ndarray, "state some"]
    y_minus: Float[np.ndarray, "algebraic some"]
    y_plus: Float[np.ndarray, "algebraic some"]

    def take(self, places: Int[np.ndarray, " part"]) -> Restart:
        """Those of some of the scenarios, by their places."""
        sides = ("x_minus", "x_plus", "y_minus", "y_plus")
        part = {name: getattr(self, name)[:, places] for name in sides}
        return Restart(due=self.due.take(places), t=self.t[places], **part)

    def without(self, scenarios: Int[np.ndarray, " some"]) -> Restart | None:
        """The part of other scenarios, if there is one."""
        kept = np.flatnonzero(~np.isin(self.due.scenarios, scenarios))
        return self.take(kept) if len(kept) else None

    def name(self, place: int) -> str:
        """What happened to a scenario, by its place."""
        return " + ".join([event.name for event in self.due.events(place)])

    def happened(self) -> Iterator[Happened]:
        """Each event alone."""
        for k, (scenario, time) in enumerate(
            zip(self.due.scenarios.tolist(), self.t.tolist(), strict=True)
        ):
            yield Happened(
                scenario=scenario,
                time=time,
                name=self.name(k),
                x_minus=self.x_minus[:, k].copy(),
                x_plus=self.x_plus[:, k].copy(),
                y_minus=self.y_minus[:, k].copy(),
                y_plus=self.y_plus[:, k].copy(),
            )


def in_order(restarts: Sequence[Restart]) -> list[Happened]:
    """All events, by scenario and time."""
    every = chain.from_iterable(each.happened() for each in restarts)
    return sorted(every, key=lambda event: (event.scenario, event.time))

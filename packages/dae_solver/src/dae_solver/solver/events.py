"""What changes a simulation at a time or at a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scimind.errors import InputError

# condition(t, x, y, p) -> [scenario]
Condition = Callable[[Any, Any, Any, Any], Any]
# reset(t, x, y, p) -> [state, scenario]
Reset = Callable[[Any, Any, Any, Any], Any]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A parameter gets a value, or its value times a factor, or plus a difference.

    Attributes:
        name: The parameter.
        value: The new value, factor or difference.
        row: Row of the parameter where it has rows; all of them by default.
        how: ``set``, ``scale`` or ``add``.
    """

    name: str
    value: Any
    row: int | Sequence[int] | None = None
    how: str = "set"

    def apply(self, p: dict[str, np.ndarray], scenario: int | np.ndarray) -> None:
        """Change the parameters of one scenario in place, or of several, each by its own value."""
        if self.name not in p:
            raise InputError(
                f"an event changes parameter {self.name!r}; there are: {', '.join(p)}",
                rule="dae.parameter",
            )
        array = p[self.name]
        place: Any = (Ellipsis, scenario)
        if self.row is not None:
            several = np.ndim(scenario) > 0 and np.ndim(self.row) > 0
            place = (np.asarray(self.row)[:, None] if several else self.row, scenario)
        if self.how == "set":
            array[place] = self.value
        elif self.how == "scale":
            array[place] *= self.value
        elif self.how == "add":
            array[place] += self.value
        else:
            raise InputError(
                f"a change has how={self.how!r}; use set, scale or add", rule="dae.change"
            )


def apply_all(
    p: dict[str, np.ndarray], changes: Sequence[Sequence[Change]], scenarios: Sequence[int]
) -> None:
    """Change parameters in place: those of each scenario in their order, those alike together.

    Args:
        p: Parameters.
        changes: Of each of the scenarios.
        scenarios: Which.
    """
    for number in range(max(map(len, changes), default=0)):
        alike: dict[Any, tuple[Change, list[int], list[Any]]] = {}
        for scenario, each in zip(scenarios, changes, strict=True):
            if number >= len(each):
                continue
            change = each[number]
            row, value = change.row, change.value
            key = (
                change.name,
                change.how,
                row if row is None or isinstance(row, int) else tuple(row),
                None if isinstance(value, (int, float)) else scenario,
            )
            members = alike.get(key)
            if members is None:
                alike[key] = members = (change, [], [])
            members[1].append(scenario)
            members[2].append(value)
        for change, which, values in alike.values():
            if len(which) == 1:
                change.apply(p, which[0])
            else:
                replace(change, value=np.array(values)).apply(p, np.array(which))


@dataclass(frozen=True, kw_only=True)
class TimeEvent:
    """Parameters or states change at a known time. Two at one time happen in the order given.

    Attributes:
        time: When; an event at the start of a simulation happens before its first step.
        changes: Of parameters.
        reset: New states, where these jump; by default they are continuous.
        condition: Happens only where this is positive just before.
        name: For reports and plots.
    """

    time: float
    changes: Sequence[Change] = ()
    reset: Reset | None = None
    condition: Condition | None = None
    name: str = "event"

    def __post_init__(self) -> None:
        if not np.isfinite(self.time):
            raise InputError(f"event {self.name!r} at time {self.time}; give a finite time")


@dataclass(frozen=True, kw_only=True)
class StateEvent:
    """Something happens where a condition passes zero; the moment is located, not the step.

    Attributes:
        condition: ``condition(t, x, y, p)`` per scenario; its sign tells the side.
        direction: ``-1`` when it falls through zero, ``1`` when it rises, ``0`` both.
        changes: Of parameters, at the moment or ``delay`` later.
        reset: New states.
        delay: Time between the condition and what happens, as of a relay; the condition is looked
            at again then, and nothing happens where it has turned back.
        once: Whether it can happen only once in a scenario.
        terminal: Whether the scenario ends there.
        name: For reports and plots.
    """

    condition: Condition
    direction: int = 0
    changes: Sequence[Change] = ()
    reset: Reset | None = None
    delay: float = 0.0
    once: bool = False
    terminal: bool = False
    name: str = "state event"

    def __post_init__(self) -> None:
        if self.direction not in (-1, 0, 1):
            raise InputError(
                f"state event {self.name!r} has direction {self.direction}; use -1, 0 or 1",
                rule="dae.direction",
            )
        if not self.delay >= 0:
            raise InputError(
                f"state event {self.name!r} has delay {self.delay}; a delay is not negative",
                rule="dae.delay",
            )
        if self.delay and self.direction == 0:
            raise InputError(
                f"state event {self.name!r} has a delay and no direction; give -1 or 1",
                rule="dae.delay",
            )

    def delayed(self, time: float) -> TimeEvent:
        """The time event that follows from the condition at ``time``."""
        sign = float(self.direction)

        def still(t: Any, x: Any, y: Any, p: Any) -> Any:
            return sign * np.asarray(self.condition(t, x, y, p))

        return TimeEvent(
            time=time + self.delay,
            changes=self.changes,
            reset=self.reset,
            condition=still,
            name=self.name,
        )


def changes_of(events: Sequence[TimeEvent]) -> Sequence[Change]:
    """Of parameters, by some events one after the other."""
    if len(events) == 1:
        return events[0].changes
    return [change for event in events for change in event.changes]


@dataclass(kw_only=True)
class Happened:
    """An event as it happened in a scenario.

    Attributes:
        scenario: Index in the batch.
        time: When.
        name: Of the event.
        x_minus: States just before, ``[state]``.
        x_plus: States just after.
        y_minus: Algebraic variables just before, ``[algebraic]``.
        y_plus: Algebraic variables just after, which solve the equations again.
    """

    scenario: int
    time: float
    name: str
    x_minus: np.ndarray
    x_plus: np.ndarray
    y_minus: np.ndarray
    y_plus: np.ndarray


@dataclass
class Schedule:
    """The time events of a batch, each scenario with its own; more may be added on the way."""

    pending: list[list[TimeEvent]] = field(default_factory=list)

    @classmethod
    def of(cls, events: Sequence[Any], scenarios: int) -> Schedule:
        """A schedule of one list for all scenarios, or of one list for each.

        Raises:
            InputError: The number of lists is not that of the scenarios.
        """
        if all(isinstance(event, TimeEvent) for event in events):
            lists = [list(events) for _ in range(scenarios)]
        elif len(events) == scenarios:
            lists = [list(each) for each in events]
        else:
            raise InputError(
                f"{len(events)} lists of events for {scenarios} scenarios; give one list for each",
                rule="dae.events",
            )
        return cls([sorted(each, key=lambda event: event.time) for each in lists])

    def next_time(self) -> np.ndarray:
        """Time of the next event per scenario, infinity where there is none."""
        return np.array([each[0].time if each else np.inf for each in self.pending])

    def add(self, scenario: int, event: TimeEvent) -> None:
        """One more event."""
        self.pending[scenario].append(event)
        self.pending[scenario].sort(key=lambda each: each.time)

    def pop(self, scenario: int, time: float) -> list[TimeEvent]:
        """The events of a scenario that are due at ``time``."""
        each = self.pending[scenario]
        number = 0
        while number < len(each) and each[number].time <= time:
            number += 1
        due = each[:number]
        del each[:number]
        return due

    def pop_all(
        self, scenarios: Sequence[int], times: Sequence[float]
    ) -> tuple[list[list[TimeEvent]], list[float]]:
        """Those of several scenarios, each at its time, and when the next of each is due."""
        happened, due = [], []
        for scenario, time in zip(scenarios, times, strict=True):
            happened.append(self.pop(scenario, time))
            rest = self.pending[scenario]
            due.append(rest[0].time if rest else np.inf)
        return happened, due

"""What changes a simulation at a time or at a condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

    def apply(self, p: dict[str, np.ndarray], scenario: int) -> None:
        """Change the parameters of one scenario in place."""
        place: Any = (Ellipsis, scenario) if self.row is None else (self.row, scenario)
        combine(p, self.name, self.how, place, self.value)


def combine(p: dict[str, np.ndarray], name: str, how: str, place: Any, value: Any) -> None:
    """Change some places of a parameter in place.

    Args:
        p: All parameters.
        name: Of the parameter.
        how: See :class:`Change`.
        place: An index.
        value: For it.

    Raises:
        InputError: There is no such parameter, or no such way.
    """
    if name not in p:
        raise InputError(
            f"an event changes parameter {name!r}; there are: {', '.join(p)}",
            rule="dae.parameter",
        )
    if how == "set":
        p[name][place] = value
    elif how == "scale":
        p[name][place] *= value
    elif how == "add":
        p[name][place] += value
    else:
        raise InputError(f"a change has how={how!r}; use set, scale or add", rule="dae.change")


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

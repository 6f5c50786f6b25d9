"""What a simulation returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dae_solver.solver.events import Happened
from dae_solver.solver.initial import Consistency
from dae_solver.solver.schedule import Restart, in_order
from scimind.typing import Bool, Float, Int


@dataclass(kw_only=True)
class Statistics:
    """Work of a simulation.

    Attributes:
        steps: Accepted steps per scenario.
        refused: Steps per scenario that were tried again with a smaller size.
        rounds: Calls of the method, each for all scenarios that were under way.
        located: Events and kinks per scenario whose time was searched for.
    """

    steps: Int[np.ndarray, " scenario"]
    refused: Int[np.ndarray, " scenario"]
    located: Int[np.ndarray, " scenario"]
    rounds: int = 0


@dataclass(kw_only=True)
class Solution:
    """Trajectories of a batch.

    At the time of an event the values are those just before it; ``events`` has both sides.

    Attributes:
        t: Output times, ``[time]``.
        x: States, ``[scenario, time, state]``; NaN after a scenario ended.
        y: Algebraic variables, ``[scenario, time, algebraic]``.
        states: Names of the states.
        algebraics: Names of the algebraic variables.
        happened: Events.
        start: How the algebraic equations were solved at the start.
        restarts: The same after events, one for each time that some scenario had one.
        ended: Time at which each scenario ended: that of the last output, unless an event or a
            failure ended it.
        failure: Why a scenario failed, empty where it did not.
        statistics: Work.
    """

    t: Float[np.ndarray, " time"]
    x: Float[np.ndarray, "scenario time state"]
    y: Float[np.ndarray, "scenario time algebraic"]
    states: tuple[str, ...]
    algebraics: tuple[str, ...]
    happened: list[Restart]
    start: Consistency
    restarts: list[Consistency]
    ended: Float[np.ndarray, " scenario"]
    failure: list[str]
    statistics: Statistics = field(repr=False)

    @property
    def success(self) -> Bool[np.ndarray, " scenario"]:
        """Which scenarios did not fail."""
        return np.array([not reason for reason in self.failure], bool)

    def __getitem__(self, name: str) -> Float[np.ndarray, "scenario time"]:
        """The trajectory of one variable.

        Raises:
            KeyError: There is no such variable.
        """
        if name in self.states:
            return self.x[..., self.states.index(name)]
        if name in self.algebraics:
            return self.y[..., self.algebraics.index(name)]
        raise KeyError(f"no variable {name!r}; there are: {_some(self.states + self.algebraics)}")

    def some(self, rows: np.ndarray) -> Float[np.ndarray, "scenario time row"]:
        """Some of the states."""
        return self.x[..., rows]

    @cached_property
    def events(self) -> list[Happened]:
        """What happened, in order of time within a scenario."""
        return in_order(self.happened)

    def events_of(self, scenario: int) -> list[Happened]:
        """The events of one scenario, in order of time."""
        return [event for event in self.events if event.scenario == scenario]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown}, … ({len(names)} in all)"

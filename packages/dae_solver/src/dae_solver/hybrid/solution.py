"""What the hybrid solver returns; voltages are solved for when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dae_solver.hybrid.outputs import ROUNDING, Outputs
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.scenarios import Scenarios
from dae_solver.solver.events import Happened
from dae_solver.solver.initial import Consistency
from dae_solver.solver.schedule import Restart, in_order
from scimind.typing import Float

TOLERANCE = 1e-10


@dataclass(kw_only=True)
class HybridSolution:
    """Like :class:`dae_solver.solver.solution.Solution`.

    Attributes:
        grid: The equations.
        scenarios: What was solved.
        outputs: Output times, and pieces of all trajectories.
        start: Of the consistent initialisation.
        restarts: The same after events.
        happened: Events.
        failure: Why a scenario ended early; empty where it did not.
        windows: Windows of each scenario by how they were found, ``[3, scenario]``: accepted at
            once, after more corrections, by the classical engine.
        refused: Windows of each scenario that the operator was asked for and whose bound was too
            large, ``[scenario]``, 1 where it was not asked because it does not pay for the bound,
            or because there are too many faults; the engine integrates faults anyway.
    """

    grid: PowerDAE
    scenarios: Scenarios
    outputs: Outputs
    start: Consistency
    restarts: list[Consistency] = field(default_factory=list)
    happened: list[Restart] = field(default_factory=list)
    failure: list[str]
    windows: np.ndarray
    refused: np.ndarray

    @property
    def t(self) -> Float[np.ndarray, " time"]:
        """Output times, seconds."""
        return self.outputs.times

    @property
    def ended(self) -> Float[np.ndarray, " scenario"]:
        """Last time of each scenario: a trajectory ends where synchronism is lost."""
        return self.outputs.ended

    @cached_property
    def x(self) -> Float[np.ndarray, "scenario time state"]:
        """States at all output times."""
        return self.outputs.states(np.arange(len(self.grid.states)))

    def some(self, rows: np.ndarray) -> Float[np.ndarray, "scenario time row"]:
        """Some of the states, which is cheaper."""
        return self.outputs.states(rows)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return self.grid.states

    @property
    def algebraics(self) -> tuple[str, ...]:
        """Names of the algebraic variables."""
        return self.grid.algebraics

    @property
    def success(self) -> np.ndarray:
        """Which scenarios came to their end."""
        return np.array([not each for each in self.failure])

    @property
    def lost(self) -> Float[np.ndarray, " scenario"]:
        """Where trajectories end as synchronism is lost, maybe before an output shows it."""
        early = self.success & (self.ended < self.t[-1])
        return np.where(early, self.ended, np.inf)

    @cached_property
    def events(self) -> list[Happened]:
        """All events, by scenario and time."""
        return in_order(self.happened)

    def events_of(self, scenario: int) -> list[Happened]:
        """Events of one scenario."""
        return [event for event in self.events if event.scenario == scenario]

    @cached_property
    def y(self) -> Float[np.ndarray, "scenario time algebraic"]:
        """Voltages of the device buses, which solve the network equations at every time."""
        grid, scenarios = self.grid, self.scenarios
        found = np.full((*self.x.shape[:2], len(grid.algebraics)), np.nan)
        guess, first = scenarios.y0.copy(), np.zeros(len(scenarios), int)
        ended = np.searchsorted(self.t, self.ended + ROUNDING, side="right")
        for epoch, due in enumerate(scenarios.timetable.times.T):
            for one in self.happened:
                now = one.due.last == epoch
                guess[:, one.due.scenarios[now]] = one.y_plus[:, now]
            last = np.minimum(np.searchsorted(self.t, due, side="right"), ended)
            if (first < last).any():
                p = scenarios.parameters_after(epoch)
                grid.along(self.x, found, first, last, guess, p, TOLERANCE)
            first = np.maximum(first, last)
        return found

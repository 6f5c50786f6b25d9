"""What the hybrid solver returns; voltages are solved for when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from dae_solver.hybrid.outputs import ROUNDING, Outputs, SampledPiece
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.scenarios import Scenarios
from dae_solver.solver.events import Happened
from dae_solver.solver.initial import Consistency
from dae_solver.solver.parameters import take
from dae_solver.solver.schedule import Restart, in_order
from dae_solver.solver.solution import Solution
from scimind.typing import Float, Int

TOLERANCE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """Trajectories of the classical engine alone.

    Attributes:
        scenarios: Which.
        solution: Has them.
        which: By their numbers there.
    """

    scenarios: Int[np.ndarray, " some"]
    solution: Solution
    which: Int[np.ndarray, " some"]


@dataclass(kw_only=True)
class HybridSolution:
    """Like :class:`dae_solver.solver.solution.Solution`.

    Attributes:
        grid: The equations.
        scenarios: What was solved.
        outputs: Output times, and pieces of all trajectories.
        start: Of the consistent initialisation.
        restarts: The same after events.
        happened: Events; of the voltages before them it has guesses only.
        failure: Why a scenario ended early; empty where it did not.
        windows: Windows of each scenario by how they were found, ``[3, scenario]``: accepted at
            once, after more corrections, by the classical engine.
        refused: Windows of each scenario that the operator was asked for and whose bound was too
            large, ``[scenario]``, 1 where it was not asked because it does not pay for the bound,
            or because there are too many faults; the engine integrates faults anyway.
        adopted: Scenarios that were integrated anew.
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
    adopted: list[Adopted] = field(default_factory=list)

    def adopt(
        self,
        scenarios: Int[np.ndarray, " some"],
        solution: Solution,
        which: Int[np.ndarray, " some"],
    ) -> None:
        """Let trajectories of the classical engine take the place of those of some scenarios.

        Args:
            scenarios: Whose.
            solution: At the same output times.
            which: By their numbers there.
        """
        ended = solution.ended[which]
        self.outputs.pieces.append(
            SampledPiece(
                scenarios=scenarios,
                begin=np.full(len(scenarios), self.t[0]),
                end=ended,
                times=self.t,
                x=solution.x[which],
            )
        )
        self.ended[scenarios] = ended
        for scenario, number in zip(scenarios.tolist(), which.tolist(), strict=True):
            self.failure[scenario] = solution.failure[number]
        self.windows[-1, scenarios] += 1
        self.refused[scenarios] += 1
        self.happened = [kept for one in self.happened if (kept := one.without(scenarios))]
        self.adopted.append(Adopted(scenarios=scenarios, solution=solution, which=which))
        for name in ("x", "y", "events"):
            self.__dict__.pop(name, None)

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
        for one in self.adopted:  # which go on, or end at an event
            early[one.scenarios] = False
        return np.where(early, self.ended, np.inf)

    @cached_property
    def events(self) -> list[Happened]:
        """All events, by scenario and time."""
        found = in_order([self._exact(one) for one in self.happened])
        for one in self.adopted:
            for scenario, number in zip(one.scenarios.tolist(), one.which.tolist(), strict=True):
                events = one.solution.events_of(number)
                found += [replace(event, scenario=scenario) for event in events]
        return sorted(found, key=lambda event: (event.scenario, event.time))

    def _exact(self, restart: Restart) -> Restart:
        """With the voltages just before events, of which the solver has guesses only."""
        y, before = restart.y_minus.copy(), restart.due.first
        for epoch in np.unique(before).tolist():
            now = before == epoch
            p = take(self.scenarios.parameters_after(epoch), restart.due.scenarios[now])
            y[:, now], _ = self.grid.solve(0.0, restart.x_minus[:, now], y[:, now], p, TOLERANCE)
        return replace(restart, y_minus=y)

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
        for one in self.adopted:
            found[one.scenarios], ended[one.scenarios] = one.solution.y[one.which], 0
        for epoch, due in enumerate(scenarios.timetable.times.T):
            for restart in self.happened:
                now = restart.due.last == epoch
                guess[:, restart.due.scenarios[now]] = restart.y_plus[:, now]
            last = np.minimum(np.searchsorted(self.t, due, side="right"), ended)
            if (first < last).any():
                p = scenarios.parameters_after(epoch)
                grid.along(self.x, found, first, last, guess, p, TOLERANCE)
            first = np.maximum(first, last)
        return found

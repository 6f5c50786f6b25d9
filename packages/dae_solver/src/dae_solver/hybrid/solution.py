"""What the hybrid solver returns; voltages are solved for when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dae_solver.hybrid.outputs import Outputs
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.scenarios import Scenarios
from dae_solver.solver.events import Happened, TimeEvent
from dae_solver.solver.initial import Consistency
from dae_solver.solver.parameters import take
from scimind.typing import Float

TOLERANCE = 1e-10
BLOCK = 4096


@dataclass(kw_only=True)
class Restart:
    """Events of several scenarios, with states and voltages before and after."""

    scenarios: np.ndarray
    t: np.ndarray
    events: list[list[TimeEvent]]
    x: np.ndarray
    y_minus: np.ndarray
    y_plus: np.ndarray

    def without(self, scenarios: np.ndarray) -> Restart | None:
        """The part of other scenarios, if there is one."""
        kept = np.flatnonzero(~np.isin(self.scenarios, scenarios))
        if not len(kept):
            return None
        return Restart(
            scenarios=self.scenarios[kept],
            t=self.t[kept],
            events=[self.events[k] for k in kept.tolist()],
            x=self.x[:, kept],
            y_minus=self.y_minus[:, kept],
            y_plus=self.y_plus[:, kept],
        )


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
            large, ``[scenario]``, 1 where it was not asked because it does not pay for the bound;
            the engine integrates faults anyway.
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
        found = [
            Happened(
                scenario=int(scenario),
                time=float(one.t[k]),
                name=" + ".join([event.name for event in one.events[k]]),
                x_minus=one.x[:, k],
                x_plus=one.x[:, k],
                y_minus=one.y_minus[:, k],
                y_plus=one.y_plus[:, k],
            )
            for one in self.happened
            for k, scenario in enumerate(one.scenarios)
        ]
        return sorted(found, key=lambda event: (event.scenario, event.time))

    def events_of(self, scenario: int) -> list[Happened]:
        """Events of one scenario."""
        return [event for event in self.events if event.scenario == scenario]

    @cached_property
    def y(self) -> Float[np.ndarray, "scenario time algebraic"]:
        """Voltages of the device buses, which solve the network equations at every time."""
        grid, scenarios = self.grid, self.scenarios
        found = np.full((*self.x.shape[:2], len(grid.algebraics)), np.nan)
        guess = scenarios.y0.copy()
        known = np.isfinite(self.x).all(2)
        left = np.zeros(len(scenarios))
        done = -np.ones(len(scenarios))
        pending = [sorted(each, key=lambda event: event.time) for each in scenarios.events]
        plus = _voltages_after(self.happened, len(scenarios))
        for epoch in range(1 + max((len(each) for each in pending), default=0)):
            p = scenarios.parameters_after(epoch)
            for number, events in enumerate(pending):
                left[number] = events[epoch].time if epoch < len(events) else np.inf
            mask = known & (self.t > done[:, None]) & (self.t <= left[:, None])
            rows, columns = np.nonzero(mask)
            for begin in range(0, len(rows), BLOCK):
                r, c = rows[begin : begin + BLOCK], columns[begin : begin + BLOCK]
                y, _ = grid.solve(0.0, self.x[r, c].T, guess[:, r], take(p, r), TOLERANCE)
                found[r, c] = y.T
            done = left.copy()
            for number, each in enumerate(plus):
                if epoch < len(each):
                    guess[:, number] = each[epoch]
        return found


def _voltages_after(happened: Sequence[Restart], scenarios: int) -> list[list[np.ndarray]]:
    found: list[list[np.ndarray]] = [[] for _ in range(scenarios)]
    for one in happened:
        for k, scenario in enumerate(one.scenarios.tolist()):
            found[scenario].append(one.y_plus[:, k])
    return found

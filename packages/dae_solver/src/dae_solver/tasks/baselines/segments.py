"""Solvers that know what happens between two events, driven from one event to the next.

Faults last too short for them and are integrated, as in the hybrid solver; before the first event
the grid is at rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from dae_solver.hybrid.classical import integrate
from dae_solver.hybrid.outputs import ClassicalPiece
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.solver.initial import consistent
from dae_solver.solver.parameters import take
from dae_solver.solver.schedule import Schedule
from dae_solver.tasks.sampled import Sampled, trajectories
from scimind.typing import Float, Int

TOLERANCE = 1e-6


@dataclass(kw_only=True)
class Course:
    """Scenarios under way; arrays have the scenario as their last axis.

    Attributes:
        p: Parameters now.
        t: Where each scenario stands, seconds.
        x: States there.
        y: Voltages there.
        outputs: Results.
    """

    p: dict[str, np.ndarray]
    t: Float[np.ndarray, " scenario"]
    x: Float[np.ndarray, "state scenario"]
    y: Float[np.ndarray, "algebraic scenario"]
    outputs: Sampled


class SegmentSolver(ABC):
    """Base of these solvers.

    Args:
        system: The grid.
        step: Of the integration of faults, seconds.
    """

    name: str

    def __init__(self, system: PowerSystem, step: float) -> None:
        self.grid, self.step = system.dae, step

    @abstractmethod
    def advance(
        self,
        course: Course,
        scenarios: Int[np.ndarray, " some"],
        length: Float[np.ndarray, " some"],
    ) -> Float[np.ndarray, " some"]:
        """Write outputs from ``course.t`` on, set ``course.x`` and return how far that leads.

        Args:
            course: Its voltages solve the network equations.
            scenarios: Which are advanced.
            length: Until their next event or the end, seconds.
        """

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """As :meth:`dae_solver.physics.grid.PowerSystem.simulate`."""
        with np.errstate(all="ignore"):  # a bad one goes to infinity, which is reported
            return self._simulate(scenarios, t_end, every)

    def _simulate(self, scenarios: Scenarios, t_end: float, every: float) -> Trajectories:
        times = np.linspace(0.0, t_end, round(t_end / every) + 1)
        grid, number = self.grid, len(scenarios)
        p = {name: value.copy() for name, value in scenarios.parameters.items()}
        t = np.zeros(number)
        y, start = consistent(grid, t, scenarios.x0, scenarios.y0, p, tolerance=TOLERANCE)
        values = np.full((number, len(times), len(grid.states)), np.nan)
        values[:, 0] = scenarios.x0.T
        outputs = Sampled.of(times, values)
        course = Course(p=p, t=t, x=scenarios.x0.copy(), y=y, outputs=outputs)
        schedule = Schedule(scenarios.timetable)
        resting = np.ones(number, bool)
        while True:
            due = schedule.next_time()
            now = np.flatnonzero((due <= course.t) & (course.t < t_end))
            schedule.pop(now, course.t[now]).apply(p)
            resting[now] = False
            stop = np.minimum(schedule.next_time(), t_end)
            active = np.flatnonzero(course.t < stop)
            if not len(active):
                break
            self._pass(course, active, stop, resting)
        return trajectories(
            grid,
            scenarios,
            outputs,
            start=start,
            failure=[
                "" if np.isfinite(x).all() else "the network equations have no solution"
                for x in values
            ],
            source=self.name,
        )

    def _pass(
        self,
        course: Course,
        active: Int[np.ndarray, " active"],
        stop: Float[np.ndarray, " scenario"],
        resting: np.ndarray,
    ) -> None:
        """Advance scenarios, each in the way that suits it."""
        p = take(course.p, active)
        course.y[:, active], solved = self.grid.solve(
            0.0, course.x[:, active], course.y[:, active], p, TOLERANCE
        )
        faulted = self.grid.faulted(p["network"])
        still = resting[active]
        lost = ~solved | ~np.isfinite(course.x[:, active]).all(0)
        course.t[active[lost]] = np.inf
        for which, act in (
            (still & ~lost, self._rest),
            (faulted & ~still & ~lost, self._integrate),
            (~(faulted | still | lost), self.advance),
        ):
            some = active[which]
            if len(some):
                length = stop[some] - course.t[some]
                passed = act(course, some, length)
                whole = passed >= length * (1 - 1e-12)
                course.t[some] = np.where(whole, stop[some], course.t[some] + passed)

    def _rest(self, course: Course, some: np.ndarray, length: np.ndarray) -> np.ndarray:
        number, valid = course.outputs.between(course.t[some], course.t[some] + length)
        rows = np.broadcast_to(some[:, None], number.shape)
        course.outputs.values[rows[valid], number[valid]] = course.x.T[rows[valid]]
        return length

    def _integrate(self, course: Course, some: np.ndarray, length: np.ndarray) -> np.ndarray:
        begin, p = course.t[some].copy(), take(course.p, some)
        passed = integrate(
            self.grid, course.x[:, some], course.y[:, some], p, length, self.step, TOLERANCE
        )
        course.outputs.write(
            ClassicalPiece(scenarios=some, begin=begin, end=begin + length, course=passed)
        )
        course.x[:, some] = np.where(passed.good, passed.end, np.nan)
        course.y[:, some] = passed.y
        return length

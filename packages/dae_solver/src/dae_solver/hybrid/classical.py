"""The classical engine over one window of each scenario."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.separation import angle_spread
from dae_solver.solver.methods import Point, Tolerances
from dae_solver.solver.methods.explicit import RK4
from dae_solver.solver.parameters import Parameters, take
from dae_solver.solver.stretch import Stretch
from scimind.typing import Bool, Float, Int


@dataclass(frozen=True, kw_only=True)
class Course:
    """Runge-Kutta steps of equal size per scenario.

    Attributes:
        steps: Of each scenario.
        first: The number of its first node.
        x: States at its start and after each of its steps, ``[node, state]``.
        f: Derivatives there.
        y: Voltages at the end, ``[algebraic, scenario]``.
        good: Where all could be solved.
    """

    steps: Int[np.ndarray, " scenario"]
    first: Int[np.ndarray, " scenario"]
    x: Float[np.ndarray, "node state"]
    f: Float[np.ndarray, "node state"]
    y: Float[np.ndarray, "algebraic scenario"]
    good: Bool[np.ndarray, " scenario"]

    @classmethod
    def of(
        cls,
        steps: Int[np.ndarray, " scenario"],
        *,
        x: Float[np.ndarray, "node state"],
        f: Float[np.ndarray, "node state"],
        y: Float[np.ndarray, "algebraic scenario"],
    ) -> Course:
        """Steps of scenarios whose nodes come one after the other."""
        good = np.ones(len(steps), bool)
        return cls(steps=steps, first=np.cumsum(steps + 1) - steps - 1, x=x, f=f, y=y, good=good)

    @property
    def end(self) -> Float[np.ndarray, "state scenario"]:
        """States at the end."""
        found: np.ndarray = self.x[self.first + self.steps].T
        return found

    def take(self, which: np.ndarray) -> Course:
        """That of some scenarios, whose nodes stay where they are."""
        return replace(
            self,
            steps=self.steps[which],
            first=self.first[which],
            y=self.y[:, which],
            good=self.good[which],
        )

    def spread(
        self, grid: PowerDAE, p: Parameters, far: float = np.inf
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Largest spread of the angles of each scenario, radians; nodes are in their order.

        And at how many steps it is beyond ``far``, and the last of these; steps after the loss of
        synchronism do not count.
        """
        online = p.get("online")
        on = None if online is None else np.repeat(online, self.steps + 1, axis=1)
        with np.errstate(invalid="ignore"):  # where equations could not be solved
            spread = angle_spread(self.x[:, grid.rows("delta")].T, on)
        spread[~np.isfinite(spread)] = 0.0
        largest: np.ndarray = np.maximum.reduceat(spread, self.first)
        number, last = np.zeros((2, len(largest)), int)
        for scenario in np.flatnonzero(largest > far).tolist():
            its = spread[self.first[scenario] :][: self.steps[scenario] + 1]
            synchronous = its[: np.argmax(its > np.pi)] if its.max() > np.pi else its
            beyond = np.flatnonzero(synchronous > far)
            if len(beyond):
                number[scenario], last[scenario] = len(beyond), beyond[-1]
        return largest, number, last


def integrate(
    grid: PowerDAE,
    x: Float[np.ndarray, "state scenario"],
    y: Float[np.ndarray, "algebraic scenario"],
    p: Parameters,
    length: Float[np.ndarray, " scenario"],
    step: float | Float[np.ndarray, " scenario"],
    tolerance: float,
    *,
    single: bool = False,
) -> Course:
    """Runge-Kutta steps of equal size per scenario, at most ``step``.

    Args:
        grid: The equations.
        x: States at the start.
        y: Voltages at the start.
        p: Parameters.
        length: Of each window, seconds.
        step: Longest step, seconds, of all or of each.
        tolerance: Of the voltages, per unit.
        single: Whether single precision will do, where the grid has it.
    """
    steps = np.ceil(length / step - 1e-9).astype(int)
    f = np.asarray(grid.f(0.0, x, y, p))
    shape = (int(steps.sum()) + len(steps), len(x))
    course = Course.of(steps, x=np.empty(shape), f=np.empty(shape), y=y.copy())
    course.x[course.first], course.f[course.first] = x.T, f.T
    left = _at_once(grid, course, x, f, p, length, tolerance, single)
    if len(left):
        _step_by_step(grid, course, left, take(p, left), length[left], tolerance)
    return course


def _at_once(
    grid: PowerDAE,
    course: Course,
    x: np.ndarray,
    f: np.ndarray,
    p: Parameters,
    length: np.ndarray,
    tolerance: float,
    single: bool,
) -> np.ndarray:
    """All steps in one call where the grid can; the scenarios of which it could not do all."""
    scenarios = len(length)
    a, b, c = RK4.tableau()
    if not grid.stretches(len(b), p):
        return np.arange(scenarios)
    point = Point(
        t=np.zeros(scenarios),
        x=x.copy(),
        y=course.y.copy(),
        f=f.copy(),
        slope=np.zeros_like(course.y),
        missed=np.zeros((len(b), *course.y.shape)),
        h=np.ones(scenarios),
    )
    stretch = Stretch(
        a=a,
        b=b,
        c=c,
        first=np.zeros(scenarios),
        step=length / course.steps,
        stop=length,
        pause=np.full(scenarios, np.inf),
        tolerance=tolerance,
        point=point,
        times=None,
        x_out=course.x[:, None],
        f_out=course.f[:, None],
        place=course.first,
        next_output=np.ones(scenarios, int),
        steps=np.zeros(scenarios, int),
        stuck=np.zeros(scenarios, bool),
        single=single,
    )
    grid.stretch(stretch, p)
    done = ~stretch.stuck
    course.y[:, done] = point.y[:, done]
    return np.flatnonzero(stretch.stuck)


def _step_by_step(
    grid: PowerDAE,
    course: Course,
    scenarios: np.ndarray,
    p: Parameters,
    length: np.ndarray,
    tolerance: float,
) -> None:
    """Some scenarios from the start, where voltages may need Newton's method."""
    h, number = length / course.steps[scenarios], course.steps[scenarios]
    y = course.y[:, scenarios]
    slope = np.zeros_like(y)
    for k in range(int(number.max())):
        some = np.flatnonzero(course.good[scenarios] & (number > k))
        if not len(some):
            break
        at = scenarios[some]
        start = Point(
            t=np.zeros(len(some)),
            x=course.x[course.first[at] + k].T,
            y=y[:, some],
            f=course.f[course.first[at] + k].T,
            slope=slope[:, some],
        )
        with np.errstate(all="ignore"):
            trial = RK4.step(grid, start, h[some], take(p, some), Tolerances(algebraic=tolerance))
        course.good[at[~(trial.solved & np.isfinite(trial.end.x).all(0))]] = False
        there = course.first[at] + k + 1
        course.x[there], course.f[there] = trial.end.x.T, trial.end.f.T
        y[:, some], slope[:, some] = trial.end.y, trial.end.slope
    course.y[:, scenarios] = y

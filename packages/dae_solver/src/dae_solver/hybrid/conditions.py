"""Events at a condition, such as relays: the engine solves the scenarios in which one may happen.

The trajectories that were found without such events say where none can: where the condition keeps
far enough from zero for their errors not to matter. All others are integrated with them, twice, and
so are those of which an event at a known time has a condition or a reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.hybrid.calibration import angle_errors
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.marginal import FINEST, LONGER, MARGIN
from dae_solver.hybrid.outputs import ROUNDING
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.solver.events import StateEvent
from dae_solver.solver.locate import watch
from dae_solver.solver.parameters import take
from dae_solver.solver.solution import Solution
from scimind.typing import Bool, Float, Int

if TYPE_CHECKING:
    from dae_solver.physics.grid import PowerSystem

# A condition that keeps this share of all its way from zero does not come to it: trajectories are
# as exact as the angles that were asked for, and so a hundredth of their swings, not a tenth.
NEAR = 0.1
# Of the voltages in the engine, per unit.
TOLERANCE = 1e-8


def may_happen(
    solution: HybridSolution, events: Sequence[StateEvent]
) -> Bool[np.ndarray, " scenario"]:
    """Whether a condition comes near zero, from the side from which the event happens.

    Args:
        solution: Found without these events.
        events: For all scenarios.
    """
    smallest, largest = _ranges(solution, events)
    near = NEAR * (largest - smallest)
    falls, rises = smallest <= near, largest >= -near
    direction = np.array([event.direction for event in events])[:, None]
    found: np.ndarray = ((falls | (direction > 0)) & (rises | (direction < 0))).any(0)
    return found


def _ranges(
    solution: HybridSolution, events: Sequence[StateEvent]
) -> tuple[Float[np.ndarray, "event scenario"], Float[np.ndarray, "event scenario"]]:
    """Smallest and largest values of the conditions, at all output times and after events."""
    t, scenarios = solution.t, solution.scenarios
    conditions = watch(solution.grid, events, kinks=False)
    assert conditions is not None
    largest = np.full((len(scenarios), len(events)), -np.inf)
    smallest = -largest
    there = t <= solution.ended[:, None] + ROUNDING
    due = scenarios.timetable.times
    # Just before an event its time still belongs to what was before it.
    happened = (due[:, None, :] < t[:, None]).sum(-1)
    for epoch in range(due.shape[1] + 1):
        after, (scenario, time) = scenarios.parameters_after(epoch), np.nonzero(happened == epoch)
        known = there[scenario, time]
        scenario, time = scenario[known], time[known]
        parts = [(scenario, t[time], solution.x[scenario, time].T, solution.y[scenario, time].T)]
        for one in solution.happened:
            now = one.due.last == epoch
            parts += [(one.due.scenarios[now], one.t[now], one.x_plus[:, now], one.y_plus[:, now])]
        for of, when, x, y in parts:
            if len(of):
                values = conditions(when, x, y, take(after, of)).T
                np.minimum.at(smallest, of, values)
                np.maximum.at(largest, of, values)
    return smallest.T, largest.T


def engine(
    grid: PowerSystem,
    scenarios: Scenarios,
    t: Float[np.ndarray, " time"],
    step: float,
    events: Sequence[StateEvent],
) -> Trajectories:
    """Trajectories of the classical engine, with what happens at conditions.

    Args:
        grid: Of which they are.
        scenarios: What is simulated.
        t: Output times, seconds.
        step: Of the engine, seconds.
        events: For all scenarios.
    """
    return grid.simulate(
        scenarios,
        t_end=float(t[-1]),
        every=float(t[1]),
        step=step,
        tolerance=TOLERANCE,
        state_events=events,
    )


def integrate_with(
    grid: PowerSystem,
    runs: Trajectories,
    events: Sequence[StateEvent],
    certificate: Certificate,
) -> None:
    """Let events happen: scenarios in which one may are integrated, with their bounds.

    Steps are halved until they change angles by less than the bound. Where the shortest still
    change as much, as they do where one has the event and the other has not, there is no bound.

    Args:
        grid: Of which they are.
        runs: Found without the events by the hybrid solver; changed.
        events: For all scenarios.
        certificate: Says what bound was asked for, and the first step.
    """
    solution, t, step = runs.solution, runs.t, certificate.shortest_step
    assert isinstance(solution, HybridSolution)

    def run(which: Int[np.ndarray, " scenario"], step: float) -> Trajectories:
        return engine(grid, runs.scenarios.take(which), t, step, events)

    asked = runs.scenarios.timetable.asking.any(1)
    if events:
        asked |= may_happen(solution, events)
    open_ = np.flatnonzero(asked & solution.success)
    if not len(open_):
        return
    other = run(open_, LONGER * step).solution
    x, ended = other.x, other.ended
    while len(open_):
        fine = run(open_, step)
        assert isinstance(fine.solution, Solution)
        last = np.minimum(ended, fine.solution.ended)
        change = MARGIN * angle_errors(fine, x, np.where(last < t[-1], last, np.inf))
        near = (change <= certificate.bound) & fine.solution.success
        done = near | ~fine.solution.success | (step / 2.0 < FINEST)
        bound = np.where(near, np.maximum(change, certificate.floor), np.inf)
        runs.certificate[open_[done]] = bound[done]
        solution.adopt(open_[done], fine.solution, np.flatnonzero(done))
        for scenario in open_[done].tolist():
            runs.source[scenario] = "classical"
        open_, step = open_[~done], step / 2.0
        x, ended = fine.solution.x[~done], fine.solution.ended[~done]

"""Events at a condition, such as relays: the engine solves the scenarios in which one may happen.

The trajectories that were found without such events say where none can: where the condition keeps
far enough from zero for their errors not to matter. All others are integrated with them, twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.marginal import FINEST, LONGER, MARGIN
from dae_solver.hybrid.outputs import ROUNDING
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.metrics import angle_error
from dae_solver.physics.trajectories import Trajectories, center
from dae_solver.solver.events import Condition, StateEvent
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
    found = np.zeros(len(solution.scenarios), bool)
    for event in events:
        smallest, largest = _range(solution, event.condition)
        near = NEAR * (largest - smallest)
        falls, rises = smallest <= near, largest >= -near
        if event.direction < 0:
            found |= falls
        elif event.direction > 0:
            found |= rises
        else:
            found |= falls & rises
    return found


def _range(
    solution: HybridSolution, condition: Condition
) -> tuple[Float[np.ndarray, " scenario"], Float[np.ndarray, " scenario"]]:
    """The smallest and the largest value of a condition, at all output times and after events."""
    t, scenarios = solution.t, solution.scenarios
    smallest, largest = np.full(len(scenarios), np.inf), np.full(len(scenarios), -np.inf)
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
                values = condition(when, x, y, take(after, of))
                np.minimum.at(smallest, of, values)
                np.maximum.at(largest, of, values)
    return smallest, largest


def integrate_with(
    grid: PowerSystem,
    runs: Trajectories,
    events: Sequence[StateEvent],
    certificate: Certificate,
) -> None:
    """Let events happen: scenarios in which one may are integrated anew, with their bounds.

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
        return grid.simulate(
            runs.scenarios.take(which),
            t_end=float(t[-1]),
            every=float(t[1]),
            step=step,
            tolerance=TOLERANCE,
            state_events=events,
        )

    open_ = np.flatnonzero(may_happen(solution, events) & solution.success)
    if not len(open_):
        return
    other = run(open_, LONGER * step).solution
    x, ended = other.x, other.ended
    while len(open_):
        fine = run(open_, step)
        assert isinstance(fine.solution, Solution)
        change = MARGIN * _change(fine, x, ended)
        near = (change <= certificate.bound) & fine.solution.success
        done = near | ~fine.solution.success | (step / 2.0 < FINEST)
        bound = np.where(near, np.maximum(change, certificate.floor), np.inf)
        runs.certificate[open_[done]] = bound[done]
        solution.adopt(open_[done], fine.solution, np.flatnonzero(done))
        for scenario in open_[done].tolist():
            runs.source[scenario] = "classical"
        open_, step = open_[~done], step / 2.0
        x, ended = fine.solution.x[~done], fine.solution.ended[~done]


def _change(
    fine: Trajectories,
    x: Float[np.ndarray, "scenario time state"],
    ended: Float[np.ndarray, " scenario"],
) -> Float[np.ndarray, " scenario"]:
    """How far angles are from those of other steps, degrees, while both go on in synchronism."""
    grid, t = fine.grid, fine.t
    last = np.minimum(ended, fine.solution.ended)
    until = np.minimum(fine.separated, np.where(last < t[-1], last, np.inf))
    theirs = center(x[..., grid.rows("delta")], grid.inertia, fine.connected)
    return angle_error(t, fine.delta_coi, theirs, until)

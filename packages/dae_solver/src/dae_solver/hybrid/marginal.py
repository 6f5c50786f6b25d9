"""Trajectories that linger near the limit of stability, checked by other steps of the engine.

There errors grow by more than any model of them says: a trajectory that comes to rest at the top of
the power-angle curve of its machines may fall to either side. Few scenarios come near, and what
other steps change says how far one is off.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.hybrid.outputs import Outputs
from dae_solver.metrics import angle_error
from dae_solver.physics.separation import angle_spread
from dae_solver.physics.trajectories import center, connected, separation
from scimind.typing import Float, Int

if TYPE_CHECKING:
    from dae_solver.hybrid.solver import HybridRun

# Angles that are further apart than this for longer than this, radians and seconds, while machines
# keep synchronism; where the engine is alone, however shortly.
FAR, LONG = float(np.radians(140.0)), 0.5
# Steps that are so many times as long, and where these change much, half steps. The error is
# believed to be so many times what they change: where limits are met it falls less smoothly than
# the order of the method says.
LONGER, MARGIN = 1.5, 2.0
# Longer steps go on for so long after angles were far apart, seconds.
AFTER = 0.25
# The shortest steps, seconds. Where they change as much there is no bound.
FINEST = 1 / 960


def checked(
    run: HybridRun, bound: Float[np.ndarray, " scenario"]
) -> Float[np.ndarray, " scenario"]:
    """Solve what lingers again, with longer steps, and shorter ones where these change much.

    Args:
        run: A run that has ended, whose solution gets the finer trajectories where they differ by
            more than the bound that was asked for.
        bound: Of its angle errors, degrees.

    Returns:
        The bounds afterwards; infinite where the shortest steps still change much.
    """
    solution, certificate, bound = run.solution, run.certificate, bound.copy()
    # The engine alone is asked for tight bounds, which errors leave soon where angles are apart.
    long = 0.0 if certificate.alone else LONG
    open_ = np.flatnonzero((run.lingered > long) & solution.success)
    step, times = LONGER * certificate.shortest_step, run.outputs.times
    # When angles draw together again errors have grown.
    early = times[: np.searchsorted(times, run.left[open_].max(initial=0.0) + AFTER) + 1]
    while len(open_) and step >= FINEST:
        shorter = step < certificate.shortest_step
        part = replace(
            certificate,
            alone=True,
            single=certificate.single and not shorter,
            step=step,
            fine_step=0.0,
            classical=0.0,
        )
        other = replace(run, certificate=part, doubling=False)
        now = times if shorter or len(early) < 2 else early
        found, _ = other.solve(solution.scenarios.take(open_), now)
        change = _change(other, run.outputs.part(open_))
        error = np.where(found.success, MARGIN * change, np.inf)
        near = error <= certificate.bound
        bound[open_] = np.where(near, np.maximum(run.bound()[open_], error), np.inf)
        far = np.flatnonzero(~near)
        if shorter:
            far = np.intersect1d(far, np.flatnonzero(found.success))
            _adopt(run, other, far, open_)
        open_ = open_[far]
        step = min(step, certificate.shortest_step) / 2.0
    return bound


def _change(other: HybridRun, ours: Outputs) -> Float[np.ndarray, " scenario"]:
    """How far angles are from those of other steps, degrees, until these lose synchronism."""
    grid, t = other.grid, other.outputs.times
    rows, scenarios = grid.rows("delta"), other.solution.scenarios
    theirs, delta = other.outputs.states(rows), ours.states(rows)[:, : len(t)]
    on = connected(scenarios, t, len(rows))
    separated = np.minimum(separation(t, angle_spread(theirs, on, axis=-1)), other.solution.lost)
    theirs, delta = (center(angle, grid.inertia, on) for angle in (theirs, delta))
    return angle_error(t, theirs, delta, separated)


def _adopt(
    run: HybridRun,
    fine: HybridRun,
    which: Int[np.ndarray, " some"],
    numbers: Int[np.ndarray, " scenario"],
) -> None:
    """Replace trajectories by finer ones.

    Args:
        run: Gets them.
        fine: Has them.
        which: By their numbers there.
        numbers: What number each has in ``run``.
    """
    if not len(which):
        return
    solution, now = run.solution, numbers[which]
    place = np.full(len(numbers), -1)
    place[which] = now
    run.outputs.pieces += [part for piece in fine.outputs.pieces if (part := piece.part(place))]
    solution.ended[now] = fine.solution.ended[which]
    solution.windows[:, now] += fine.solution.windows[:, which]
    solution.refused[now] += 1
    run.score[now] = run.classical[now] = 0.0
    rest = [kept for one in solution.happened if (kept := one.without(now))]
    others = np.setdiff1d(np.arange(len(numbers)), which)
    for one in fine.solution.happened:
        kept = one.without(others)
        if kept is not None:
            due = replace(kept.due, table=run.schedule.table, scenarios=numbers[kept.due.scenarios])
            rest.append(replace(kept, due=due))
    solution.happened = rest

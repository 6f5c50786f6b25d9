"""The longest step with which a grid can be looked at first, found on trial faults."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.physics.disturbances import fault
from dae_solver.physics.looks import FirstLook
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from scimind.errors import InputError

if TYPE_CHECKING:
    from dae_solver.physics.grid import PowerSystem

log = logging.getLogger(__name__)

# Trial faults, when they begin and how long they last, seconds. Angles may be off by so much,
# radians, for this share of them: more, and the steps rather than the faults decide.
TRIALS, BEGINS, LASTS = 20, 0.1, 0.1
APART, SHARE = np.radians(10.0), 0.1


def fitting(grid: PowerSystem, look: FirstLook, fine_step: float) -> FirstLook:
    """The same first look, its step halved until trial faults come out as the fine engine says.

    All that the fine engine solves must be solved; nearly all must have its verdict, and its angles
    where they are stable.

    Args:
        grid: The system.
        look: With the longest step.
        fine_step: Of the fine engine, which a first look does not undercut, seconds.

    Raises:
        InputError: No step above ``fine_step`` fits.
    """
    faults = _trials(grid)
    truth = grid.simulate(faults, t_end=look.t_end, every=look.step, step=fine_step)
    solved, reason = truth.solution.success, next(filter(None, truth.solution.failure), "")
    while look.step > fine_step and solved.any():
        runs = look.trajectories(grid, faults)
        failed, apart = solved & ~runs.solution.success, solved & _apart(runs, truth)
        if not failed.any() and apart.sum() <= SHARE * solved.sum():
            log.info("first look with steps of 1/%.4g s", 1 / look.step)
            return look
        log.info(
            "steps of 1/%.4g s are too long for a first look: of %d trial faults %d fail, and %d "
            "come out otherwise than by the fine engine",
            1 / look.step, len(faults), failed.sum(), (apart & ~failed).sum(),
        )  # fmt: skip
        look = replace(look, step=0.5 * look.step)
        reason = next(filter(None, runs.solution.failure), "they come out otherwise")
    raise InputError(
        f"no step above fine_step={fine_step:g} s is short enough for trial faults of "
        f"{grid.case.name} ({reason}); give a shorter fine_step, or a step",
        rule="screen.step",
    )


def _trials(grid: PowerSystem) -> Scenarios:
    """Faults at buses without a machine, where there are some, spread over the grid."""
    held = {generator.bus for generator in grid.case.generators}
    every = [bus.id for bus in grid.case.buses]
    buses = [bus for bus in every if bus not in held] or every
    places = np.unique(np.linspace(0, len(buses) - 1, TRIALS).round().astype(int)).tolist()
    return grid.scenarios(*(fault(buses[k], t=BEGINS, clear=LASTS) for k in places))


def _apart(runs: Trajectories, truth: Trajectories) -> np.ndarray:
    """Which scenarios come out otherwise."""
    delta = runs.delta_coi[:, np.searchsorted(runs.t, truth.t - 1e-9)]
    with np.errstate(invalid="ignore"):
        near = np.abs(delta - truth.delta_coi).max((1, 2)) <= APART
    found: np.ndarray = (runs.stable != truth.stable) | (truth.stable & ~near)
    return found

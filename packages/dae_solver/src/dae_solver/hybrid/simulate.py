"""Simulation of a batch with the hybrid solver, and its audit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dae_solver.hybrid.calibration import angle_errors, voltage_tolerance
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.conditions import engine, integrate_with
from dae_solver.hybrid.solver import ACCEPTED, HybridRun
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.solver.events import StateEvent
from scimind.errors import InputError
from scimind.seeding import numpy_generator

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Audit:
    """A sample of the scenarios, integrated again.

    Attributes:
        scenarios: Which.
        error: Angle error of each, degrees.
        reference: How far the integration itself may be off, by step doubling, degrees.
        above: How many are further off than their certificate says.
    """

    scenarios: np.ndarray
    error: np.ndarray
    reference: np.ndarray
    above: int


def simulate_hybrid(
    grid: PowerSystem,
    scenarios: Scenarios,
    times: np.ndarray,
    *,
    operator: TrajectoryOperator | str | Path | None,
    certify: float,
    audit: float,
    state_events: Sequence[StateEvent] = (),
) -> Trajectories:
    """See :meth:`dae_solver.physics.grid.PowerSystem.simulate`."""
    if operator is None:
        raise InputError(
            "solver='hybrid' needs operator=, the folder of a training or its "
            "operator.safetensors; python -m dae_solver.train makes one",
            rule="operator.file",
        )
    if not certify > 0:
        raise InputError(f"certify={certify:g} deg must be positive", rule="operator.certificate")
    if not 0 <= audit <= 1:
        raise InputError(f"audit={audit:g} is not a share from 0 to 1", rule="operator.audit")
    if not isinstance(operator, TrajectoryOperator):
        operator = TrajectoryOperator.load(operator)
    certificate = Certificate.of(operator, certify)
    run = HybridRun(
        grid=grid.dae,
        operator=operator,
        certificate=certificate,
        tolerance=voltage_tolerance(certificate.bound),
    )
    solution, bound = run.solve(scenarios, times)
    refused, more = solution.refused > 0, solution.windows[ACCEPTED + 1] > 0
    runs = Trajectories(
        grid=grid.dae,
        scenarios=scenarios,
        solution=solution,
        source=np.where(refused, "classical", np.where(more, "corrected", "net")).tolist(),
        certificate=bound,
    )
    integrate_with(grid, runs, state_events, certificate)
    if audit:
        runs.audit = _audit(grid, runs, certificate.shortest_step, audit, state_events)
    return runs


def _audit(
    grid: PowerSystem,
    runs: Trajectories,
    step: float,
    share: float,
    state_events: Sequence[StateEvent],
) -> Audit:
    number = len(runs.scenarios)
    rng = numpy_generator(0, "audit", number)
    chosen = np.sort(rng.permutation(number)[: int(np.ceil(share * number))])
    part, t = runs.scenarios.take(chosen), runs.t
    fine, coarse = (engine(grid, part, t, step / k, state_events) for k in (4, 2))
    error = angle_errors(fine, runs.solution.x[chosen])
    # Order 4: the finer of both is 15 times as exact as their difference.
    doubling = angle_errors(fine, coarse.solution.x) / 15.0
    above = int((error > runs.certificate[chosen] + doubling).sum())
    found = Audit(scenarios=chosen, error=error, reference=doubling, above=above)
    if above:
        log.warning(
            "%d of %d audited scenarios are further off than their certificate says, the worst by "
            "%.3g deg: this grid or these scenarios are not those of the training",
            above, len(chosen), float((error - runs.certificate[chosen]).max()),
        )  # fmt: skip
    return found

"""Make the certificate of an operator from scenarios that training did not see."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from dae_solver.hybrid.certificate import Certificate, conformal_quantile
from dae_solver.hybrid.solver import CLASSICAL, HybridRun
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories, center
from scimind.typing import Float

log = logging.getLogger(__name__)

# Classical steps, seconds, for bounds from 1 degree on and below.
COARSE, FINE = 1 / 30, 1 / 120
TOLERANCES = (1e-6, 1e-8)
# The reference is this much finer than the finest step.
REFERENCE = 1 / 240
ROUNDS = 4


def classical_step(bound: float) -> float:
    """Step of the classical engine that suits a bound, seconds."""
    return COARSE if bound >= 1.0 else FINE


def voltage_tolerance(bound: float) -> float:
    """Tolerance of the voltages that suits a bound, per unit."""
    return TOLERANCES[0] if bound >= 1.0 else TOLERANCES[1]


def reference(grid: PowerSystem, scenarios: Scenarios, t_end: float, every: float) -> Trajectories:
    """Tight trajectories."""
    return grid.simulate(scenarios, t_end=t_end, every=every, step=REFERENCE, tolerance=1e-10)


def angle_errors(
    truth: Trajectories, x: Float[np.ndarray, "scenario time state"]
) -> Float[np.ndarray, " scenario"]:
    """Largest error of an angle against the centre of inertia until separation, degrees.

    A trajectory that ends too early has an infinite error.
    """
    grid = truth.grid
    found = center(x[..., grid.rows("delta")], grid.inertia)
    error = np.abs(found - truth.delta_coi).max(-1)
    before = truth.t < truth.separated[:, None]
    worst: np.ndarray = np.degrees(np.where(before, np.nan_to_num(error, nan=np.inf), 0.0).max(1))
    return worst


def calibrate(
    grid: PowerSystem,
    operator: TrajectoryOperator,
    scenarios: Scenarios,
    truth: Trajectories,
    bound: float,
    *,
    alpha: float,
    corrections: int = 3,
) -> Certificate:
    """The certificate for a bound.

    The factor between score and bound decides which windows are refined, and so the scores: it
    is found by repetition, and kept at the largest value of all rounds.
    """
    step, tolerance = classical_step(bound), voltage_tolerance(bound)
    coarse = grid.simulate(
        scenarios,
        t_end=float(truth.t[-1]),
        every=float(truth.t[1]),
        step=step,
        tolerance=tolerance,
    )
    seconds = float(truth.t[-1])
    classical = angle_errors(truth, coarse.solution.x)
    certificate = Certificate(
        bound=bound,
        factor=1.0,
        residual=2.0,
        classical=float(np.quantile(classical, 1.0 - alpha)) / seconds,
        step=step,
        corrections=corrections,
        alpha=alpha,
        trajectories=len(scenarios),
    )
    factor = 0.0
    for _ in range(ROUNDS):
        run = HybridRun(
            grid=grid.dae, operator=operator, certificate=certificate, tolerance=tolerance
        )
        solution, bounds = run.solve(scenarios, truth.t)
        error = angle_errors(truth, solution.x)
        ratio = np.maximum(error - run.classical, 0.0) / np.maximum(run.score, 1e-9)
        factor = max(factor, conformal_quantile(ratio, alpha))
        share = solution.windows[CLASSICAL].sum() / solution.windows.sum()
        log.info(
            "bound %g deg, factor %.3g: %.1f %% of windows classical, largest error %.3g deg, "
            "%d of %d above their bound",
            bound,
            certificate.factor,
            100 * share,
            error.max(),
            int((error > bounds).sum()),
            len(error),
        )
        if factor <= certificate.factor:
            break
        certificate = replace(certificate, factor=factor)
    return certificate

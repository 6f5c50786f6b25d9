"""Make the certificate of an operator from scenarios that training did not see."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np

from dae_solver.hybrid.certificate import LARGEST_GROWTH, Certificate, conformal_quantile
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.hybrid.solver import CLASSICAL, HybridRun
from dae_solver.metrics import angle_error
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories, center
from scimind.typing import Float, Int

log = logging.getLogger(__name__)

# Steps of the classical engine that are tried, seconds, and the share of the bound that its error
# may take at separation. It is believed to be so many times what all but a share of ``alpha`` stay
# within: a trajectory that ends on the limit of stability is beyond any step.
STEPS, CLASSICAL_SHARE = tuple(1 / n for n in (15, 20, 30, 40, 60, 80, 120)), 0.75
MARGIN = 2.0
# Where the engine must help more than this share of the scenarios, it does everything, and its
# error may take all of the bound.
ALONE = 0.75
# Of the voltages, per unit: so much for each degree of the bound, and at most.
TOLERANCE, LOOSEST = 1e-5, 1e-4
# From this bound on, degrees, the engine beside an operator takes its steps in single precision,
# which costs hundredths of a degree.
SINGLE = 1.0
# The reference is this much finer than the finest step.
REFERENCE = 1 / 240
# What is added to the bound of each trajectory, as a share of the bound.
FLOOR = 0.1
# Factors between score and bound are tried from here on: that a score, which is an estimate of the
# error, is too large everywhere is more than a few lines can show. It costs next to nothing. The
# factor has to be so much larger than the ratios of these trajectories, as others go further.
SMALLEST, GROWTH, SPARE = 1.0, 1.2, 1.3

# A run of the calibration scenarios: with its solution, bounds and errors, degrees.
Calibrated = tuple[HybridRun, HybridSolution, np.ndarray, np.ndarray]
# Errors of the engine alone, degrees, and how much they have grown.
EngineError = tuple[np.ndarray, np.ndarray]


def voltage_tolerance(bound: float) -> float:
    """Tolerance of the voltages that suits a bound, per unit."""
    return min(TOLERANCE * bound, LOOSEST)


def reference(grid: PowerSystem, scenarios: Scenarios, t_end: float, every: float) -> Trajectories:
    """Tight trajectories."""
    return grid.simulate(scenarios, t_end=t_end, every=every, step=REFERENCE, tolerance=1e-10)


def angle_errors(
    truth: Trajectories,
    x: Float[np.ndarray, "scenario time state"],
    until: float | Float[np.ndarray, " scenario"] = np.inf,
) -> Float[np.ndarray, " scenario"]:
    """Largest error of an angle against the centre of inertia until separation, degrees.

    A trajectory that ends too early has an infinite error.

    Args:
        truth: The true trajectories.
        x: States that are judged.
        until: Times from which on nothing counts, seconds.
    """
    grid = truth.grid
    found = center(x[..., grid.rows("delta")], grid.inertia, truth.connected)
    return angle_error(truth.t, truth.delta_coi, found, np.minimum(truth.separated, until))


def calibrate(
    grid: PowerSystem,
    operator: TrajectoryOperator,
    scenarios: Scenarios,
    truth: Trajectories,
    bound: float,
    *,
    alpha: float,
    corrections: int = 3,
    alone: float = ALONE,
    group: Int[np.ndarray, " scenario"] | None = None,
) -> Certificate:
    """The certificate for a bound.

    The factor between score and bound decides which windows are refused, and so the ratios of error
    and score: the smallest factor is taken that is above the ratio it leads to, in any group.

    Args:
        grid: That the operator solves.
        operator: To be calibrated.
        scenarios: To calibrate with.
        truth: Their tight trajectories.
        bound: Of the angle error, degrees.
        alpha: Share of trajectories whose error may exceed what the certificate says.
        corrections: Most corrections of a window.
        alone: Where the engine must help more than this share of the scenarios, it does everything.
        group: Of each scenario; ``alpha`` is promised for each group by itself.
    """
    groups = [np.arange(len(scenarios))]
    if group is not None:
        groups = [np.flatnonzero(group == each) for each in np.unique(group)]

    def largest(values: np.ndarray) -> float:
        """What all but a share of ``alpha`` of each group stay within."""
        return max(conformal_quantile(values[each], alpha) for each in groups)

    def run_by(certificate: Certificate, *, doubling: bool = True) -> Calibrated:
        run = HybridRun(
            grid=grid.dae,
            operator=operator,
            certificate=certificate,
            tolerance=voltage_tolerance(bound),
            doubling=doubling,
        )
        solution, bounds = run.solve(scenarios, truth.t)
        return run, solution, bounds, angle_errors(truth, solution.x)

    blank = Certificate(
        bound=bound,
        factor=1.0,
        residual=2.0,
        floor=FLOOR * bound,
        classical=0.0,
        step=STEPS[0],
        corrections=corrections,
        single=bound >= SINGLE,
        alpha=alpha,
        trajectories=len(scenarios),
        digest=operator.digest,
    )

    @cache
    def engine(step: float, single: bool) -> EngineError:
        plain = replace(blank, alone=True, step=step, single=single)
        run, _, _, error = run_by(plain, doubling=False)
        return error, Certificate.growth(run.spread)

    step, classical = _classical_step(
        lambda step: engine(step, blank.single),
        lambda error, grown: largest(error / grown),
        CLASSICAL_SHARE * bound / LARGEST_GROWTH,
    )
    certificate = replace(blank, step=step, classical=classical)
    factor = SMALLEST
    while True:
        certificate = replace(certificate, factor=factor)
        run, solution, bounds, error = run_by(certificate)
        ours = run.score > 0.0
        grown = certificate.growth(run.spread)
        beyond = np.maximum(error - certificate.floor, 0.0) / grown - run.classical
        # Trajectories of the engine alone have no ratio; they stay within what it is allowed.
        ratio = np.zeros(len(error))
        ratio[ours] = np.maximum(beyond, 0.0)[ours] / run.score[ours]
        needed = SPARE * largest(ratio)
        share = solution.windows[CLASSICAL].sum() / solution.windows.sum()
        log.info(
            "bound %g deg, factor %.3g: %.1f %% of windows classical, largest error %.3g deg, "
            "%d of %d above their bound",
            bound, factor, 100 * share, error.max(), int((error > bounds).sum()), len(error),
        )  # fmt: skip
        if (solution.refused > 0).mean() > alone:
            certificate = _alone(lambda step: engine(step, False), largest, certificate)
            log.info(
                "bound %g deg: the operator does not pay, RK4 1/%g s alone, where needed 1/%g s",
                bound, 1 / certificate.step, 1 / certificate.shortest_step,
            )  # fmt: skip
            return certificate
        if needed <= factor:
            return certificate
        factor *= GROWTH


def _alone(
    engine: Callable[[float], EngineError],
    largest: Callable[[np.ndarray], float],
    certificate: Certificate,
) -> Certificate:
    """The engine for everything: with steps that most scenarios permit, shorter ones for the rest.

    Args:
        engine: Its errors in double precision with a step.
        largest: What errors stay within.
        certificate: Says what else it does.
    """
    allowed = certificate.bound - certificate.floor
    fine_step, fine = _classical_step(engine, lambda error, _: largest(error), allowed)
    found = replace(certificate, alone=True, single=False, step=fine_step, classical=fine)
    least = 1 / fine_step
    for step in STEPS:
        if step <= fine_step:
            break
        error, grown = engine(step)
        classical = MARGIN * largest(error / grown)
        cost = 1 / step + float((classical * grown > allowed).mean()) / fine_step
        if cost < least:
            least = cost
            found = replace(
                found, step=step, classical=classical, fine_step=fine_step, fine_classical=fine
            )
    return found


def _classical_step(
    engine: Callable[[float], EngineError],
    part: Callable[[np.ndarray, np.ndarray], float],
    allowed: float,
) -> tuple[float, float]:
    """The longest step whose error is allowed, or the shortest; and its error.

    Args:
        engine: Errors with a step.
        part: What counts of the errors, given those and how much they have grown.
        allowed: Largest error, degrees.
    """
    for step in STEPS:
        found = MARGIN * part(*engine(step))
        if found <= allowed:
            break
    return step, found

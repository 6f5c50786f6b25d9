"""Cost and error of solvers on the same scenarios, measured in turn."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dae_solver.hybrid.calibration import angle_errors
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.metrics import Errors, coverage, share_above
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.tasks.sampled import Sampled, trajectories
from dae_solver.tasks.solvers import Clock, RungeKutta, Solver, to_and_fro
from scimind.typing import Float

log = logging.getLogger(__name__)

# Runge-Kutta with 1/30 s is what others are compared with.
STEPS = (1 / 30, 1 / 15)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A solver with what it cost before it could answer.

    Attributes:
        name: For tables.
        solver: The solver.
        training: CPU time of data, training and calibration, seconds.
        bound: Of the angle error that it promises, degrees; NaN where it promises none.
        most: Scenarios that it is given at most, from the first on; None gives it all.
    """

    name: str
    solver: Solver
    training: float = 0.0
    bound: float = float("nan")
    most: int | None = None


def classical(grid: PowerSystem) -> list[Contender]:
    """The classical engine with both steps, and with the shorter one in other arithmetics."""
    solvers = [
        *(RungeKutta(grid=grid, step=step) for step in STEPS),
        RungeKutta(grid=grid, step=STEPS[0], single=True),
        RungeKutta(grid=grid, step=STEPS[0], numpy=True),
    ]
    return [Contender(name=solver.name, solver=solver) for solver in solvers]


@dataclass(frozen=True, kw_only=True)
class Row:
    """How a contender did.

    Attributes:
        name: Of the contender.
        batch: Scenarios that were given at once.
        scenarios: Scenarios behind the numbers.
        cpu_ms: Process CPU time of a scenario: median over the rounds.
        cpu_ms_low: Smallest over the rounds.
        cpu_ms_high: Largest over the rounds.
        wall_ms: Wall time of a scenario: median over the rounds.
        p50_deg: Median of the largest angle errors until separation.
        p90_deg: Their 90 % quantile.
        max_deg: The largest.
        excluded: Scenarios without a reference, which are not in the errors.
        bound: That was asked for, degrees.
        above_bound: Share of scenarios above it.
        coverage: Share of certificates that held.
        net: Share of windows that the networks' first correction settled.
        corrected: Share that needed more corrections.
        classical: Share that the classical engine integrated.
        training_cpu_s: CPU time before the first answer, seconds.
    """

    name: str
    batch: int
    scenarios: int
    cpu_ms: float
    cpu_ms_low: float
    cpu_ms_high: float
    wall_ms: float
    p50_deg: float
    p90_deg: float
    max_deg: float
    excluded: int = 0
    bound: float = float("nan")
    above_bound: float = float("nan")
    coverage: float = float("nan")
    net: float = float("nan")
    corrected: float = float("nan")
    classical: float = float("nan")
    training_cpu_s: float = 0.0


def in_turn(
    contenders: Sequence[Contender],
    scenarios: Scenarios,
    truth: Trajectories,
    *,
    batch: int,
    rounds: int,
) -> list[Row]:
    """Measure all contenders in turn, to and fro, so that a load of the machine meets them alike.

    Args:
        contenders: Who.
        scenarios: That each answers, ``batch`` at a time.
        truth: Tight trajectories of all of them.
        batch: How many at a time.
        rounds: Runs of each contender.
    """
    t_end, every = float(truth.t[-1]), float(truth.t[1])
    found = [Clock() for _ in contenders]
    pairs = list(zip(contenders, found, strict=True))
    for round_, (contender, clock) in to_and_fro(pairs, rounds):
        number = min(len(scenarios), contender.most or len(scenarios))
        parts = [
            scenarios.take(np.arange(first, min(first + batch, number)))
            for first in range(0, number, batch)
        ]
        clock.measure(contender.solver, parts, t_end=t_end, every=every)
        log.info(
            "round %d, %d at a time: %s: %.3g ms of CPU",
            round_ + 1, batch, contender.name, 1e3 * clock.cpu[-1] / number,
        )  # fmt: skip
    return [_row(contender, clock, truth, batch) for contender, clock in pairs]


def errors(runs: Sequence[Trajectories], truth: Trajectories) -> Float[np.ndarray, " scenario"]:
    """Angle errors of the first scenarios of ``truth``, degrees."""
    x = np.concatenate([each.solution.x for each in runs])
    return angle_errors(first(truth, len(x)), x)


def first(truth: Trajectories, number: int) -> Trajectories:
    """The first trajectories of a batch, as far as errors need them."""
    solution = truth.solution
    if number == len(solution.x):
        return truth
    return trajectories(
        truth.grid,
        truth.scenarios.take(np.arange(number)),
        Sampled.of(solution.t, solution.x[:number], solution.ended[:number]),
        start=solution.start,
        failure=list(solution.failure[:number]),
        source=truth.source[0],
    )


def _row(contender: Contender, clock: Clock, truth: Trajectories, batch: int) -> Row:
    error = errors(clock.runs, truth)
    cpu, wall = (1e3 * np.array(each) / len(error) for each in (clock.cpu, clock.wall))
    solution = truth.solution
    known = solution.success | (solution.ended >= truth.separated)
    known = known[: len(error)]
    certificate = np.concatenate([each.certificate for each in clock.runs])
    summary = Errors.of(error[known], excluded=int((~known).sum()))
    promised = not np.isnan(contender.bound)
    return Row(
        name=contender.name,
        batch=batch,
        scenarios=len(error),
        cpu_ms=float(np.median(cpu)),
        cpu_ms_low=float(cpu.min()),
        cpu_ms_high=float(cpu.max()),
        wall_ms=float(np.median(wall)),
        p50_deg=summary.p50,
        p90_deg=summary.p90,
        max_deg=summary.max,
        excluded=summary.excluded,
        bound=contender.bound,
        above_bound=share_above(error[known], contender.bound) if promised else float("nan"),
        coverage=coverage(error[known], certificate[known]),
        training_cpu_s=contender.training,
        **_shares(clock.runs),
    )


def _shares(runs: Sequence[Trajectories]) -> dict[str, float]:
    windows = sum(
        (
            each.solution.windows.sum(1)
            for each in runs
            if isinstance(each.solution, HybridSolution)
        ),
        np.zeros(3),
    )
    if not windows.sum():
        return {}
    share = (windows / windows.sum()).tolist()
    return dict(zip(("net", "corrected", "classical"), share, strict=True))

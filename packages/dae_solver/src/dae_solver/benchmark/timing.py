"""Cost and error of solvers on the same scenarios, measured in turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dae_solver.hybrid.calibration import angle_errors
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.metrics import Errors, coverage, share_above
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.tasks.sampled import Sampled, trajectories
from dae_solver.tasks.solvers import Solver
from scimind.typing import Float

log = logging.getLogger(__name__)


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


@dataclass(kw_only=True)
class _Times:
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    runs: list[Trajectories] = field(default_factory=list)


def in_turn(
    contenders: Sequence[Contender],
    scenarios: Scenarios,
    truth: Trajectories,
    *,
    batch: int,
    rounds: int,
) -> list[Row]:
    """Measure all contenders in turn, so that a load of the machine meets them alike.

    Args:
        contenders: Who.
        scenarios: That each answers, ``batch`` at a time.
        truth: Tight trajectories of all of them.
        batch: How many at a time.
        rounds: Runs of each contender.
    """
    t_end, every = float(truth.t[-1]), float(truth.t[1])
    found = [_Times() for _ in contenders]
    for round_ in range(rounds):
        for contender, times in zip(contenders, found, strict=True):
            number = min(len(scenarios), contender.most or len(scenarios))
            parts = [
                scenarios.take(np.arange(first, min(first + batch, number)))
                for first in range(0, number, batch)
            ]

            def answer(solver: Solver = contender.solver, parts: list[Scenarios] = parts) -> None:
                with np.errstate(all="ignore"):  # long steps may be unstable: an infinite error
                    times.runs = [solver.simulate(one, t_end=t_end, every=every) for one in parts]  # noqa: B023

            cpu, wall = clocked(answer)
            times.cpu.append(1e3 * cpu / number)
            times.wall.append(1e3 * wall / number)
            log.info(
                "round %d, %d at a time: %s: %.3g ms of CPU",
                round_ + 1, batch, contender.name, times.cpu[-1],
            )  # fmt: skip
    return [
        _row(contender, times, truth, batch)
        for contender, times in zip(contenders, found, strict=True)
    ]


def clocked(act: Callable[[], object]) -> tuple[float, float]:
    """Process CPU time and wall time of a call, seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.process_time() - cpu, time.perf_counter() - wall


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


def _row(contender: Contender, times: _Times, truth: Trajectories, batch: int) -> Row:
    error = errors(times.runs, truth)
    solution = truth.solution
    known = solution.success | (solution.ended >= truth.separated)
    known = known[: len(error)]
    certificate = np.concatenate([each.certificate for each in times.runs])
    summary = Errors.of(error[known], excluded=int((~known).sum()))
    promised = not np.isnan(contender.bound)
    return Row(
        name=contender.name,
        batch=batch,
        scenarios=len(error),
        cpu_ms=float(np.median(times.cpu)),
        cpu_ms_low=min(times.cpu),
        cpu_ms_high=max(times.cpu),
        wall_ms=float(np.median(times.wall)),
        p50_deg=summary.p50,
        p90_deg=summary.p90,
        max_deg=summary.max,
        excluded=summary.excluded,
        bound=contender.bound,
        above_bound=share_above(error[known], contender.bound) if promised else float("nan"),
        coverage=coverage(error[known], certificate[known]),
        training_cpu_s=contender.training,
        **_shares(times.runs),
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

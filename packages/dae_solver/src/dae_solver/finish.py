"""What a training leaves behind: a calibrated operator, its test, and a report to look at."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import draw_groups, draw_scenarios
from dae_solver.fitting import Prepared
from dae_solver.hybrid.calibration import angle_errors, calibrate, reference
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.tasks.solvers import Clock, Hybrid, RungeKutta, Solver, Whole, to_and_fro
from scimind.eval.writing import write_whole
from scimind.provenance import cpu_seconds, hardware
from scimind.seeding import numpy_generator
from scimind.train import FitReport, RunFolder

log = logging.getLogger(__name__)

EVERY = 1 / 30
BASELINE_STEP = 1 / 30
BASELINE_TOLERANCE = 1e-6
# Timings are medians of so many alternating runs.
RUNS = 10


@dataclass(frozen=True, kw_only=True)
class Score:
    """How the hybrid solver did on test scenarios, for one bound.

    Attributes:
        bound: That was asked for, degrees.
        p50_deg: Median of the largest angle errors until separation.
        p90_deg: Their 90 % quantile.
        max_deg: The largest.
        above_bound: Trajectories with an error above the bound that was asked for.
        above_certificate: Trajectories with an error above the one that was returned with them.
        scenarios: So many were tested; none is left out.
        accepted: Share of windows that were accepted at once.
        corrected: Share that needed more corrections.
        classical: Share that the classical engine integrated.
        flagged: Share of scenarios that the engine integrated in part after faults were cleared.
        cpu_ms: CPU time of a scenario, with its angles at all outputs.
        whole_cpu_ms: The same with all states and voltages, which the others always work out.
        compiled_cpu_ms: The same of Runge-Kutta with 1/30 s in the same batch, compiled.
        single_cpu_ms: The same in single precision.
        baseline_cpu_ms: The same in NumPy, for all scenarios at once.
        faster: Than NumPy, as a ratio.
        faster_than_compiled: Than the compiled engine.
        faster_than_single: Than the compiled engine in single precision.
        faster_whole: Than the compiled engine, with all states and voltages.
        baseline_max_deg: Largest error of Runge-Kutta.
    """

    bound: float
    p50_deg: float
    p90_deg: float
    max_deg: float
    above_bound: int
    above_certificate: int
    scenarios: int
    accepted: float
    corrected: float
    classical: float
    flagged: float
    cpu_ms: float
    whole_cpu_ms: float
    compiled_cpu_ms: float
    single_cpu_ms: float
    baseline_cpu_ms: float
    faster: float
    faster_than_compiled: float
    faster_than_single: float
    faster_whole: float
    baseline_max_deg: float


def finish(
    config: TrainConfig,
    prepared: Prepared,
    operator: TrajectoryOperator,
    run: RunFolder,
    fitted: FitReport,
    spent: Mapping[str, float],
) -> list[Score]:
    """Calibrate, test on lines that neither training nor calibration saw, and report.

    Calibration looks at lines that training held out and at those that it saw, each by themselves:
    some of the latter are harder than all of the former.
    """
    from dae_solver.reports import training_report

    grid, lines, data = prepared.grid, prepared.lines, config.data
    unseen = lines.untouched or lines.trained
    begun = cpu_seconds()
    rng = numpy_generator(config.seed, "scenarios", "calibration")
    groups = list(dict.fromkeys([lines.calibration, lines.trained]))
    drawn = draw_groups(grid, groups, data, rng, data.calibration)
    group = np.repeat(np.arange(len(groups)), data.calibration)
    truth = reference(grid, drawn, data.t_end, EVERY)
    alpha = config.alpha
    certificates = [
        calibrate(grid, operator, drawn, truth, bound, alpha=alpha, group=group)
        for bound in sorted(config.angle, reverse=True)
    ]
    operator.facts["certificates"] = [each.facts() for each in certificates]
    operator.facts["training"] = {"ended": fitted.reason, "steps": fitted.progress.step}
    operator.save(run.path / "operator.safetensors")
    spent = {**spent, "calibration": cpu_seconds() - begun}
    rng = numpy_generator(config.seed, "scenarios", "test")
    tested = draw_scenarios(grid, unseen, data, rng, data.test)
    truth = reference(grid, tested, data.t_end, EVERY)
    outcomes = [measure(grid, operator, tested, truth, each.bound) for each in certificates]
    scores = [score for score, _ in outcomes]
    saved = [s.compiled_cpu_ms - s.cpu_ms for s in scores]
    total = 1e3 * sum(spent.values())
    results = {
        "case": grid.case.name,
        "load": config.load,
        "states": len(grid.dae.states),
        "equations": grid.dae.evaluated_by,
        "networks": grid.dae.networks_by,
        "test_lines": [grid.case.branches[k].id for k in unseen],
        "scores": [asdict(score) for score in scores],
        "validation": fitted.evaluation,
        "cpu_seconds": {name: round(value, 1) for name, value in spent.items()},
        "break_even_scenarios": [int(total / each) if each > 0 else None for each in saved],
        "hardware": hardware(),
    }
    write_whole(run.path / "results.json", json.dumps(results, indent=2, default=str) + "\n")
    for score in scores:
        log.info(
            "within %g deg: %.3g times as fast as RK4 1/30 s in NumPy, %.3g times as fast as "
            "compiled (%.3g with all states and voltages), %.3g in single precision; %.1f %% of "
            "windows classical; "
            "errors p50 %.2g, max %.2g deg; %d of %d above the bound",
            score.bound, score.faster, score.faster_than_compiled, score.faster_whole,
            score.faster_than_single,
            100 * score.classical,
            score.p50_deg, score.max_deg, score.above_bound, score.scenarios,
        )  # fmt: skip
    report = training_report(grid, truth, outcomes, results, run)
    report.write(run.path / "report.html")
    log.info("report: %s", run.path / "report.html")
    return scores


def measure(
    grid: PowerSystem,
    operator: TrajectoryOperator,
    scenarios: Scenarios,
    truth: Trajectories,
    bound: float,
) -> tuple[Score, Trajectories]:
    """Errors and cost of the hybrid solver beside those of the classical engine."""
    t_end, number = float(truth.t[-1]), len(scenarios)
    hybrid = Hybrid(grid=grid, operator=operator, certify=bound)
    engine = RungeKutta(grid=grid, step=BASELINE_STEP, tolerance=BASELINE_TOLERANCE)
    solvers: list[Solver] = [
        hybrid,
        engine,
        Whole(solver=hybrid),
        replace(engine, single=True),
        replace(engine, numpy=True),
    ]
    clocks = [Clock() for _ in solvers]
    timed = list(zip(clocks, solvers, strict=True))
    gc.freeze()  # what the training leaves behind is not looked through while solvers are timed
    # NumPy's, of which a run takes thirty times as long and leaves nothing in the caches, comes
    # last and by itself.
    for part, times in ((timed[:-1], RUNS), (timed[-1:], RUNS // 2)):
        for _, (clock, solver) in to_and_fro(part, times):
            clock.measure(solver, [scenarios], t_end=t_end, every=EVERY)
    gc.unfreeze()
    (runs,), (baseline,) = clocks[0].runs, clocks[1].runs
    ours, compiled, whole, single, plain = (np.array(clock.cpu) for clock in clocks)
    assert isinstance(runs.solution, HybridSolution)
    error = angle_errors(truth, runs.solution.x)
    windows = runs.solution.windows
    share = windows.sum(1) / windows.sum()
    score = Score(
        bound=bound,
        p50_deg=float(np.median(error)),
        p90_deg=float(np.quantile(error, 0.9)),
        max_deg=float(error.max()),
        above_bound=int((error > bound).sum()),
        above_certificate=int((error > runs.certificate).sum()),
        scenarios=number,
        accepted=float(share[0]),
        corrected=float(share[1]),
        classical=float(share[2]),
        flagged=float((runs.solution.refused > 0).mean()),
        cpu_ms=1e3 * float(np.median(ours)) / number,
        whole_cpu_ms=1e3 * float(np.median(whole)) / number,
        compiled_cpu_ms=1e3 * float(np.median(compiled)) / number,
        single_cpu_ms=1e3 * float(np.median(single)) / number,
        baseline_cpu_ms=1e3 * float(np.median(plain)) / number,
        faster=float(np.median(plain) / np.median(ours)),
        faster_than_compiled=float(np.median(compiled / ours)),
        faster_than_single=float(np.median(single / ours)),
        faster_whole=float(np.median(compiled / whole)),
        baseline_max_deg=float(angle_errors(truth, baseline.solution.x).max()),
    )
    return score, runs

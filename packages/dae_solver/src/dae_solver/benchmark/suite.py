"""The whole benchmark of an operator: its contenders, batches, and the sizes of systems."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.benchmark import ida
from dae_solver.benchmark.andes import AndesCost, measure_andes
from dae_solver.benchmark.sizes import SizeRow, measure_sizes
from dae_solver.benchmark.timing import STEPS, Contender, Row, classical, first, in_turn
from dae_solver.config.bench import BenchConfig
from dae_solver.data.draws import draw_scenarios
from dae_solver.hybrid.calibration import reference
from dae_solver.tasks.baselines.nearest import NearestTrajectory, make_library
from dae_solver.tasks.baselines.rest import AtRest
from dae_solver.tasks.solvers import Hybrid, Networks, Whole, clocked, runge_kutta_name
from dae_solver.trained import Trained
from scimind.seeding import numpy_generator

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Findings:
    """What a benchmark found.

    Attributes:
        case: Name of the grid.
        states: Number of its states.
        equations: What evaluated them.
        networks: What multiplied for the networks of operators.
        lines: Where the scenarios are.
        t_end: Their length, seconds.
        rows: The large batch, and one scenario at a time.
        sizes: Cost by size of the system.
        andes: Cost of ANDES for one simulation of a case of its own.
        andes_case: That case.
        notes: What was left out, and what else must be known.
    """

    case: str
    states: int
    lines: list[str]
    t_end: float
    equations: str = ""
    networks: str = ""
    rows: list[Row] = field(default_factory=list)
    sizes: list[SizeRow] = field(default_factory=list)
    andes: AndesCost | None = None
    andes_case: str = ""
    notes: list[str] = field(default_factory=list)

    def baseline(self, row: Row, step: float = STEPS[0], *, numpy: bool = False) -> Row:
        """The row of Runge-Kutta with this step and the same batch."""
        name = runge_kutta_name(step, numpy=numpy)
        return next(each for each in self.rows if each.name == name and each.batch == row.batch)

    def break_even(self, row: Row) -> int | None:
        """Scenarios after which training is paid back against compiled Runge-Kutta with 1/30 s.

        None where it never is.
        """
        saved = self.baseline(row).cpu_ms - row.cpu_ms
        return int(np.ceil(1e3 * row.training_cpu_s / saved)) if saved > 0 else None

    def table(self) -> list[dict[str, Any]]:
        """The rows with the ratios that follow from them."""
        return [
            {
                **asdict(row),
                **{
                    f"times_rk4_{round(1 / step)}": self.baseline(row, step).cpu_ms / row.cpu_ms
                    for step in STEPS
                },
                "times_numpy_30": self.baseline(row, numpy=True).cpu_ms / row.cpu_ms,
                "break_even": self.break_even(row),
            }
            for row in self.rows
        ]


def bench(config: BenchConfig) -> Findings:
    """Measure everything that the settings ask for."""
    trained = Trained.load(config.operator)
    settings, grid = trained.known_settings(), trained.grid
    lines = trained.untouched or trained.lines.trained
    findings = Findings(
        case=grid.case.name,
        states=len(grid.dae.states),
        lines=[grid.case.branches[k].id for k in lines],
        t_end=config.t_end,
    )
    rng = numpy_generator(settings.seed, "scenarios", f"bench {config.seed}")
    scenarios = draw_scenarios(grid, lines, settings.data, rng, config.batch)
    truth = reference(grid, scenarios, config.t_end, config.every)
    contenders = _contenders(config, trained, findings)
    findings.rows = in_turn(
        [one for one in contenders if one.most is None],
        scenarios,
        truth,
        batch=config.batch,
        rounds=config.rounds,
    )
    few = min(config.single, config.batch)
    findings.rows += in_turn(
        contenders,
        scenarios.take(np.arange(few)),
        first(truth, few),
        batch=1,
        rounds=config.rounds,
    )
    findings.equations, findings.networks = grid.dae.evaluated_by, grid.dae.networks_by
    findings.sizes = measure_sizes(config.sizes, seed=config.seed, rounds=config.rounds)
    if config.andes:
        findings.andes_case = config.andes_case
        findings.andes = measure_andes(
            config.andes, config.andes_case, t_end=config.t_end, rounds=config.rounds
        )
    else:
        findings.notes.append("ANDES: not run; andes= names the Python of an installation.")
    return findings


def _contenders(config: BenchConfig, trained: Trained, findings: Findings) -> list[Contender]:
    grid, operator = trained.grid, trained.operator
    spent = training_cost(trained)
    if spent is None:
        findings.notes.append("The cost of the training is unknown: results.json is missing.")
    cost = float("nan") if spent is None else spent
    found = classical(grid)
    for bound in sorted((each["bound"] for each in operator.facts["certificates"]), reverse=True):
        solver = Hybrid(grid=grid, operator=operator, certify=bound)
        for each in (solver, Whole(solver=solver)):
            found.append(Contender(name=each.name, solver=each, training=cost, bound=bound))
    alone = Networks(grid=grid, operator=operator)
    found.append(Contender(name=alone.name, solver=alone, training=cost))
    made: list[Any] = []
    simulation, _ = clocked(lambda: made.append(make_library(trained, config.nearest)))
    library = made[0]
    near = NearestTrajectory(trained, library)
    found.append(
        Contender(
            name=f"nearest of {len(library)} training trajectories",
            solver=near,
            training=simulation,
        )
    )
    if config.step_map:
        from dae_solver.tasks.baselines.step_map_training import fit_step_map

        fitted = fit_step_map(trained, library, cpu_seconds=config.step_map, seed=config.seed)
        found.append(
            Contender(
                name="step map, 0.2 s", solver=fitted, training=simulation + fitted.cpu_seconds
            )
        )
    else:
        findings.notes.append("Step map: not trained; step_map= is its CPU time, seconds.")
    found.append(Contender(name="state at rest", solver=AtRest(grid, config.every)))
    if config.ida and ida.is_available():
        solver_ = ida.Ida(grid=grid)
        found.append(Contender(name=solver_.name, solver=solver_, most=config.ida))
    elif config.ida:
        findings.notes.append(
            "IDA: not run, scikit-sundae is not installed (pip install 'scimind-dae-solver[ref]')."
        )
    return found


def training_cost(trained: Trained) -> float | None:
    """CPU time of simulation, training and calibration, seconds; None where it is unknown."""
    path = Path(trained.path).parent / "results.json"
    if not path.is_file():
        return None
    return float(sum(json.loads(path.read_text(encoding="utf-8"))["cpu_seconds"].values()))

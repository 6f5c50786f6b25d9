"""Cost by the size of the system."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from dae_solver.benchmark.timing import Contender, Row, classical, in_turn
from dae_solver.config.bench import SizesConfig
from dae_solver.config.data import DataConfig
from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import draw_scenarios, split_lines
from dae_solver.hybrid.calibration import reference
from dae_solver.physics.grid import PowerSystem
from dae_solver.tasks.solvers import Hybrid
from dae_solver.trained import Trained
from scimind.seeding import numpy_generator

log = logging.getLogger(__name__)

T_END, EVERY = 5.0, 1 / 30
# Narrow enough for the power flow of a large grid, and for governors that are near their limits.
LOADS = DataConfig(load_level=(0.93, 0.99), load_apart=0.01, clearing=(0.03, 0.2), held_out=0.0)


@dataclass(frozen=True, kw_only=True)
class SizeRow:
    """A solver on one system.

    Attributes:
        case: Name of the system.
        buses: Their number.
        machines: Their number.
        states: Their number.
        load: How loads depend on voltage.
        stable: Share of the scenarios that keep synchronism.
        row: Cost and error.
    """

    case: str
    buses: int
    machines: int
    states: int
    load: str
    stable: float
    row: Row


def measure_sizes(config: SizesConfig, *, seed: int, rounds: int) -> list[SizeRow]:
    """Measure all systems.

    Args:
        config: Which.
        seed: Of the scenarios.
        rounds: Runs of each solver.

    Raises:
        InputError: A case cannot be read or solved.
    """
    return [row for case in config.cases for row in _system(case, config, seed, rounds)]


def _system(case: str, config: SizesConfig, seed: int, rounds: int) -> list[SizeRow]:
    contenders, load = [], config.load
    if Path(case).is_dir():
        trained = Trained.load(case)
        grid, load = trained.grid, str(trained.operator.facts["load"])
        settings, lines = trained.known_settings(), trained.untouched or trained.lines.trained
        contenders = [
            Contender(name=solver.name, solver=solver, bound=bound)
            for bound in [each["bound"] for each in trained.operator.facts["certificates"]]
            for solver in [Hybrid(grid=grid, operator=trained.operator, certify=bound)]
        ]
    else:
        grid = PowerSystem.load(case, load=config.load)
        settings = TrainConfig(data=replace(LOADS), seed=seed)
        lines = split_lines(grid.dae, LOADS, seed).trained
    contenders = [*classical(grid), *contenders]
    rng = numpy_generator(settings.seed, "scenarios", f"sizes {seed}")
    scenarios = draw_scenarios(grid, lines, settings.data, rng, config.scenarios)
    truth = reference(grid, scenarios, T_END, EVERY)
    log.info("%s: %d buses, %d states", grid.case.name, len(grid.case.buses), len(grid.dae.states))
    return [
        SizeRow(
            case=grid.case.name,
            buses=len(grid.case.buses),
            machines=len(grid.dae.machine_ids),
            states=len(grid.dae.states),
            load=load,
            stable=float(truth.stable.mean()),
            row=row,
        )
        for row in in_turn(contenders, scenarios, truth, batch=config.scenarios, rounds=rounds)
    ]

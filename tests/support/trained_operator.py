"""A small operator of the nine-bus system for the tests of the hybrid solver."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dae_solver.config.data import DataConfig
from dae_solver.config.model import ModelConfig
from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import Lines, draw_scenarios
from dae_solver.data.windows import Windows, make_windows
from dae_solver.fitting import fit_operator, prepare
from dae_solver.hybrid.calibration import calibrate, reference
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from dae_solver.trained import Trained as TrainedRun
from scimind.config import save_resolved
from scimind.config.training import OptimizerConfig, ScheduleConfig
from scimind.device import setup
from scimind.seeding import numpy_generator
from scimind.train import RunFolder


@dataclass(frozen=True)
class Trained:
    """What the tests share: an operator, and scenarios on lines that it never saw."""

    config: TrainConfig
    grid: PowerSystem
    lines: Lines
    operator: TrajectoryOperator
    scenarios: Scenarios

    @cached_property
    def truth(self) -> Trajectories:
        """Tight trajectories of the scenarios."""
        found = reference(self.grid, self.scenarios, 5.0, 1 / 30)
        np.testing.assert_array_less(20, found.stable.sum())
        return found

    @cached_property
    def windows(self) -> Windows:
        """A few windows like those of the training."""
        return make_windows(
            self.grid,
            self.lines,
            self.config.data,
            self.operator.window,
            scenarios=40,
            seed=self.config.seed,
        )


def small_config(steps: int) -> TrainConfig:
    """Enough to be right for mild events."""
    return TrainConfig(
        model=ModelConfig(name="test", modes=80, width=96, experts=2),
        data=DataConfig(scenarios=300, calibration=100, test=60),
        steps=steps,
        evaluate_every=max(steps // 3, 1),
        batch=128,
        pool=1000,
        alpha=0.02,
        angle=(3.0,),
        optimizer=OptimizerConfig(learning_rate=3e-3, weight_decay=1e-5, beta2=0.99, ema=0.99),
        schedule=ScheduleConfig(warmup_steps=5, final_ratio=0.02),
    )


def train_small(folder: Path, config: TrainConfig) -> None:
    """Simulate, train and calibrate; the folder is one of ``python -m dae_solver.train``."""
    setup(threads=1)
    prepared = prepare(config)
    with RunFolder(folder) as run:
        _, operator = fit_operator(config, prepared, run)
    grid, lines = prepared.grid, prepared.lines
    drawn = drawn_for(grid, lines.calibration, config, "calibration", config.data.calibration)
    truth = reference(grid, drawn, 5.0, 1 / 30)
    operator.facts["certificates"] = [
        # It is to be asked although it is too small to pay.
        calibrate(grid, operator, drawn, truth, bound, alpha=config.alpha, alone=1.0).facts()
        for bound in config.angle
    ]
    operator.save(folder / "operator.safetensors")
    save_resolved(config, folder / "config.yaml")
    spent = {"cpu_seconds": {"simulation": 5.0, "training": 10.0, "calibration": 1.5}}
    (folder / "results.json").write_text(json.dumps(spent))


def load_small(folder: Path) -> Trained:
    """What :func:`train_small` made, with scenarios on lines that it never saw."""
    run = TrainedRun.load(folder)
    config, grid, lines = run.known_settings(), run.grid, run.lines
    grid.scenarios([])
    tested = drawn_for(grid, lines.untouched, config, "test", config.data.test)
    return Trained(config, grid, lines, run.operator, tested)


def drawn_for(
    grid: PowerSystem, lines: Sequence[int], config: TrainConfig, name: str, number: int
) -> Scenarios:
    """Scenarios on some lines, as a training with this configuration draws them."""
    rng = numpy_generator(config.seed, "scenarios", name)
    return draw_scenarios(grid, lines, config.data, rng, number)

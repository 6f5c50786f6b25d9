"""A small operator of the nine-bus system for the tests of the hybrid solver."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dae_solver.config.data import DataConfig
from dae_solver.config.model import ModelConfig
from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import draw_scenarios
from dae_solver.fitting import Prepared, fit_operator, prepare
from dae_solver.hybrid.calibration import calibrate, reference
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from scimind.config.training import OptimizerConfig, ScheduleConfig
from scimind.seeding import numpy_generator
from scimind.train import RunFolder


@dataclass(frozen=True)
class Trained:
    """What the tests share."""

    config: TrainConfig
    prepared: Prepared
    operator: TrajectoryOperator
    scenarios: Scenarios
    truth: Trajectories

    @property
    def grid(self) -> PowerSystem:
        return self.prepared.grid


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


def train_small(folder: Path, steps: int = 400) -> Trained:
    """Simulate, train and calibrate, and draw scenarios on a line that was never seen."""
    config = small_config(steps)
    prepared = prepare(config)
    with RunFolder(folder) as run:
        _, operator = fit_operator(config, prepared, run)
    grid, lines = prepared.grid, prepared.lines
    rng = numpy_generator(config.seed, "scenarios", "calibration")
    some = [*lines.trained, lines.held_out[0]]
    drawn = draw_scenarios(grid, some, config.data, rng, 100)
    truth = reference(grid, drawn, 5.0, 1 / 30)
    made = calibrate(grid, operator, drawn, truth, 3.0, alpha=config.alpha)
    operator.facts["certificates"] = [made.facts()]
    rng = numpy_generator(config.seed, "scenarios", "test")
    tested = draw_scenarios(grid, lines.held_out[1:], config.data, rng, 60)
    truth = reference(grid, tested, 5.0, 1 / 30)
    np.testing.assert_array_less(20, truth.stable.sum())
    return Trained(config, prepared, operator, tested, truth)

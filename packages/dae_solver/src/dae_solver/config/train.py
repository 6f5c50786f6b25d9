"""Configuration of ``python -m dae_solver.train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dae_solver.config.data import DataConfig
from dae_solver.config.grid import GridConfig
from dae_solver.config.model import ModelConfig
from scimind.config.parallel import ParallelConfig
from scimind.config.training import TrainingConfig


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig, GridConfig):
    """Settings of a training run.

    Attributes:
        model: Size of the operator.
        data: Scenarios that are simulated.
        batch: Windows of a step, and as many residuals.
        physics: Weight of the residual of predictions in the loss, which needs no trajectories.
        physics_batch: Windows of a step whose residual it is.
        pool: Windows whose residuals the corrector learns from between two evaluations.
        angle: Bounds that the certificate is made for, degrees.
        alpha: Share of trajectories that may exceed their bound.
        parallel: Data parallelism.
        monitor: Validation score that chooses the best checkpoint.
        monitor_mode: Whether a small or a large score is good.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    batch: int = 256
    physics: float = 0.0
    physics_batch: int = 64
    pool: int = 20000
    angle: tuple[float, ...] = (3.0, 0.1)
    alpha: float = 0.001
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    monitor: str = "corrected_p90_deg"
    monitor_mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("batch", "pool", "physics_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not self.physics >= 0:
            raise ValueError(f"physics={self.physics} must be 0 (off) or positive")
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha={self.alpha} must be between 0 and 1")
        if not self.angle or min(self.angle) <= 0:
            raise ValueError(f"angle={self.angle} must be positive bounds, degrees")

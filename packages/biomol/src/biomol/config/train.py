"""Configuration of ``python -m biomol.train``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from biomol.config.data import DataConfig
from biomol.config.loss import LossConfig
from biomol.config.model import ModelConfig
from scimind.config.parallel import ParallelConfig
from scimind.config.training import TrainingConfig


@dataclass(kw_only=True)
class ReportConfig:
    """What is scored when training has ended.

    Attributes:
        test: Score the test part of every data set; off leaves the validation scores.
        structures: Test molecules whose structure is predicted and written as mmCIF.
        num_steps: Steps of the structure sampler.
    """

    test: bool = True
    structures: int = 32
    num_steps: int = 10


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig):
    """Settings of a training run.

    Attributes:
        model: Size of the network.
        data: What it is trained on.
        loss: Weights of the loss terms.
        parallel: Data parallelism.
        report: What is scored at the end.
        monitor: Validation score that chooses the best checkpoint.
        monitor_mode: Whether a small or a large score is good.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    report: ReportConfig = field(default_factory=ReportConfig)
    monitor: str = "score"
    monitor_mode: Literal["min", "max"] = "max"

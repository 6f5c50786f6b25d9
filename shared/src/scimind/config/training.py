"""How long, how fast and how carefully a network is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from scimind.config.run import RunConfig

OptimizerName = Literal["adamw", "sgd"]
ScheduleName = Literal["constant", "linear", "cosine", "wsd"]
NanPolicy = Literal["skip", "stop"]


@dataclass(kw_only=True)
class OptimizerConfig:
    """The rule that turns gradients into new parameters.

    Attributes:
        name: ``adamw`` (Loshchilov and Hutter, 2019) or ``sgd`` with momentum.
        learning_rate: Peak of the schedule.
        weight_decay: Decoupled decay: each update shrinks a weight by learning rate times this.
        beta1: Memory of the gradient mean; the momentum of ``sgd``.
        beta2: Memory of the squared gradient.
        epsilon: Added to the root of the squared gradient.
        decay_vectors: Also decay parameters of fewer than two dims (biases, norm scales).
        no_decay: Patterns such as ``*embedding*`` of further parameter names without decay.
        clip_norm: Largest global gradient norm, longer gradients are shortened to it; 0 is off.
        ema: Decay of the moving average of the parameters used in evaluation; 0 is off.
    """

    name: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    decay_vectors: bool = False
    no_decay: tuple[str, ...] = ()
    clip_norm: float = 1.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("weight_decay", "clip_norm"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value} must be 0 (off) or positive")
        for name in ("learning_rate", "epsilon"):
            value = getattr(self, name)
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value} must be positive")
        for name in ("beta1", "beta2", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be in [0, 1)")


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate over the steps, as a share of its peak.

    Attributes:
        name: Shape after the warm-up; ``wsd`` stays at the peak and falls in the last part.
        warmup_steps: Steps of linear rise from zero.
        final_ratio: What is left of the peak at the end; ``constant`` ignores it.
        decay_share: Part of the steps in which ``wsd`` falls.
        steps: Step at which the end is reached; 0 takes the steps of the run.
    """

    name: ScheduleName = "cosine"
    warmup_steps: int = 0
    final_ratio: float = 0.0
    decay_share: float = 0.2
    steps: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.warmup_steps < 0 or self.steps < 0:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} and steps={self.steps} must not be negative"
            )
        if self.steps and self.warmup_steps > self.steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} exceeds steps={self.steps} of the schedule"
            )
        if not 0 <= self.final_ratio <= 1:
            raise ValueError(f"final_ratio={self.final_ratio} must be in [0, 1]")
        if not 0 < self.decay_share <= 1:
            raise ValueError(f"decay_share={self.decay_share} must be in (0, 1]")


@dataclass(kw_only=True)
class CheckpointConfig:
    """When the state of a run is saved, what is kept, and where a run starts.

    Attributes:
        every: Steps between two checkpoints; 0 saves by time, after improvements and at the end.
        every_minutes: Wall minutes between two checkpoints; 0 is off.
        keep: Newest checkpoints kept; the best one is kept besides.
        resume: ``auto`` goes on from the newest intact checkpoint of the run folder, ``never``
            demands an empty folder, anything else is the checkpoint folder to go on from.
    """

    every: int = 0
    every_minutes: float = 10.0
    keep: int = 2
    resume: str = "auto"

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.every < 0 or not self.every_minutes >= 0:
            raise ValueError(
                f"every={self.every} and every_minutes={self.every_minutes} must not be negative"
            )
        if self.keep < 1:
            raise ValueError(f"keep={self.keep} must be at least 1 checkpoint")
        if not self.resume:
            raise ValueError("resume is empty; use auto, never or a checkpoint folder")


@dataclass(kw_only=True)
class LoopConfig:
    """When training stops, and what it does on the way.

    A schema of a command may inherit from this class, so that ``steps=`` and ``max_minutes=`` are
    top-level keys.

    Attributes:
        steps: Optimizer steps.
        max_minutes: Wall-clock budget over all sessions of a run; 0 is no limit.
        max_cpu_minutes: Budget of process CPU time (user and system); 0 is no limit.
        accumulate: Batches whose mean gradient makes one step.
        evaluate_every: Steps between evaluations; 0 evaluates at the end only.
        monitor: Entry of the evaluation that chooses the best checkpoint.
        monitor_mode: Whether a small or a large score is good.
        patience: Evaluations without improvement after which training stops; 0 never.
        nan_policy: After a loss or gradient that is not finite, ``skip`` the update, or ``stop``.
        max_skipped: Skipped updates in a row after which training stops.
    """

    steps: int = 1000
    max_minutes: float = 0.0
    max_cpu_minutes: float = 0.0
    accumulate: int = 1
    evaluate_every: int = 0
    monitor: str = "loss"
    monitor_mode: Literal["min", "max"] = "min"
    patience: int = 0
    nan_policy: NanPolicy = "skip"
    max_skipped: int = 10

    def __post_init__(self) -> None:
        """Check the ranges."""
        inherited = getattr(super(), "__post_init__", None)
        if inherited is not None:
            inherited()
        for name in ("steps", "accumulate", "max_skipped"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        for name in ("max_minutes", "max_cpu_minutes", "evaluate_every", "patience"):
            value = getattr(self, name)
            if not (value >= 0 and math.isfinite(value)):
                raise ValueError(f"{name}={value} must be 0 (off) or positive")


@dataclass(kw_only=True)
class TrainingConfig(LoopConfig, RunConfig):
    """Base of the schema of every ``train`` command: what `scimind.train.fit` needs.

    Attributes:
        optimizer: Rule that turns gradients into new parameters.
        schedule: Learning rate over the steps.
        checkpoint: When the state is saved and where a run starts.
    """

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

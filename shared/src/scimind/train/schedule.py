"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from scimind.config.training import OptimizerConfig, ScheduleConfig
from scimind.errors import ConfigError


class Schedule:
    """Linear warm-up, then the shape that the configuration names.

    Step 0 is the first update. The warm-up gives it 1/(w+1) of the peak and reaches the peak at
    step w = ``warmup_steps``; the decay would reach ``final_ratio`` at the step after the last one
    (so that no step is spent at zero) and stays there.

    Args:
        config: Shape.
        peak: Learning rate at the top.
        steps: Steps of the run, used where the configuration does not set its own.

    Raises:
        ConfigError: The warm-up is longer than the schedule.

    Example:
        >>> schedule = Schedule(ScheduleConfig(name="cosine", warmup_steps=10), 1e-3, steps=100)
        >>> schedule(0) < schedule(10) == 1e-3 > schedule(99) > schedule(100) == 0.0
        True
    """

    def __init__(self, config: ScheduleConfig, peak: float, steps: int) -> None:
        self.config = config
        self.peak = peak
        self.steps = config.steps or steps
        if config.warmup_steps > self.steps:
            raise ConfigError(
                f"schedule.warmup_steps={config.warmup_steps} exceeds the {self.steps} steps of "
                "the run; shorten the warm-up or train longer"
            )

    def __call__(self, step: int) -> float:
        """Learning rate of one step, counted from 0."""
        return self.peak * self.ratio(step)

    def ratio(self, step: int) -> float:
        """Share of the peak at one step."""
        config = self.config
        if step < config.warmup_steps:
            return (step + 1) / (config.warmup_steps + 1)
        if config.name == "constant":
            return 1.0
        span = self.steps - config.warmup_steps
        length = max(1, math.ceil(span * config.decay_share)) if config.name == "wsd" else span
        begin = self.steps - length
        progress = min(1.0, max(0.0, (step - begin) / max(1, length)))
        if config.name == "cosine":
            remaining = 0.5 * (1.0 + math.cos(math.pi * progress))
        else:
            remaining = 1.0 - progress
        return config.final_ratio + (1.0 - config.final_ratio) * remaining


def make_schedule(optimizer: OptimizerConfig, schedule: ScheduleConfig, steps: int) -> Schedule:
    """The schedule of a run of ``steps`` optimizer steps."""
    return Schedule(schedule, optimizer.learning_rate, steps)

"""The settings that every command of every package shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

DeviceTarget = Literal["cpu", "ascend"]
Precision = Literal["fp32", "fp16", "bf16"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(kw_only=True)
class DeviceConfig:
    """Where and how the arithmetic is done.

    Attributes:
        device: Target of every operator.
        precision: Type of the matrix products; parameters, reductions and losses stay fp32.
        deterministic: Same inputs, same machine, same bits.
        threads: CPU threads of one process; 0 takes the cores the process may use.
    """

    device: DeviceTarget = "cpu"
    precision: Precision = "fp32"
    deterministic: bool = True
    threads: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        # A command's schema may put another base beside this one.
        inherited = getattr(super(), "__post_init__", None)
        if inherited is not None:
            inherited()
        if self.threads < 0:
            raise ValueError(f"threads={self.threads} must be 0 (automatic) or positive")


@dataclass(kw_only=True)
class LogConfig:
    """What a run tells while it works.

    Attributes:
        level: Least severe message that is shown.
        every: Steps between two lines of metrics.
        progress: Draw a progress bar; without a terminal, plain lines are printed instead.
        tensorboard: Also write an event file that TensorBoard reads.
    """

    level: LogLevel = "info"
    every: int = 10
    progress: bool = True
    tensorboard: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.every < 1:
            raise ValueError(f"log.every={self.every} must be at least 1 step")


@dataclass(kw_only=True)
class RunConfig(DeviceConfig):
    """Base of the schema of every command.

    Attributes:
        seed: Root of every random stream: same seed, same run.
        output: Folder of the run; empty makes ``outputs/<package>/<verb>/<date-time>``.
        log: What the run tells while it works.
    """

    seed: int = 0
    output: str = ""
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed={self.seed} must be in [0, 2^31)")

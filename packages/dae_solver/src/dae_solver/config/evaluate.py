"""Configuration of ``python -m dae_solver.evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field

from dae_solver.config.grid import positive
from scimind.config import RunConfig


@dataclass(kw_only=True)
class EvaluateDataConfig:
    """Where stored trajectories are.

    Attributes:
        root: Data folder that holds ``dae_solver/``; ``$SCIMIND_DATA`` by default.
    """

    root: str = ""


@dataclass(kw_only=True)
class EvaluateConfig(RunConfig):
    """Settings of an evaluation.

    Attributes:
        operator: Run folder of ``python -m dae_solver.train``.
        task: Names of tasks, as ``unseen_lines`` or ``[unseen_lines,every_kind]``; ``all`` takes
            those that draw scenarios and, where there is a data folder, the stored ones of the
            operator's grid.
        certify: Angle error that the operator is asked to stay within, degrees.
        scenarios: Scenarios that a task draws.
        nearest: Training trajectories that are made again for the baseline that looks up the
            nearest one.
        data: Where stored trajectories are.
        limit: Score only the first items, for a quick look; 0 scores all.
        resamples: Bootstrap resamples behind the confidence intervals.
    """

    operator: str
    task: str | list[str] = "all"
    certify: float = 3.0
    scenarios: int = 200
    nearest: int = 2000
    data: EvaluateDataConfig = field(default_factory=EvaluateDataConfig)
    limit: int = 0
    resamples: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(certify=self.certify)
        for name, least in (("scenarios", 1), ("nearest", 1), ("resamples", 100), ("limit", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")

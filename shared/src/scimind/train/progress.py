"""How far a run is: the counters that a checkpoint keeps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from scimind.errors import CheckpointError


@dataclass
class IntervalMeans:
    """Means since the last line of metrics; NaN entries of a metric do not count.

    Attributes:
        steps: Steps since the last line, skipped ones included.
        examples: Examples in them.
        count: Finite steps.
        loss: Sum of their losses.
        grad_norm: Sum of their gradient norms.
        metrics: Sums of the metrics that were not NaN.
        metric_counts: How many these were.
    """

    steps: int = 0
    examples: int = 0
    count: int = 0
    loss: float = 0.0
    grad_norm: float = 0.0
    metrics: list[float] = field(default_factory=list)
    metric_counts: list[int] = field(default_factory=list)

    def add(self, loss: float, grad_norm: float, metrics: Sequence[Sequence[float]]) -> None:
        """Count one finite step; ``metrics`` has one row per batch of it."""
        self.count += 1
        self.loss += loss
        self.grad_norm += grad_norm
        table = np.asarray(metrics, np.float64)
        known = np.isfinite(table)
        sums = np.where(known, table, 0.0).sum(axis=0)
        old_sums = np.asarray(self.metrics or np.zeros(table.shape[1]))
        old_counts = np.asarray(self.metric_counts or np.zeros(table.shape[1], np.int64))
        self.metrics = (old_sums + sums).tolist()
        self.metric_counts = (old_counts + known.sum(axis=0)).tolist()

    def means(self, names: Sequence[str]) -> dict[str, float]:
        """Loss, gradient norm and the metrics that were known at least once."""
        if not self.count:
            return {}
        values = {"loss": self.loss / self.count, "grad_norm": self.grad_norm / self.count}
        for name, total, count in zip(names, self.metrics, self.metric_counts, strict=False):
            if count:
                values[name] = total / count
        return values


@dataclass
class Progress:
    """Counters of a run over all its sessions.

    Attributes:
        step: Steps made, skipped updates included.
        batches: Batches consumed.
        skipped: Updates left out because loss or gradient was not finite.
        skipped_in_row: How many of them since the last update.
        evaluated_step: Step of the last finished evaluation.
        best_score: Best value of the monitor.
        best_step: Its step.
        without_improvement: Evaluations since then.
        wall_s: Seconds of training, evaluation and saving.
        cpu_s: Process CPU seconds of the same.
        interval: Means since the last line of metrics.
    """

    step: int = 0
    batches: int = 0
    skipped: int = 0
    skipped_in_row: int = 0
    evaluated_step: int = -1
    best_score: float | None = None
    best_step: int | None = None
    without_improvement: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    interval: IntervalMeans = field(default_factory=IntervalMeans)

    def to_json(self) -> dict[str, Any]:
        """Plain values; floats survive JSON exactly."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> Progress:
        """The inverse of `to_json`.

        Raises:
            CheckpointError: A counter is missing or unknown.
        """
        expected = {item.name for item in fields(cls)}
        if not isinstance(values, dict) or set(values) != expected:
            found = sorted(values) if isinstance(values, dict) else values
            raise CheckpointError(f"progress in the checkpoint is {found}, not {sorted(expected)}")
        return cls(**{**values, "interval": IntervalMeans(**values["interval"])})

    def score(self, value: float, mode: str) -> bool:
        """Take the score of an evaluation; True when it is the best so far."""
        if not math.isfinite(value):
            better = False
        elif self.best_score is None:
            better = True
        else:
            better = value < self.best_score if mode == "min" else value > self.best_score
        if better:
            self.best_score, self.best_step, self.without_improvement = value, self.step, 0
        else:
            self.without_improvement += 1
        return better

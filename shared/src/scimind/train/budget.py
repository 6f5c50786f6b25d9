"""Steps and minutes: when a run has had enough."""

from __future__ import annotations

import time

from scimind.config.training import LoopConfig
from scimind.train.progress import Progress


class Budget:
    """Measures a session on top of what earlier sessions used.

    Args:
        config: ``steps``, ``max_minutes``, ``max_cpu_minutes``.
        progress: Takes the seconds, for the next checkpoint.
    """

    def __init__(self, config: LoopConfig, progress: Progress) -> None:
        self._config = config
        self._progress = progress
        self._first_step = progress.step
        self._earlier = (progress.wall_s, progress.cpu_s)
        self._start = (time.perf_counter(), time.process_time())

    def measure(self) -> None:
        """Bring the seconds in the progress up to date."""
        wall, cpu = self._start
        self._progress.wall_s = self._earlier[0] + time.perf_counter() - wall
        self._progress.cpu_s = self._earlier[1] + time.process_time() - cpu

    def exhausted(self) -> str:
        """Why the run is over, or an empty text."""
        self.measure()
        config, progress = self._config, self._progress
        if progress.step >= config.steps:
            return "steps"
        if config.max_minutes and progress.wall_s >= config.max_minutes * 60:
            return "max_minutes"
        if config.max_cpu_minutes and progress.cpu_s >= config.max_cpu_minutes * 60:
            return "max_cpu_minutes"
        return ""

    def seconds_left(self) -> float:
        """Estimate from the speed of this session, cut by the minutes allowed."""
        self.measure()
        config, progress = self._config, self._progress
        spent = progress.wall_s - self._earlier[0]
        per_step = spent / max(1, progress.step - self._first_step)
        left = per_step * (config.steps - progress.step)
        if config.max_minutes:
            left = min(left, config.max_minutes * 60 - progress.wall_s)
        if config.max_cpu_minutes:
            cpu = progress.cpu_s - self._earlier[1]
            share = max(cpu / max(spent, 1e-9), 1e-9)
            left = min(left, (config.max_cpu_minutes * 60 - progress.cpu_s) / share)
        return max(0.0, left)

"""What a loop tells while it works: metrics file, TensorBoard, terminal."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from scimind.config.training import TrainingConfig
from scimind.train.display import Display
from scimind.train.metrics_log import MetricsLog
from scimind.train.progress import IntervalMeans, Progress
from scimind.train.run_folder import RunFolder

_log = logging.getLogger(__name__)


@dataclass
class _Clock:
    start: float = field(default_factory=time.perf_counter)
    waited_s: float = 0.0
    compiling_s: float = 0.0


class Reporter:
    """Writes the lines of a run; silent in the processes that do not own its folder.

    Args:
        config: ``steps`` and ``log``.
        run: Folder of the run.
        progress: Counters of the run.
        position: Bytes of the metrics file to keep.
    """

    def __init__(
        self, config: TrainingConfig, run: RunFolder, progress: Progress, position: int
    ) -> None:
        self.metrics: MetricsLog | None = None
        self._config, self._progress = config, progress
        self._clock = _Clock()
        if run.writer:
            events = run.tensorboard if config.log.tensorboard else None
            self.metrics = MetricsLog(run.metrics, events, position=position, step=progress.step)
        self._display = Display(config.steps, progress.step, bar=config.log.progress and run.writer)

    def waited(self, seconds: float) -> None:
        """Count time spent waiting for data."""
        self._clock.waited_s += seconds

    def compiled(self, seconds: float) -> None:
        """Count the time of a step whose graph was compiled; throughput leaves it out."""
        self._clock.compiling_s += seconds

    def paused(self, seconds: float) -> None:
        """Count time spent on evaluation or saving; throughput leaves it out."""
        self._clock.start += seconds

    def step(
        self, names: tuple[str, ...], learning_rate: float, graphs: int, seconds_left: float
    ) -> None:
        """Move the bar and, at the end of an interval, write its means.

        Args:
            names: Metric names.
            learning_rate: Of the last step.
            graphs: Compiled graphs so far.
            seconds_left: Estimate for the bar.
        """
        progress = self._progress
        self._display.advance(progress.step)
        if progress.step % self._config.log.every:
            return
        interval, clock = progress.interval, self._clock
        means = {**interval.means(names), "learning_rate": learning_rate}
        working = max(time.perf_counter() - clock.start - clock.compiling_s, 1e-9)
        speed = {
            "steps_per_s": interval.steps / working,
            "examples_per_s": interval.examples / working,
            "data_wait_share": min(1.0, clock.waited_s / working),
            "compiling_s": clock.compiling_s,
            "graphs": graphs,
            "skipped": progress.skipped,
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        if self.metrics is not None:
            rounded = {name: float(f"{value:.4g}") for name, value in speed.items()}
            self.metrics.write("train", progress.step, {**means, **rounded})
        shown = {**means, "steps/s": speed["steps_per_s"]}
        self._display.report(progress.step, shown, seconds_left)
        progress.interval = IntervalMeans()
        self._clock = _Clock()

    def evaluation(self, scores: Mapping[str, float], seconds: float, improved: bool) -> None:
        """Write the scores of an evaluation."""
        if self.metrics is not None:
            record = {**scores, "evaluation_s": round(seconds, 3)}
            self.metrics.write("evaluation", self._progress.step, record)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in scores.items())
        best = " (best so far)" if improved else ""
        _log.info("evaluation at step %d: %s%s", self._progress.step, shown, best)

    def position(self) -> int:
        """Make the metrics durable; returns how far the file reaches."""
        return self.metrics.flush() if self.metrics is not None else 0

    def close(self) -> None:
        """Close the files and leave the terminal as it was."""
        self._display.close()
        if self.metrics is not None:
            self.metrics.close()

"""Between a running loop and its checkpoints: when to save, what, and how to go on."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from scimind.config import to_plain
from scimind.config.training import TrainingConfig
from scimind.data.stream import Stream
from scimind.errors import CheckpointError, ConfigError
from scimind.train import checkpoint as checkpoints
from scimind.train import history
from scimind.train.progress import Progress
from scimind.train.run_folder import RunFolder
from scimind.train.step import TrainStep

_log = logging.getLogger(__name__)

_FREE_SETTINGS = ("output", "log", "checkpoint")


class Saver:
    """Saves the state of a loop and brings it back.

    Attributes:
        progress: Counters; those of the checkpoint after `resume`.
        evaluation: The last evaluation.
        metrics_position: Bytes of the metrics file that belong to the resumed past.
        saved_step: Step of the newest checkpoint in this run's folder; -1 without.
    """

    def __init__(
        self, step: TrainStep, data: Stream[Any], config: TrainingConfig, run: RunFolder
    ) -> None:
        self.progress = Progress()
        self.evaluation: dict[str, float] = {}
        self.metrics_position = 0
        self.saved_step = -1
        self._step, self._data, self._config, self._run = step, data, config, run
        self._saved_at = time.perf_counter()

    def due(self) -> bool:
        """Whether the configuration asks for a checkpoint at this step."""
        config, step = self._config.checkpoint, self.progress.step
        if step == 0 or step == self.saved_step:
            return False
        minutes = (time.perf_counter() - self._saved_at) / 60
        by_time = 0 < config.every_minutes <= minutes
        return by_time or (config.every > 0 and step % config.every == 0)

    def save(self, metrics_position: int) -> None:
        """Write a checkpoint of this step, unless there is one, and remove old ones.

        Raises:
            EnvironmentProblem: The disk is full or not writable.
        """
        progress = self.progress
        if self.saved_step == progress.step or not self._run.writer:
            return
        state = {
            "step": progress.step,
            "seed": self._config.seed,
            "progress": progress.to_json(),
            "data": self._data.state(),
            "metrics_position": metrics_position,
            "metric_names": list(self._step.metric_names),
            "evaluation": self.evaluation,
            "settings": to_plain(self._config),
        }
        folder = history.step_folder(self._run.checkpoints, progress.step)
        checkpoints.save(folder, self._step, state)
        self.saved_step = progress.step
        self._saved_at = time.perf_counter()
        history.prune(self._run.checkpoints, self._config.checkpoint.keep, progress.best_step)

    def resume(self) -> None:
        """Bring step, data and counters to the state of the checkpoint to go on from, if any.

        Raises:
            CheckpointError: It is damaged or does not fit.
            ConfigError: The folder already holds another run.
        """
        folder = self._run.checkpoints
        found = self._choose(folder)
        if found is None:
            return
        checkpoints.restore(self._step, found)
        state = found.state
        try:
            self.progress = Progress.from_json(state["progress"])
            self.evaluation = dict(state["evaluation"])
            position, data, saved = state["metrics_position"], state["data"], state["settings"]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{found.path} lacks the state of a run: {error!r}") from error
        self._data.restore(data)
        if found.path.parent == folder:
            self.saved_step, self.metrics_position = found.step, position
            if self._run.writer:
                history.set_aside_newer(folder, found.step)
        else:
            # The best checkpoint so far lies in the other run's folder: this one chooses its own.
            self.progress.best_score = self.progress.best_step = None
            self.progress.without_improvement = 0
        _log.info("going on from %s, step %d", found.path, found.step)
        for line in _differences(saved, to_plain(self._config)):
            _log.warning("other than in the checkpoint: %s", line)

    def last(self) -> Path:
        """Folder of the newest checkpoint."""
        return history.step_folder(self._run.checkpoints, self.saved_step)

    def best(self) -> Path:
        """Folder of the best checkpoint; the newest one without an evaluation."""
        step = self.progress.best_step
        return self.last() if step is None else history.step_folder(self._run.checkpoints, step)

    def _choose(self, folder: Path) -> checkpoints.Checkpoint | None:
        choice = self._config.checkpoint.resume
        if choice == "auto":
            return history.newest_intact(folder)
        if history.list_steps(folder):
            raise ConfigError(
                f"{folder} already holds checkpoints; use checkpoint.resume=auto to go on with "
                "them, or set output= to a new folder"
            )
        return None if choice == "never" else history.load_or_offer(Path(choice))


def _differences(saved: Any, now: Any, path: str = "") -> list[str]:
    if isinstance(saved, dict) and isinstance(now, dict):
        lines = []
        for key in {**saved, **now}:
            if path or key not in _FREE_SETTINGS:
                inner = f"{path}.{key}" if path else key
                lines += _differences(saved.get(key), now.get(key), inner)
        return lines
    return [] if saved == now else [f"{path}={now} instead of {saved}"]

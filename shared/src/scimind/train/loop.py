"""The training loop."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from mindspore import nn

from scimind.config.training import TrainingConfig
from scimind.data.stream import Stream
from scimind.device.huge_pages import use_huge_pages
from scimind.errors import ConfigError
from scimind.seeding import step_key
from scimind.train.budget import Budget
from scimind.train.display import duration
from scimind.train.nonfinite import handle_nonfinite
from scimind.train.plots import plot_metrics
from scimind.train.progress import Progress
from scimind.train.reporting import Reporter
from scimind.train.run_folder import RunFolder
from scimind.train.saving import Saver
from scimind.train.schedule import make_schedule
from scimind.train.signals import EvaluationInterrupted, Signals, Terminated
from scimind.train.step import TrainStep

_log = logging.getLogger(__name__)

Evaluate = Callable[[nn.Cell], dict[str, float]]

_REASONS = ("", "steps", "max_minutes", "max_cpu_minutes", "signal")


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """How a training ended.

    Attributes:
        reason: ``steps``, ``max_minutes``, ``max_cpu_minutes``, ``patience`` or ``data``.
        progress: All counters.
        evaluation: The last evaluation.
        last: Folder of the last checkpoint.
        best: Folder of the best one on the monitor; the last one without evaluation.
    """

    reason: str
    progress: Progress
    evaluation: dict[str, float]
    last: Path
    best: Path


def batch_arguments(batch: Any) -> tuple[Any, ...]:
    """Arguments of the loss cell: the values of a dict, or the items of a tuple, in order."""
    return tuple(batch.values()) if isinstance(batch, dict) else tuple(batch)


@dataclass(kw_only=True)
class Hooks:
    """What a package adds to the loop.

    Attributes:
        evaluate: Scores the network on validation data, one entry being ``config.monitor``. The
            network has its averaged parameters and is in evaluation mode meanwhile.
        arguments: Batch to arguments of the loss cell after the key.
        names: Batch to the names of its examples, told when its loss is not finite.
        started: Called once the state to go on from, if any, has been found to fit this run.
        agree: Largest value over the processes of a parallel job, called once per step so that
            all of them stop at the same one.
    """

    evaluate: Evaluate | None = None
    arguments: Callable[[Any], tuple[Any, ...]] = batch_arguments
    names: Callable[[Any], Sequence[str]] | None = None
    started: Callable[[], None] | None = None
    agree: Callable[[int], int] | None = None


def fit(
    step: TrainStep,
    data: Stream[Any],
    config: TrainingConfig,
    run: RunFolder,
    hooks: Hooks | None = None,
) -> FitReport:
    """Train until the steps, the minutes, the patience or the data are used up.

    A run that finds checkpoints in its folder goes on from the newest intact one
    (``config.checkpoint.resume``); its losses equal those of an uninterrupted run in every bit.

    Args:
        step: From `make_train_step`, with ``accumulate=config.accumulate``.
        data: Endless resumable stream of batches.
        config: Seed, length, schedule, evaluation, checkpoints, logs.
        run: An entered run folder.
        hooks: Evaluation and what is special about the batches.

    Raises:
        NumericsError: Losses or gradients were not finite too often.
        Terminated: SIGTERM or SIGINT; the state is saved.
        CheckpointError: The folder holds checkpoints of another model or damaged ones only.
        EnvironmentProblem: A checkpoint cannot be written.

    Example:
        >>> with RunFolder("outputs/run") as run:
        ...     report = fit(make_train_step(loss_cell, config.optimizer), data, config, run)
    """
    if run.writer and not run.locked:
        raise RuntimeError("enter the run folder first: with RunFolder(...) as run")
    if step.accumulate != config.accumulate:
        raise ConfigError(
            f"accumulate={config.accumulate}, but the step was made for {step.accumulate}"
        )
    return _Loop(step, data, config, run, hooks or Hooks()).train()


class _Loop:
    def __init__(
        self,
        step: TrainStep,
        data: Stream[Any],
        config: TrainingConfig,
        run: RunFolder,
        hooks: Hooks,
    ) -> None:
        self.step, self.data, self.config, self.run, self.hooks = step, data, config, run, hooks
        self.schedule = make_schedule(config.optimizer, config.schedule, config.steps)
        self.saver = Saver(step, data, config, run)
        self.saver.resume()
        if self.hooks.started is not None:
            self.hooks.started()
        self.progress = self.saver.progress
        self.budget = Budget(config, self.progress)
        self.reporter = Reporter(config, run, self.progress, self.saver.metrics_position)

    def train(self) -> FitReport:
        try:
            with Signals() as self.signals:
                reason = self.steps(iter(self.data))
        finally:
            self.reporter.close()
        return self.report(reason)

    def steps(self, batches: Iterator[Any]) -> str:
        progress, every = self.progress, self.config.evaluate_every
        reason = ""
        while True:
            reason = reason or self.stop_reason()
            improved = False
            if progress.step and (reason or (every and progress.step % every == 0)):
                improved = self.evaluate()
            if not reason and 0 < self.config.patience <= progress.without_improvement:
                reason = "patience"
            if (
                improved or reason or self.saver.due() or self.signals.checkpoint
            ) and progress.step:
                self.save()
            if reason:
                return reason
            start = time.perf_counter()
            taken = [b for _, b in zip(range(self.config.accumulate), batches, strict=False)]
            self.reporter.waited(time.perf_counter() - start)
            if len(taken) < self.config.accumulate:
                reason = "data"
                continue
            self.one_step(taken)
            self.reporter.step(
                self.step.metric_names,
                self.schedule(progress.step - 1),
                len(self.step.signatures),
                self.budget.seconds_left(),
            )

    def one_step(self, taken: list[Any]) -> None:
        progress, step, seed = self.progress, self.step, self.config.seed
        batches = [self.hooks.arguments(batch) for batch in taken]
        start, graphs = time.perf_counter(), len(step.signatures)
        overflow_expected = step.loss_scale is not None and not step.loss_scale.exhausted
        parts = [
            step.add(step_key(seed, "step", progress.step, index), *batch)
            for index, batch in enumerate(batches[:-1])
        ]
        outcome = step(
            step_key(seed, "step", progress.step, len(batches) - 1),
            self.schedule(progress.step),
            *batches[-1],
        )
        parts.append((outcome.loss, outcome.metrics))
        loss = float(np.mean([float(part.asnumpy()) for part, _ in parts]))
        finite = bool(outcome.finite.asnumpy())
        if len(step.signatures) > graphs:
            self.reporter.compiled(time.perf_counter() - start)
            use_huge_pages()  # a graph may need more memory than there was
        progress.batches += len(taken)
        progress.interval.steps += 1
        progress.interval.examples += sum(_examples(batch) for batch in batches)
        if finite:
            progress.skipped_in_row = 0
            rows = [np.ravel(metrics.asnumpy()).tolist() for _, metrics in parts]
            progress.interval.add(loss, float(outcome.grad_norm.asnumpy()), rows)
        elif not (overflow_expected and np.isfinite(loss)):
            names = (
                [n for batch in taken for n in self.hooks.names(batch)] if self.hooks.names else []
            )
            handle_nonfinite(
                batches, names, loss, progress, self.config, self.run, self.reporter.metrics
            )
        progress.step += 1

    def evaluate(self) -> bool:
        """Score the network once per step; True when it is the best so far."""
        progress, monitor = self.progress, self.config.monitor
        if self.hooks.evaluate is None or progress.evaluated_step == progress.step:
            return False
        start = time.perf_counter()
        try:
            with self.step.evaluating(), self.signals.interruptible():
                scores = self.hooks.evaluate(self.step.network)
        except EvaluationInterrupted:
            self.terminate()  # resuming finds the evaluation still due
        if monitor not in scores:
            raise ConfigError(
                f"monitor={monitor} is not among the validation scores; "
                f"choose one of {', '.join(scores)}"
            )
        improved = progress.score(float(scores[monitor]), self.config.monitor_mode)
        progress.evaluated_step = progress.step
        self.saver.evaluation = dict(scores)
        seconds = time.perf_counter() - start
        self.reporter.evaluation(scores, seconds, improved)
        self.reporter.paused(seconds)
        return improved

    def save(self) -> None:
        start = time.perf_counter()
        self.signals.checkpoint = False
        self.budget.measure()
        self.saver.save(self.reporter.position())
        self.reporter.paused(time.perf_counter() - start)

    def stop_reason(self) -> str:
        reason = "signal" if self.signals.stop else self.budget.exhausted()
        if self.hooks.agree is not None:
            reason = _REASONS[self.hooks.agree(_REASONS.index(reason))]
        if reason == "signal":
            self.terminate()
        return reason

    def terminate(self) -> NoReturn:
        step, told = self.progress.step, "nothing was trained yet"
        if step:
            self.save()
            told = "the state is saved, the same command goes on from it"
        raise Terminated(f"stopped by a signal after step {step}; {told}")

    def report(self, reason: str) -> FitReport:
        progress, config = self.progress, self.config
        used = f"{duration(progress.wall_s)} (CPU {duration(progress.cpu_s)})"
        _log.info("training ended at step %d (%s) after %s", progress.step, reason, used)
        if reason in ("max_minutes", "max_cpu_minutes") and config.schedule.name != "constant":
            percent = 100 * self.schedule.ratio(progress.step)
            _log.warning(
                "the time budget ended the run at step %d of %d, with the learning rate at %.0f %% "
                "of its peak; set steps=%d to finish the schedule in this time",
                progress.step, config.steps, percent, progress.step,
            )  # fmt: skip
        if self.run.writer:
            plot_metrics(self.run.metrics, self.run.plots)
        return FitReport(
            reason=reason,
            progress=progress,
            evaluation=self.saver.evaluation,
            last=self.saver.last(),
            best=self.saver.best(),
        )


def _examples(arguments: Sequence[Any]) -> int:
    for value in arguments:
        if isinstance(value, np.ndarray) and value.ndim:
            return len(value)
    return 0

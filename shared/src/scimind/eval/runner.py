"""Runs a model and the baselines of a task and writes down what came out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scimind.errors import InputError
from scimind.eval.result import BaselineRow, Failure, MetricValue, Result
from scimind.eval.statistics import Method, bootstrap_interval
from scimind.eval.task import Baseline, Item, Task, TaskData
from scimind.provenance import commit_state, cpu_seconds, hardware, library_versions

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the result file says about the evaluated model; fields as in ``Result``."""

    model: str
    parameters: int
    checkpoint_hash: str = ""
    config_hash: str = ""
    precision: str = "fp32"
    seed: int = 0
    command: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result together with what plots and prediction files need.

    Attributes:
        result: The row for ``results/``.
        items: The scored items, targets included.
        predictions: One prediction per scored item.
    """

    result: Result
    items: Sequence[Item]
    predictions: Sequence[Any]


def run(
    task: Task,
    model: Any,
    data_root: Path,
    facts: ModelFacts,
    *,
    data: TaskData | None = None,
    method: Method = "bca",
    resamples: int = 1000,
    limit: int | None = None,
) -> Evaluation:
    """Evaluates ``model`` and every baseline of ``task`` on the same items.

    Args:
        task: The benchmark.
        model: Whatever ``task.predict`` expects.
        data_root: Folder of the benchmark's files.
        facts: What to write down about the model.
        data: The task's data, where the caller has loaded it already.
        method: Kind of bootstrap interval.
        resamples: Number of bootstrap resamples.
        limit: Scores only the first items, for a quick look; the split is then marked
            ``"(first N)"`` and such a result never compares with a full one.

    Returns:
        The result, and the predictions behind it.

    Raises:
        InputError: The data cannot be read, or no item got a prediction.
        ValueError: The task breaks its contract: no trivial baseline, an unknown primary metric,
            repeated item names, a wrong number of predictions.
    """
    data = task.load(data_root) if data is None else data
    split = task.split
    if limit is not None and limit < len(data.items):
        data = replace(data, items=tuple(data.items[:limit]))
        split = f"{task.split} (first {limit})"
    _check_contract(task, data)
    task.primary_metric()
    blinded = tuple(item.blind() for item in data.items)
    wall, cpu = time.perf_counter(), cpu_seconds()
    outcomes = _listed(task.predict(model, blinded), data.items, facts.model)
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    scored, predictions, failures, excluded = _with_failures(task, data.items, outcomes)
    for failure in failures:
        log.warning("%s: %s failed: %s [%s]", task.name, failure.item, failure.reason, failure.rule)
    if not scored:
        raise InputError(
            f"none of the {len(data.items)} items of {task.name} got a prediction; the first "
            f"reason: {failures[0].reason if failures else 'the split is empty'}",
            rule="evaluation.empty",
        )
    commit, dirty = commit_state() or ("", False)
    result = Result(
        task=task.name,
        version=task.version,
        split=split,
        data_digest=data.digest,
        primary=task.primary,
        items=len(data.items),
        metrics=score(task, scored, predictions, method=method, resamples=resamples),
        baselines=[
            *(_baseline_row(task, data, entry, method, resamples) for entry in task.baselines()),
            *task.references(),
        ],
        failures=failures,
        excluded=excluded,
        rejected=list(data.rejected),
        model=facts.model,
        parameters=facts.parameters,
        checkpoint_hash=facts.checkpoint_hash,
        config_hash=facts.config_hash,
        commit=commit,
        dirty=dirty,
        hardware=hardware(),
        versions=library_versions(),
        precision=facts.precision,
        seed=facts.seed,
        seconds_wall=wall,
        seconds_cpu=cpu,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=facts.command,
        notes=list(facts.notes),
    )
    return Evaluation(result=result, items=scored, predictions=predictions)


def score(
    task: Task,
    items: Sequence[Item],
    predictions: Sequence[Any],
    *,
    method: Method = "bca",
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, MetricValue]:
    """Every metric of the task with its confidence interval.

    Items without a cluster are their own; if any item has one, clusters are drawn.
    """
    named = any(item.cluster is not None for item in items)
    clusters = None
    if named:
        clusters = [
            f"item:{item.name}" if item.cluster is None else f"cluster:{item.cluster}"
            for item in items
        ]
    values = {}
    for metric in task.metrics():
        rows = metric.rows(predictions, [item.target for item in items])
        interval = bootstrap_interval(
            rows,
            metric.aggregate,
            clusters=clusters,
            method=method,
            resamples=resamples,
            seed=seed,
        )
        values[metric.name] = MetricValue(
            value=_known(interval.value),
            ci_low=_known(interval.low),
            ci_high=_known(interval.high),
            n=len(items),
            method=interval.method,
            direction=metric.direction,
            unit=metric.unit,
        )
    return values


def _known(value: float) -> float | None:
    return float(value) if value == value and abs(value) != float("inf") else None


def _check_contract(task: Task, data: TaskData) -> None:
    names = [item.name for item in data.items]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"task {task.name}: two items are called {twice!r}; names must be unique")
    trained = {item.name for item in data.training} & set(names)
    if trained:
        raise ValueError(
            f"task {task.name}: {len(trained)} evaluated items, such as {sorted(trained)[0]!r}, "
            "are training items too"
        )
    if not any(baseline.kind == "trivial" for baseline in task.baselines()):
        raise ValueError(f"task {task.name} declares no trivial baseline; scores need one")


def _listed(outcomes: Iterable[Any], items: Sequence[Item], who: str) -> list[Any]:
    listed = list(outcomes)
    if len(listed) != len(items):
        raise ValueError(f"{who} gave {len(listed)} predictions for {len(items)} items")
    return listed


def _with_failures(
    task: Task, items: Sequence[Item], outcomes: Sequence[Any]
) -> tuple[list[Item], list[Any], list[Failure], int]:
    """Splits outcomes into scored items, their predictions, failures, and the excluded count."""
    scored, predictions, failures, excluded = [], [], [], 0
    for item, outcome in zip(items, outcomes, strict=True):
        if isinstance(outcome, Failure):
            failures.append(replace(outcome, item=item.name))
            outcome = task.failed_prediction(item.blind())
            if outcome is None:
                excluded += 1
                continue
        scored.append(item)
        predictions.append(outcome)
    return scored, predictions, failures, excluded


def _baseline_row(
    task: Task, data: TaskData, baseline: Baseline, method: Method, resamples: int
) -> BaselineRow:
    blinded = replace(data, items=tuple(item.blind() for item in data.items))
    outcomes = _listed(baseline.predict(blinded), data.items, baseline.name)
    scored, predictions, failures, _ = _with_failures(task, data.items, outcomes)
    return BaselineRow(
        name=baseline.name,
        kind=baseline.kind,
        metrics=score(task, scored, predictions, method=method, resamples=resamples),
        failures=failures,
    )

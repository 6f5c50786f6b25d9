"""Evaluation: tasks with mandatory baselines, confidence intervals, result files, reports."""

from scimind.eval.result import BaselineRow, Failure, MetricValue, Result
from scimind.eval.runner import ModelFacts, run
from scimind.eval.task import Baseline, Item, Metric, Task, TaskData, file_digest

__all__ = [
    "Baseline",
    "BaselineRow",
    "Failure",
    "Item",
    "Metric",
    "MetricValue",
    "ModelFacts",
    "Result",
    "Task",
    "TaskData",
    "file_digest",
    "run",
]

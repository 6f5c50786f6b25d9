"""Training: optimizer, schedule, jitted step, loop, checkpoints, logs, signals.

Example:
    >>> step = make_train_step(loss_cell, config.optimizer, accumulate=config.accumulate)
    >>> with RunFolder("outputs/run") as run:
    ...     report = fit(step, data, config, run, Hooks(evaluate=evaluate))
"""

from scimind.train.checkpoint import Checkpoint, load, load_network, read_state
from scimind.train.history import find
from scimind.train.loop import FitReport, Hooks, batch_arguments, fit
from scimind.train.metrics_log import read_metrics
from scimind.train.run_folder import RunFolder
from scimind.train.schedule import Schedule, make_schedule
from scimind.train.signals import Terminated
from scimind.train.step import Outcome, TrainStep, make_train_step
from scimind.train.storage import manifest_digest

__all__ = [
    "Checkpoint",
    "FitReport",
    "Hooks",
    "Outcome",
    "RunFolder",
    "Schedule",
    "Terminated",
    "TrainStep",
    "batch_arguments",
    "find",
    "fit",
    "load",
    "load_network",
    "make_schedule",
    "make_train_step",
    "manifest_digest",
    "read_metrics",
    "read_state",
]

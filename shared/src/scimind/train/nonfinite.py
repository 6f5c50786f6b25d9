"""What to do, and to tell, when a loss or gradient is not finite."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from scimind.config.training import LoopConfig
from scimind.errors import NumericsError
from scimind.train.metrics_log import MetricsLog
from scimind.train.progress import Progress
from scimind.train.run_folder import RunFolder

_log = logging.getLogger(__name__)

MAX_DUMPS = 5


def handle_nonfinite(
    batches: Sequence[Sequence[Any]],
    names: Sequence[str],
    loss: float,
    progress: Progress,
    config: LoopConfig,
    run: RunFolder,
    metrics: MetricsLog | None,
) -> None:
    """Count a skipped update, save its batches, and end the run where the policy says so.

    Args:
        batches: Arguments of the loss for each batch of the step.
        names: Names of the examples in them, where they are known.
        loss: Mean loss of the step.
        progress: Its counters are raised.
        config: ``nan_policy`` and ``max_skipped``.
        run: The batches go to ``nonfinite/step-….npz``, at most five of them.
        metrics: Takes a line of kind ``skipped``.

    Raises:
        NumericsError: The policy is ``stop``, or too many updates in a row were skipped.
    """
    progress.skipped += 1
    progress.skipped_in_row += 1
    what = "loss" if not np.isfinite(loss) else "gradient"
    bad_inputs = _bad_arrays(batches)
    first = progress.batches - len(batches)
    where = f"step {progress.step}, batches {first} to {progress.batches - 1}"
    told = f"the {what} of {where} is not finite"
    if bad_inputs:
        told += f"; already the input is not: {', '.join(bad_inputs)}"
    if names:
        told += f"; examples {', '.join(map(str, names[:16]))}"
    if metrics is not None:
        record = {"what": what, "batches": [first, progress.batches - 1], "inputs": bad_inputs}
        metrics.write("skipped", progress.step, {**record, "examples": list(map(str, names))})
    dump = _dump(batches, progress, run)
    if dump:
        told += f"; the batches are in {dump}"
    if config.nan_policy == "stop":
        raise NumericsError(
            f"{told}. Mend the input, lower optimizer.learning_rate, or allow skips with "
            "nan_policy=skip; the last checkpoint is intact"
        )
    if progress.skipped_in_row >= config.max_skipped:
        raise NumericsError(
            f"{told}. It is update {progress.skipped_in_row} in a row that had to be skipped "
            f"(max_skipped={config.max_skipped}): lower optimizer.learning_rate or mend the "
            "input; the last checkpoint is intact"
        )
    _log.warning("%s; the update is skipped", told)


def _bad_arrays(batches: Sequence[Sequence[Any]]) -> list[str]:
    bad = []
    for number, batch in enumerate(batches):
        for index, value in enumerate(batch):
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                count = int(np.size(value) - np.isfinite(value).sum())
                if count:
                    bad.append(f"batch {number} argument {index}: {count} of {value.size} values")
    return bad


def _dump(batches: Sequence[Sequence[Any]], progress: Progress, run: RunFolder) -> str:
    if not run.writer or progress.skipped > MAX_DUMPS:
        return ""
    path = run.nonfinite / f"step-{progress.step:07d}.npz"
    arrays = {
        f"batch{number}_argument{index}": value
        for number, batch in enumerate(batches)
        for index, value in enumerate(batch)
        if isinstance(value, np.ndarray)
    }
    try:
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **arrays)
    except OSError as error:
        _log.warning("cannot save the batches of step %d: %s", progress.step, error.strerror)
        return ""
    return str(path)

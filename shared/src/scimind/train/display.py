"""What a person sees of a running training: a progress bar, or lines without a terminal."""

from __future__ import annotations

import logging
import sys
from typing import Any

_log = logging.getLogger(__name__)


class Display:
    """A rich progress bar with the time left on a terminal; plain log lines elsewhere.

    Args:
        total: Steps of the run.
        done: Steps made before this session.
        bar: False prints lines on a terminal as well.
    """

    def __init__(self, total: int, done: int, *, bar: bool) -> None:
        self._bar: Any = None
        self._total = total
        if bar and sys.stderr.isatty():
            self._start_bar(done)

    def advance(self, step: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=step)

    def report(self, step: int, values: dict[str, float], seconds_left: float) -> None:
        """Show the means of an interval."""
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=text)
        else:
            left = duration(seconds_left)
            _log.info("step %d/%d  %s  %s left", step, self._total, text, left)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start_bar(self, done: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("training", total=self._total, completed=done, text="")
        self._bar.start()


def duration(seconds: float) -> str:
    """Seconds as people write them: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

"""Ending a run on request without losing the step."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from scimind.errors import EXIT_TERMINATED, ScimindError

_log = logging.getLogger(__name__)

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Terminated(ScimindError):
    """SIGTERM or SIGINT ended the run after its state was saved.

    One exit code for both: while a graph runs, MindSpore has its own handler on SIGINT, which
    sends the process SIGTERM instead.
    """

    exit_code = EXIT_TERMINATED


class EvaluationInterrupted(Exception):
    """A signal arrived in the middle of an evaluation."""


class Signals:
    """While entered: SIGTERM and SIGINT ask for an end, SIGUSR1 for a checkpoint.

    A second SIGTERM or SIGINT ends the process at once. Outside the main thread nothing is
    installed, because Python delivers signals to the main thread only.
    """

    def __init__(self) -> None:
        self.stop = False
        self.checkpoint = False
        self._before: dict[int, Any] = {}
        self._raise = False

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in (*STOPPING, signal.SIGUSR1):
                self._before[number] = signal.getsignal(number)
            for number in STOPPING:
                signal.signal(number, self._on_stop)
            signal.signal(signal.SIGUSR1, self._on_checkpoint)
        else:
            _log.warning("not the main thread: SIGTERM will not save a checkpoint")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A part that a stop may break off: raises EvaluationInterrupted there."""
        if self.stop:
            raise EvaluationInterrupted
        self._raise = True
        try:
            yield
        finally:
            self._raise = False

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stop = True
        # From here the kernel ends the process, also while a compiled graph is running.
        for other in STOPPING:
            signal.signal(other, signal.SIG_DFL)
        os.write(2, b"stopping after this step; the same signal again ends at once\n")
        if self._raise:
            self._raise = False
            raise EvaluationInterrupted

    def _on_checkpoint(self, number: int, frame: FrameType | None) -> None:
        self.checkpoint = True

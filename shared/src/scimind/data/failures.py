"""Examples that could not be read: recorded with their reason and counted, never just dropped."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from scimind.errors import InputError

OnError: TypeAlias = Literal["raise", "record"]

# What an unreadable example may raise; anything else is an error of the program and ends the run.
RECORDED = (InputError, OSError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """One example that could not be used."""

    name: str
    rule: str
    message: str


class FailureLog:
    """Collects failures, each example once, and appends them to a JSONL file.

    Args:
        path: File to append to, such as ``<run folder>/failures.jsonl``; None keeps them in memory.
        limit: Largest accepted fraction of failed loads. A source that is broken as a whole ends
            the run instead of training on what is left.
        grace: Loads before the limit is applied.
    """

    def __init__(self, path: Path | None = None, *, limit: float = 0.2, grace: int = 50) -> None:
        self.path = path
        self.limit = limit
        self.grace = grace
        self.failures: dict[str, Failure] = {}
        self.num_loads = 0
        self.num_failed_loads = 0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def __len__(self) -> int:
        return len(self.failures)

    def loaded(self) -> None:
        """Counts a load that worked."""
        with self._lock:
            self.num_loads += 1

    def record(self, name: str, error: Exception) -> None:
        """Counts a failed load and records the example, if it is the first time.

        Raises:
            InputError: More than ``limit`` of the loads failed (rule ``data.failure_limit``).
        """
        rule = error.rule if isinstance(error, InputError) else f"os.{type(error).__name__}"
        failure = Failure(name=name, rule=rule, message=str(error))
        with self._lock:
            self.num_loads += 1
            self.num_failed_loads += 1
            if name not in self.failures:
                self.failures[name] = failure
                _log.warning("skipped %s: %s", name, failure.message)
                if self.path is not None:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    with self.path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(failure), ensure_ascii=False) + "\n")
            fraction = self.num_failed_loads / self.num_loads
        if self.num_loads >= self.grace and fraction > self.limit:
            raise InputError(
                f"{self.num_failed_loads} of {self.num_loads} loads failed, the limit is "
                f"{self.limit:.0%}; the last was {name}: {failure.message}. Mend the data, or "
                "raise the limit if this share is expected",
                rule="data.failure_limit",
            ) from error

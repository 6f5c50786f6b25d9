"""The processes of a launched job, and how each of them ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WorkerEnd:
    """How one rank's program ended; a negative code is the number of a signal."""

    rank: int
    code: int
    time_ns: int = 0

    def __str__(self) -> str:
        if self.code >= 0:
            return f"worker {self.rank} ended with exit code {self.code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-self.code).name
            return f"worker {self.rank} was killed by signal {-self.code} ({name})"
        return f"worker {self.rank} was killed by signal {-self.code}"


@dataclass
class Job:
    """The running processes, found through the files that the workers leave.

    Attributes:
        workers: Number of ranks.
        folder: Where ``scimind.parallel.worker`` leaves its files.
        msrun: MindSpore's launcher.
        terminated: The launcher was told to end the job.
    """

    workers: int
    folder: Path
    msrun: subprocess.Popen[bytes]
    terminated: bool = False

    def kill(self) -> None:
        """Ends every process of the job at once."""
        for path in self.folder.glob("*.pid.json"):
            for pid in _read(path).values():
                _signal(pid, signal.SIGKILL)
        self.msrun.kill()

    def terminate(self) -> None:
        """Asks the programs to end; their parents pass the signal on."""
        for path in self.folder.glob("rank-*.pid.json"):
            _signal(_read(path)["pid"], signal.SIGTERM)

    def ends(self) -> list[WorkerEnd]:
        """The ranks that have ended, first one first."""
        ends = []
        for worker in range(self.workers):
            path = self.folder / f"rank-{worker}.end.json"
            if path.exists():
                ends.append(WorkerEnd(worker, **_read(path)))
            elif self._parent_is_gone(worker):
                # Killed together with its program, before it could tell.
                ends.append(WorkerEnd(worker, -signal.SIGKILL, time.time_ns()))
        return sorted(ends, key=lambda end: end.time_ns)

    def _parent_is_gone(self, worker: int) -> bool:
        path = self.folder / f"rank-{worker}.pid.json"
        if not path.exists():
            return False
        if _is_running(_read(path)["pid"]):
            return False
        # It may have written its end between the two looks.
        return not (self.folder / f"rank-{worker}.end.json").exists()


def _read(path: Path) -> dict[str, int]:
    content: dict[str, int] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"

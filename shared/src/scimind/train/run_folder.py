"""The folder of one run, which one process owns at a time."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from scimind.errors import EnvironmentProblem, RunLockedError
from scimind.train.history import FOLDER
from scimind.train.storage import remove_litter

_log = logging.getLogger(__name__)

LOCK = "lock"


class RunFolder:
    """Paths of a run, and the lock that keeps a second process out.

    The lock is the kernel's (``flock``), so it is gone with its process however that ends; the
    file only tells whose it is. File systems without ``flock`` across machines (some NFS mounts)
    protect against processes of the same machine only.

    Args:
        path: Folder of the run, created if needed.
        writer: False for the other processes of a parallel job, which only read.

    Raises:
        RunLockedError: On entering, when another process is using the folder.
        EnvironmentProblem: The folder cannot be made or written.

    Example:
        >>> with RunFolder("outputs/run") as run:
        ...     fit(step, data, config, run)
    """

    def __init__(self, path: str | Path, *, writer: bool = True) -> None:
        self.path = Path(path)
        self.writer = writer
        self.checkpoints = self.path / FOLDER
        self.metrics = self.path / "metrics.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.plots = self.path / "plots"
        self.nonfinite = self.path / "nonfinite"
        self._lock: int | None = None

    def __enter__(self) -> RunFolder:
        if not self.writer:
            return self
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EnvironmentProblem(
                f"cannot write in {self.path}: {error.strerror}; "
                "set output= to a folder that can be written"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            owner = _owner(os.pread(descriptor, 4096, 0))
            os.close(descriptor)
            raise RunLockedError(
                f"{self.path} is in use by {owner}; wait for it, stop it, or set output= to "
                "another folder"
            ) from error
        self._lock = descriptor
        if left := os.pread(descriptor, 4096, 0):
            _log.warning("%s was left locked by %s, which has ended", self.path, _owner(left))
        self._write_owner()
        if count := remove_litter(self.checkpoints):
            _log.warning("removed %d unfinished checkpoints of an interrupted run", count)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._lock is not None:
            # Emptied, not removed: a process waiting to open the name must get this same file.
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    @property
    def locked(self) -> bool:
        """Whether this process owns the folder."""
        return self._lock is not None

    def _write_owner(self) -> None:
        assert self._lock is not None
        owner = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, json.dumps(owner).encode(), 0)
        except OSError as error:
            _log.warning("the lock of %s does not tell its owner: %s", self.path, error.strerror)


def _owner(content: bytes) -> str:
    try:
        owner = json.loads(content)
        return f"process {owner['pid']} on {owner['host']}, started {owner['started']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"

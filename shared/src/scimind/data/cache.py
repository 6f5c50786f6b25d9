"""Where downloads are kept, and the lock between processes that want the same one."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scimind.device.compile_cache import cache_root
from scimind.errors import EnvironmentProblem


def cache_folder() -> Path:
    """The cache: ``SCIMIND_CACHE``, else ``$XDG_CACHE_HOME/scimind``, else ``~/.cache/scimind``.

    Raises:
        EnvironmentProblem: There is no home folder, or the folder cannot be written.
    """
    folder = cache_root()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise EnvironmentProblem(
            f"the cache {folder} cannot be written ({error.strerror}); set SCIMIND_CACHE to a "
            "writable folder"
        ) from error
    return folder


@contextmanager
def exclusive(path: Path, *, timeout_s: float, announce: Callable[[str], None]) -> Iterator[None]:
    """Holds a lock file between processes. The system releases it when the holder dies.

    Args:
        path: The lock file; it stays, empty, after use.
        timeout_s: Seconds to wait for another holder.
        announce: Told once when there is something to wait for.

    Raises:
        EnvironmentProblem: Another process held the lock for all of ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    announced = False
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not announced:
                    announce(f"waiting for another process that holds {path}")
                    announced = True
                if time.monotonic() > deadline:
                    raise EnvironmentProblem(
                        f"another process has held {path} for {timeout_s:g} s; end it and try again"
                    ) from None
                time.sleep(0.05)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

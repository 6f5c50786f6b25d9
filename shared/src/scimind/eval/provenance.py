"""Commit, hardware and library versions, for result files."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

LIBRARIES = ("scimind", "scimind-biomol", "mindspore", "numpy", "scipy")


def commit_state(folder: Path | None = None) -> tuple[str, bool]:
    """Commit of the source tree and whether the tree differs from it; ``("", False)`` without git.

    Args:
        folder: A folder of the tree; by default that of this package.
    """
    where = str(folder or Path(__file__).parent)
    try:
        commit = _git(where, "rev-parse", "HEAD")
        changes = _git(where, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "", False
    return commit, bool(changes)


def _git(folder: str, *arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=20, check=True
    )
    return answer.stdout.strip()


@cache
def library_versions() -> dict[str, str]:
    """Python and the libraries that decide the numbers; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@cache
def hardware() -> dict[str, str]:
    """Processor name and the cores this process may use."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {"processor": processor, "cores": str(len(os.sched_getaffinity(0)))}

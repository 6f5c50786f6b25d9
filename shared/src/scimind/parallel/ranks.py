"""Which process this is, known from the environment: no MindSpore, no initialisation needed."""

from __future__ import annotations

import os
import sys

from scimind.errors import EnvironmentProblem


def rank() -> int:
    """This process's number among the workers of the job; 0 in a job of one process."""
    return _from_environment()[0]


def world() -> int:
    """Number of workers of the job; 1 outside one."""
    return _from_environment()[1]


def is_main() -> bool:
    """Whether this is the process that writes files and talks to the user."""
    return rank() == 0


def main_print(message: str) -> None:
    """Prints a line on standard output from rank 0 only."""
    if is_main():
        print(message, file=sys.stdout, flush=True)


def _from_environment() -> tuple[int, int]:
    if os.environ.get("MS_ROLE") != "MS_WORKER":
        return 0, 1
    number, size = os.environ.get("RANK_ID", ""), os.environ.get("MS_WORKER_NUM", "")
    if not (number.isdigit() and size.isdigit() and int(number) < int(size)):
        raise EnvironmentProblem(
            f"MS_ROLE is MS_WORKER, but RANK_ID={number!r} of MS_WORKER_NUM={size!r} names no "
            "rank; start workers with python -m scimind.parallel.launch, or unset MS_ROLE"
        )
    return int(number), int(size)

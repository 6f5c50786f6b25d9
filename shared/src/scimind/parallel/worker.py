"""What msrun starts in place of the program: a parent that reports how its rank ended.

msrun notices a dead worker, but not by name, and its scheduler keeps the job alive for half a
minute more. This process starts the program, waits for it, and leaves ``rank-<n>.end.json`` for the
launcher to find. In the scheduler's role it joins the cluster without running the program, which
would otherwise run once more than there are ranks.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Asks the kernel to kill this process when its parent dies, even by SIGKILL."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def write_json(path: Path, content: dict[str, int]) -> None:
    """Writes a small file that is never seen half-written."""
    staging = path.with_suffix(".tmp")
    staging.write_text(json.dumps(content), encoding="utf-8")
    staging.replace(path)


def main() -> int:
    """``python -m scimind.parallel.worker <folder> <program> [arguments]``."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    die_with_parent()
    if os.environ.get("MS_ROLE") == "MS_SCHED":
        write_json(folder / "scheduler.pid.json", {"pid": os.getpid()})
        from mindspore.communication import init

        init()
        return 0
    name = f"rank-{os.environ['RANK_ID']}"
    # The default actions until the program is there to pass signals on to.
    program = subprocess.Popen(command, preexec_fn=die_with_parent)

    def pass_on(number: int, _: FrameType | None) -> None:
        program.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, pass_on)
    write_json(folder / f"{name}.pid.json", {"pid": os.getpid(), "program": program.pid})
    code = program.wait()
    write_json(folder / f"{name}.end.json", {"code": code, "time_ns": time.time_ns()})
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    raise SystemExit(main())

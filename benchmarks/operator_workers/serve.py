"""What both workers share: a loop that prepares a case and times runs of it on request.

A request is one line of JSON on stdin, an answer one line on the stdout the process was born with.
"""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from operator_workers.cases import Case

Run = Callable[[], Any]


@dataclass(kw_only=True)
class Prepared:
    """A case that is ready to run.

    Args:
        runs: What can be run, by column and mode such as ``"kernel forward"``.
        digests: Of the results of each, see `cases.digest`.
        failed: What cannot be run, and why.
        notes: What to know about a column.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    digests: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {
            "digests": self.digests,
            "failed": self.failed,
            "notes": self.notes,
            "memory_gib": memory,
        }


def first_line(error: BaseException) -> str:
    """The first line of a message that says something, without folders of this machine."""
    lines = [line for line in str(error).splitlines() if re.match(r"\w", line)]
    line = re.sub(r"(?:/[\w.+-]+)+/", "", lines[0].partition(", Please")[0]) if lines else ""
    return f"{type(error).__name__}: {line}"[:160]


def warm(run: Run, most: int, seconds: float) -> None:
    """Run up to ``most`` times, or for so long."""
    end = time.perf_counter() + seconds
    for _ in range(most):
        run()
        if time.perf_counter() > end:
            break


def timed(run: Run, times: int) -> dict[str, Any]:
    """Wall milliseconds of each run, and the CPU milliseconds of the process per run.

    Short runs, of which several are asked for, follow one that brings the caches back.
    """
    if times > 1:
        run()
    wall = []
    gc.disable()
    start = time.process_time()
    for _ in range(times):
        wall_start = time.perf_counter()
        run()
        wall.append(1e3 * (time.perf_counter() - wall_start))
    time.sleep(1e-3)  # the time of another thread is counted when it comes to rest
    cpu = time.process_time() - start
    gc.enable()
    return {"wall_ms": wall, "cpu_ms": 1e3 * cpu / times}


def serve(
    versions: dict[str, str],
    prepare: Callable[[Case, list[str]], Prepared],
    ceilings: Callable[[], dict[str, Any]],
) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stdout

    def say(answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    say(versions)
    prepared = Prepared()
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            prepared = Prepared()
            gc.collect()
            prepared = prepare(Case.of(request["case"]), request["more"])
            say(prepared.answer())
        elif "run" in request:
            say(timed(prepared.runs[request["run"]], request["times"]))
        else:
            say(ceilings())

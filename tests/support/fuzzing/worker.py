"""Runs one check on many files in a process of its own, bounded in memory and CPU time.

The parent writes one JSON path per line and reads one JSON verdict per line. CPU time is bounded
by the profiling timer, whose signal ends the process even inside compiled code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
EXTRA_MEMORY_BYTES = 2 << 30


def _load(spec: str):
    file, _, name = spec.rpartition(":")
    module_spec = importlib.util.spec_from_file_location("fuzz_check", file)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules["fuzz_check"] = module
    module_spec.loader.exec_module(module)
    return getattr(module, name)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def _verdict(check, path: str) -> dict:
    try:
        return check(Path(path))
    except BaseException as error:
        return {
            "outcome": "traceback",
            "detail": f"{type(error).__name__}: {error}"[:300],
            "where": "".join(traceback.format_tb(error.__traceback__)[-3:])[-1200:],
        }


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a reader prints must not mix with the verdicts
    check = _load(sys.argv[1])
    warm_up = Path(sys.argv[2])
    with contextlib.suppress(Exception):
        check(warm_up)  # lazy tables are loaded before memory is bounded
    limit = _address_space() + EXTRA_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        verdict = _verdict(check, json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        print(json.dumps(verdict), file=answers, flush=True)


if __name__ == "__main__":
    main()

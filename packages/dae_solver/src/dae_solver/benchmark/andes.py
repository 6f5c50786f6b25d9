"""ANDES by its own command, in processes of its own: nothing of it is imported here."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scimind.errors import EnvironmentProblem


@dataclass(frozen=True, kw_only=True)
class AndesCost:
    """What a simulation by ANDES costs.

    Attributes:
        cpu_ms: CPU time of the simulation alone: that of a whole run less that of one that ends
            with the power flow.
        start_cpu_ms: CPU time of the latter.
    """

    cpu_ms: float
    start_cpu_ms: float


def measure_andes(python: str, case: str, *, t_end: float, rounds: int) -> AndesCost:
    """Run a case with its own disturbance and default settings.

    Args:
        python: Of an environment with ANDES.
        case: A file, or the name of one of ANDES' own cases.
        t_end: Last time, seconds.
        rounds: Runs of each kind, in turn; the medians count.

    Raises:
        EnvironmentProblem: It does not run.
    """
    flow, both = [], []
    for _ in range(rounds):
        flow.append(_run(python, case, ["-r", "pflow"]))
        both.append(_run(python, case, ["-r", "tds", "--tf", f"{t_end:g}"]))
    middle = rounds // 2
    start = sorted(flow)[middle]
    return AndesCost(cpu_ms=1e3 * (sorted(both)[middle] - start), start_cpu_ms=1e3 * start)


def _run(python: str, case: str, routine: list[str]) -> float:
    """CPU time of one run, seconds."""
    before = _children()
    place = str(Path(case).resolve()) if Path(case).exists() else case
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [python, "-m", "andes", "run", place, "--no-output", *routine],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise EnvironmentProblem(f"ANDES with {python} did not run {case}: {last[0]}")
    return _children() - before


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

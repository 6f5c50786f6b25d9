"""ANDES by its own command, in processes of its own: nothing of it is imported here."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scimind.errors import EnvironmentProblem, InputError


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
        case: A file.
        t_end: Last time, seconds.
        rounds: Runs of each kind, in turn; the medians count.

    Raises:
        InputError: There is no such file.
        EnvironmentProblem: It does not run, or not to the end.
    """
    if not Path(case).is_file():
        raise InputError(
            f"there is no file {case}; give a case with a disturbance", rule="bench.andes"
        )
    flow, both = [], []
    for _ in range(rounds):
        flow.append(_run(python, case, ["-r", "pflow"], "Converged in"))
        tds = ["-r", "tds", "--tf", f"{t_end:g}"]
        both.append(_run(python, case, tds, f"Simulation to t={t_end:.2f} sec completed"))
    middle = rounds // 2
    start = sorted(flow)[middle]
    return AndesCost(cpu_ms=1e3 * (sorted(both)[middle] - start), start_cpu_ms=1e3 * start)


def _run(python: str, case: str, routine: list[str], ends: str) -> float:
    """CPU time of one run, seconds; ``ends`` is what it says when it has done its work."""
    before = _children()
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [python, "-m", "andes", "run", str(Path(case).resolve()), "--no-output", *routine],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": ""},
                capture_output=True,
                text=True,
                check=False,
            )
    except OSError as error:
        raise EnvironmentProblem(f"{python} cannot be run: {error.strerror}") from error
    # Its exit code is 0 whatever happens.
    said = done.stdout + done.stderr
    if ends not in said:
        last = said.strip().splitlines()[-1:] or ["no message"]
        raise EnvironmentProblem(f"ANDES with {python} did not run {case}: {last[0]}")
    return _children() - before


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

"""Kill a training run with SIGKILL again and again; it must end like one that was left alone.

``python tests/support/kill_proof.py --kills 100 --output results/reliability_kill.json``

Each kill comes after a random delay, some of them while a checkpoint is being written. After each
one the newest checkpoint must be intact, and the run is started again in the same folder. In the
end the losses of every step, the evaluations and all arrays of the last checkpoint must equal
those of an uninterrupted run in every bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from scimind import provenance
from scimind.train import find, load, read_metrics
from scimind.train.history import newest_intact

JOB = Path(__file__).with_name("training_job.py")
MEASURED = (
    "steps_per_s", "examples_per_s", "data_wait_share", "compiling_s", "graphs", "peak_rss_mib",
    "evaluation_s",
)  # fmt: skip


def start(folder: Path, *settings: str) -> subprocess.Popen[bytes]:
    """Start the job in the background; its output goes to ``<folder>.log``."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with folder.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, str(JOB), str(folder), *settings],
            stdout=log,
            stderr=log,
            env=environment,
        )


def record(folder: Path) -> list[dict[str, Any]]:
    """The metrics of a run without what is measured in seconds."""
    lines = read_metrics(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in MEASURED} for line in lines]


def fingerprint(folder: Path) -> str:
    """SHA-256 over all arrays of the last checkpoint of a run."""
    found = load(find(folder, "last"))
    digest = hashlib.sha256()
    for part in (found.model, found.average, found.training):
        for name in sorted(part):
            digest.update(name.encode() + part[name].tobytes())
    return digest.hexdigest()


def wait_for_steps(folder: Path, job: subprocess.Popen[bytes], above: int, limit_s: float) -> bool:
    """Wait until a run has logged more than some steps; False when it ended before."""
    metrics = folder / "metrics.jsonl"
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if job.poll() is not None:
            return False
        if metrics.exists() and metrics.stat().st_size > above:
            return True
        time.sleep(0.002)
    raise TimeoutError(f"no step within {limit_s} s; see {folder.with_suffix('.log')}")


def kill_until_done(folder: Path, kills: int, seed: int, *settings: str) -> dict[str, int]:
    """Kill a run ``kills`` times at random moments, then let it finish.

    Every third kill waits for a temporary checkpoint folder and comes within it; every fifth comes
    at any moment after the process started, also before the first step.
    """
    generator = np.random.default_rng(seed)
    checkpoints = folder / "checkpoints"
    counts = {"kills": 0, "during_write": 0, "before_first_step": 0, "intact_after_kill": 0}
    while counts["kills"] < kills:
        size = (folder / "metrics.jsonl").stat().st_size if counts["kills"] else 0
        kind = counts["kills"] % 15
        job = start(folder, *settings)
        if kind % 5 == 4:
            time.sleep(generator.uniform(0.0, 3.0))
        elif wait_for_steps(folder, job, size, 300):
            time.sleep(generator.uniform(0.0, 0.3))
            if kind % 3 == 0:
                _wait_for_write(checkpoints, job)
        if job.poll() is not None:
            raise AssertionError(
                f"the job ended with {job.returncode} after {counts['kills']} kills; give it more "
                f"steps, or see {folder.with_suffix('.log')}"
            )
        writing = any(checkpoints.glob(".tmp-*"))
        job.send_signal(signal.SIGKILL)
        assert job.wait(60) == -signal.SIGKILL
        counts["kills"] += 1
        metrics = folder / "metrics.jsonl"
        before = not metrics.exists() or metrics.stat().st_size <= size
        counts["before_first_step"] += before
        # Before the first step the unfinished folder may be that of the kill before.
        counts["during_write"] += writing and any(checkpoints.glob(".tmp-*")) and not before
        folder.mkdir(exist_ok=True)
        metrics.touch()
        newest_intact(checkpoints)
        counts["intact_after_kill"] += 1
    job = start(folder, *settings)
    assert job.wait(600) == 0, f"see {folder.with_suffix('.log')}"
    return counts


def _wait_for_write(checkpoints: Path, job: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end and job.poll() is None:
        if any(checkpoints.glob(".tmp-*")):
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0, help="0: 40 per kill")
    parser.add_argument("--folder", type=Path, required=True, help="empty scratch folder")
    parser.add_argument("--output", type=Path, help="result JSON")
    options = parser.parse_args()
    steps = options.steps or 40 * options.kills
    settings = (f"steps={steps}", "lengths=[8]", "slow_s=0.005", "evaluate_every=50")
    options.folder.mkdir(parents=True, exist_ok=True)
    whole, killed = options.folder / "whole", options.folder / "killed"
    began = time.monotonic()
    commit = provenance.commit_state()
    assert start(whole, *settings).wait(3600) == 0
    counts = kill_until_done(killed, options.kills, options.seed, *settings)
    equal = record(whole) == record(killed)
    same_arrays = fingerprint(whole) == fingerprint(killed)
    result = {
        "test": "reliability_kill",
        "what": "SIGKILL at random moments, resume, compare with the uninterrupted run",
        "command": f"python tests/support/kill_proof.py --kills {options.kills} "
        f"--seed {options.seed} --folder SCRATCH --output results/reliability_kill.json",
        **counts,
        "steps": steps,
        "losses_equal_bit_for_bit": equal,
        "arrays_equal_bit_for_bit": same_arrays,
        "lines_compared": len(record(whole)),
        "seed": options.seed,
        "seconds": round(time.monotonic() - began),
        "commit": commit[0] if commit else None,
        "dirty": commit[1] if commit else None,
        "versions": provenance.library_versions(),
        "hardware": provenance.hardware(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    return 0 if equal and same_arrays else 1


if __name__ == "__main__":
    sys.exit(main())

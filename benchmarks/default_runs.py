"""The first steps of each package's default training run, with our kernels and without.

Without them every operator is one of MindSpore. The two take turns; their graphs are compiled and
kept before, so that steps are compared. The losses have to agree.

    python benchmarks/default_runs.py --output benchmarks/default_runs.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from report import report
from scimind.provenance import cpu_seconds

# The default configurations, but for the length of the run; of dae_solver also for the number of
# trajectories, which the equations make and not the operators.
STEPS = {"biomol": 60, "dae_solver": 600}
RUNS = {
    "biomol": ("schedule.warmup_steps=10", "log.every=10"),
    "dae_solver": (
        *("log.every=100", "data.scenarios=300", "pool=2000"),
        *("data.calibration=20", "data.test=20", "alpha=0.05"),
    ),
}
KERNELS = ("plain", "auto")


def options_of(package: str) -> list[str]:
    """What makes its default run shorter."""
    steps = STEPS[package]
    return [f"steps={steps}", f"evaluate_every={steps}", *RUNS[package]]


def run(package: str, kernels: str, folder: Path) -> dict[str, Any]:
    """Speed of the training steps but the first, process CPU time and losses of a run."""
    before = cpu_seconds()
    subprocess.run(
        [
            *(sys.executable, "-m", f"{package}.train", *options_of(package)),
            *("log.progress=false", f"output={folder}"),
        ],
        env={**os.environ, "SCIMIND_KERNELS": kernels},
        capture_output=True,
        check=True,
    )
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    training = [line for line in lines if line["kind"] == "train"]
    return {
        "step_ms": 1e3 / median(line["steps_per_s"] for line in training[2:]),
        "cpu_s": cpu_seconds() - before,
        "losses": [line["loss"] for line in training],
    }


def compare(package: str, rounds: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {kernels: [] for kernels in KERNELS}
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(rounds + 1):
            for kernels in KERNELS:
                row = run(package, kernels, Path(scratch) / f"{kernels}{number}")
                if number > 0:  # the first compiles
                    found[kernels].append(row)
                    print(package, kernels, f"{row['step_ms']:.0f} ms, {row['cpu_s']:.0f} s CPU")
    plain, auto = (np.array([row["losses"] for row in found[kernels]]) for kernels in KERNELS)
    return {
        "package": package,
        "options": options_of(package),
        "steps": STEPS[package],
        "rounds": rounds,
        **{
            f"{unit}_{kernels}": [round(row[unit], 1) for row in found[kernels]]
            for unit in ("step_ms", "cpu_s")
            for kernels in KERNELS
        },
        **{
            f"{unit}_ratio": round(
                median(
                    ours[unit] / theirs[unit]
                    for theirs, ours in zip(*(found[k] for k in KERNELS), strict=True)
                ),
                3,
            )
            for unit in ("step_ms", "cpu_s")
        },
        "losses": {kernels: found[kernels][0]["losses"] for kernels in KERNELS},
        "largest_relative_loss_difference": float(abs(auto / plain - 1).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = [compare(package, options.rounds) for package in RUNS]
    what = "first steps of default training runs, plain and with kernels"
    report(__file__, what, {"seed": 0, "results": rows}, options.output)


if __name__ == "__main__":
    main()

"""Where the plain formulations lose: the training step of `train_step.py` with one operator plain.

Each variant runs the compiled kernels but for the named operators, in a process of its own; the
processes take turns. What an operator costs is its variant against all kernels.

    python benchmarks/step_parts.py --output benchmarks/step_parts.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from report import report
from train_step import SHAPES, Worker

PARTS = ("linear", "gelu", "layer_norm", "attention", "adamw_all")
VARIANTS = {"kernels": (), **{part: (part,) for part in PARTS}, "all plain": PARTS}


def measure(shape: dict, rounds: int) -> dict:
    """CPU ms of a step by variant, one thread: minimum and median over the rounds."""
    workers = {
        name: Worker(sys.executable, "partly_plain_step.py", shape, 1, {"PLAIN": json.dumps(plain)})
        for name, plain in VARIANTS.items()
    }
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, worker in workers.items():
            times[name] += worker.run(1)["cpu_ms"]
    for worker in workers.values():
        worker.close()
    return {
        name: {"min": round(min(found), 1), "median": round(float(np.median(found)), 1)}
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    findings = {
        "shapes": {name: measure(shape, arguments.rounds) for name, shape in SHAPES.items()}
    }
    what = "CPU ms of a training step, one thread, with the named operators plain"
    report(__file__, what, findings, arguments.output)


if __name__ == "__main__":
    main()

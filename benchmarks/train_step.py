"""Training step of a transformer: scimind in `ms.jit` against PyTorch eager, on the same cores.

Pre-norm blocks (attention, GELU perceptron of ratio 4), untied vocabulary of 1024, batch 16 x 128,
float32, AdamW with the same values, equal initial weights and data. The two processes take turns
in one run, so that a busy machine slows both; the spread is that of the paired ratios.

    python benchmarks/train_step.py --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from report import report

HERE = Path(__file__).resolve().parent
SHAPES = {
    "6x256": {"layers": 6, "dim": 256, "heads": 8},
    "4x128": {"layers": 4, "dim": 128, "heads": 4},
}
# Threads of OpenMP spin for about 5 ms before they sleep, on the cores of the other process.
PAUSE_S = 0.01


class Worker:
    def __init__(
        self, python: str, script: str, shape: dict, threads: int, env: dict, *more: str
    ) -> None:
        self.process = subprocess.Popen(
            [python, str(HERE / "transformer" / script), json.dumps(shape), str(threads), *more],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        self.started = self.answer()

    def answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"worker ended with code {self.process.wait()}")
        return json.loads(line)

    def run(self, steps: int) -> dict:
        time.sleep(PAUSE_S)
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def interval(ratios: np.ndarray) -> list[float]:
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return [round(float(value), 3) for value in np.percentile(medians, [2.5, 97.5])]


def compare(shape: dict, threads: int, rounds: int, steps: int, torch_python: str, env: dict):
    ours = Worker(sys.executable, "mindspore_step.py", shape, threads, env)
    theirs = Worker(torch_python, "torch_step.py", shape, threads, {})
    assert abs(ours.started["loss"] - theirs.started["loss"]) < 1e-4, (ours.started, theirs.started)
    ours.run(2), theirs.run(2)
    collected = {"wall_ms": ([], []), "cpu_ms": ([], [])}
    for _ in range(rounds):
        answers = ours.run(steps), theirs.run(steps)
        for unit, both in collected.items():
            for values, answer in zip(both, answers, strict=True):
                values.append(float(np.median(answer[unit])))
    difference = abs(answers[0]["loss"][-1] - answers[1]["loss"][-1])
    ours.close(), theirs.close()
    result = {
        "shape": shape,
        "threads": threads,
        "kernels": env.get("SCIMIND_KERNELS", "auto"),
        "chosen": answers[0]["chosen"],
        "rounds": rounds,
        "steps_per_round": steps,
        "first_loss": [ours.started["loss"], theirs.started["loss"]],
        "last_loss_difference": difference,
        "first_step_s": [round(w.started["first_step_s"], 2) for w in (ours, theirs)],
    }
    for unit, (a, b) in collected.items():
        a, b = np.array(a), np.array(b)
        result[unit] = {
            "scimind": round(float(np.median(a)), 2),
            "torch": round(float(np.median(b)), 2),
            "scimind_min": round(float(a.min()), 2),
            "torch_min": round(float(b.min()), 2),
            "ratio": round(float(np.median(a / b)), 3),
            "ratio_95": interval(a / b),
        }
    versions = {k: v for w in (ours, theirs) for k, v in w.started.items() if isinstance(v, str)}
    return result, versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", required=True, help="python of an environment with torch")
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--kernels", nargs="+", default=["plain", "auto"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = []
    for name in options.shapes:
        for kernels in options.kernels:
            row, versions = compare(
                SHAPES[name],
                options.threads,
                options.rounds,
                options.steps,
                options.torch_python,
                {"SCIMIND_KERNELS": kernels},
            )
            rows.append(row)
            print(name, kernels, json.dumps({u: row[u] for u in ("wall_ms", "cpu_ms")}), flush=True)
    findings = {
        "load_average_at_the_start": round(load, 1),
        "opponent": versions,
        "results": rows,
    }
    report(__file__, "milliseconds of a training step", findings, options.output)


if __name__ == "__main__":
    main()

"""Training step of a transformer: scimind in `ms.jit` against PyTorch eager, on the same cores.

Pre-norm blocks (attention, GELU perceptron of ratio 4), untied vocabulary of 1024, batch 16 x 128,
float32, AdamW with the same values, equal initial weights and data. The two processes take turns
in one run, so that a busy machine slows both; the spread is that of the paired ratios. Of two
processes the one that starts first is some percent slower, whichever it is, so that both start
first in as many sessions.

    python benchmarks/train_step.py --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
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


def started(makers: Sequence[Callable[[], Worker]], session: int) -> list[Worker]:
    """Workers in the order of their makers; in every other session the last one starts first."""
    order = range(len(makers))
    workers = {k: makers[k]() for k in (reversed(order) if session % 2 else order)}
    return [workers[k] for k in order]


def interval(ratios: np.ndarray) -> list[float]:
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    return [round(float(value), 3) for value in np.percentile(medians, [2.5, 97.5])]


def compare(
    shape: dict, threads: int, sessions: int, rounds: int, steps: int, torch_python: str, env: dict
):
    makers = [
        partial(Worker, sys.executable, "mindspore_step.py", shape, threads, env),
        partial(Worker, torch_python, "torch_step.py", shape, threads, {}),
    ]
    collected = {"wall_ms": ([], []), "cpu_ms": ([], [])}
    by_session = []
    for session in range(sessions):
        ours, theirs = started(makers, session)
        first_loss = [ours.started["loss"], theirs.started["loss"]]
        assert abs(first_loss[0] - first_loss[1]) < 1e-4, first_loss
        ours.run(2), theirs.run(2)
        for _ in range(rounds):
            answers = ours.run(steps), theirs.run(steps)
            for unit, both in collected.items():
                for values, answer in zip(both, answers, strict=True):
                    values.append(float(np.median(answer[unit])))
        a, b = (np.array(values[-rounds:]) for values in collected["wall_ms"])
        by_session.append(round(float(np.median(a / b)), 3))
        ours.close(), theirs.close()
    difference = abs(answers[0]["loss"][-1] - answers[1]["loss"][-1])
    result = {
        "shape": shape,
        "threads": threads,
        "kernels": env.get("SCIMIND_KERNELS", "auto"),
        "chosen": answers[0]["chosen"],
        "sessions": sessions,
        "rounds": sessions * rounds,
        "steps_per_round": steps,
        "wall_ratios_of_sessions": by_session,
        "first_loss": first_loss,
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
    parser.add_argument("--sessions", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6, help="of each session")
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
                options.sessions,
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

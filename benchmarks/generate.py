"""Inference of a transformer: prefill and cached decoding, scimind against PyTorch eager.

The networks, weights and the alternating sessions are those of ``train_step.py``, causal. A step is
the whole prompt (prefill) or one more token of each sequence at cache lengths 128 to 255 (decode).

    python benchmarks/generate.py --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np

from report import report
from train_step import SHAPES, Worker, interval, started

STEPS = {"prefill": 8, "decode": 128}  # of a round: these, or as many times as take so long
ROUND_MS = 250.0  # the first milliseconds after the turn of the other process are cold


def compare(
    shape: dict, mode: str, threads: int, sessions: int, rounds: int, torch_python: str
) -> dict:
    makers = [
        partial(Worker, python, script, shape, threads, {}, mode)
        for python, script in (
            (sys.executable, "mindspore_generate.py"),
            (torch_python, "torch_generate.py"),
        )
    ]
    collected = {"wall_ms": ([], []), "cpu_ms": ([], [])}
    difference, steps = 0.0, 0
    for session in range(sessions):
        workers = started(makers, session)
        for index in range(rounds + 1):
            answers = [worker.run(steps or STEPS[mode]) for worker in workers]
            losses = [np.array(answer["loss"]) for answer in answers]
            difference = max(difference, float(abs(losses[0] / losses[1] - 1).max()))
            assert difference < 1e-3, "the two do not compute the same"
            if index == 0:  # the first round warms up
                took = max(sum(answer["wall_ms"]) for answer in answers)
                steps = steps or STEPS[mode] * max(1, round(ROUND_MS / took))
                continue
            for unit, both in collected.items():
                for values, answer in zip(both, answers, strict=True):
                    values.append(float(np.mean(answer[unit])))
        for worker in workers:
            worker.close()
    row = {
        "shape": shape,
        "mode": mode,
        "threads": threads,
        "sessions": sessions,
        "rounds": sessions * rounds,
        "steps_per_round": steps,
        "largest_relative_difference": difference,
        "chosen": answers[0]["chosen"],
    }
    for unit, (ours, theirs) in collected.items():
        a, b = np.array(ours), np.array(theirs)
        row[unit] = {
            "scimind_min": round(float(a.min()), 3),
            "torch_min": round(float(b.min()), 3),
            "ratio": round(float(np.median(a / b)), 3),
            "ratio_95": interval(a / b),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", required=True, help="python of an environment with torch")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, len(os.sched_getaffinity(0))])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8, help="of each session")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    rows = []
    for shape in SHAPES.values():
        for batch in options.batches:
            for mode in STEPS:
                for threads in options.threads:
                    row = compare(
                        {**shape, "batch": batch}, mode, threads, options.sessions,
                        options.rounds, options.torch_python,
                    )  # fmt: skip
                    rows.append(row)
                    print(shape, batch, mode, threads, row["wall_ms"], flush=True)
    findings = {"load_average_at_the_start": round(load, 1), "results": rows}
    report(__file__, "milliseconds of a step of inference", findings, options.output)


if __name__ == "__main__":
    main()

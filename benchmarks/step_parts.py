"""Where the plain formulations lose: the training step of `train_step.py` with one operator plain.

Each variant runs the compiled kernels but for the named operators, in a process of its own; the
processes take turns. What an operator costs is its variant against all kernels.

    python benchmarks/step_parts.py --output benchmarks/step_parts.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from scimind.provenance import commit_state, hardware, library_versions

HERE = Path(__file__).resolve().parent
SHAPES = {
    "6x256": {"layers": 6, "dim": 256, "heads": 8},
    "4x128": {"layers": 4, "dim": 128, "heads": 4},
}
PARTS = ("linear", "gelu", "layer_norm", "attention", "adamw")
VARIANTS = {"kernels": (), **{part: (part,) for part in PARTS}, "all plain": PARTS}


def work() -> None:
    """Serve steps, with the operators named in the environment plain."""
    sys.path.insert(0, str(HERE / "transformer"))
    import mindspore_step
    import serve

    def build(shape, weights, threads):
        from scimind.ops import registry

        for op in json.loads(os.environ["PLAIN"]):
            entries = registry._implementations[op]
            entries[:] = [
                replace(entry, priority=-1) if "kernel" in entry.name else entry
                for entry in entries
            ]
        return mindspore_step.build(shape, weights, threads)

    serve.serve(build)


def ask(process: subprocess.Popen, steps: int) -> dict:
    process.stdin.write(f"{steps}\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def measure(shape: dict, rounds: int) -> dict:
    """CPU ms of a step by variant: minimum and median over the rounds."""
    processes = {}
    for name, plain in VARIANTS.items():
        processes[name] = subprocess.Popen(
            [sys.executable, __file__, json.dumps(shape), "1", "--work"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PLAIN": json.dumps(plain), "OMP_NUM_THREADS": "1"},
        )
        processes[name].stdout.readline()
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(rounds):
        for name, process in processes.items():
            times[name] += ask(process, 1)["cpu_ms"]
    for process in processes.values():
        process.stdin.close()
        process.wait()
    return {
        name: {"min": round(min(found), 1), "median": round(float(np.median(found)), 1)}
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    state = commit_state()
    result = {
        "what": "CPU ms of a training step, one thread, with the named operators plain",
        "command": " ".join(["python", "benchmarks/step_parts.py", *sys.argv[1:]]),
        "commit": state[0] if state else None,
        "dirty": state[1] if state else None,
        "hardware": hardware(),
        "versions": library_versions(),
        "load_average": round(os.getloadavg()[0], 1),
        "shapes": {name: measure(shape, arguments.rounds) for name, shape in SHAPES.items()},
    }
    text = json.dumps(result, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")


if __name__ == "__main__":
    work() if "--work" in sys.argv else main()

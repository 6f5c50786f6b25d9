"""What keeping compiled graphs saves: `python -m biomol.train experiment=smoke` cold and warm.

Each round starts with an empty store of graphs (cold), then repeats the run (warm). Kernels and
prepared data are there in both. The results have to be the same bits.

    python benchmarks/first_step.py --output benchmarks/first_step.json
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from report import report
from scimind.device.compile_cache import cache_root
from scimind.provenance import cpu_seconds


def run(cache: Path, folder: Path) -> dict:
    """One smoke run: seconds of wall and process CPU time until the end, and its losses."""
    before = cpu_seconds()
    started = time.perf_counter()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "biomol.train", "experiment=smoke", "threads=1"),
            *("log.progress=false", f"output={folder}"),
        ],
        env={**os.environ, "SCIMIND_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    cpu = cpu_seconds() - before  # this process only waits
    training = re.search(r"training ended .* \(CPU (\d+) s\)", done.stdout + done.stderr)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line).get("loss") for line in lines]
    return {
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(cpu, 1),
        "training_cpu_s": float(training.group(1)) if training else None,
        "losses": [loss for loss in losses if loss is not None],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rounds = []
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "cache"
        shutil.copytree(cache_root(), cache, ignore=shutil.ignore_patterns("graphs"))
        run(cache, Path(scratch) / "first")  # kernels and prepared data
        for number in range(arguments.rounds):
            shutil.rmtree(cache / "graphs")
            cold = run(cache, Path(scratch) / f"cold{number}")
            warm = run(cache, Path(scratch) / f"warm{number}")
            equal = cold.pop("losses") == warm.pop("losses")
            rounds.append({"cold": cold, "warm": warm, "losses_equal": equal})
            print(rounds[-1], flush=True)
    ratios = [r["warm"]["cpu_s"] / r["cold"]["cpu_s"] for r in rounds]
    training = [r["warm"]["training_cpu_s"] / r["cold"]["training_cpu_s"] for r in rounds]
    findings = {
        "seed": 0,
        "rounds": rounds,
        "warm_by_cold_cpu": round(float(np.median(ratios)), 3),
        "warm_by_cold_training_cpu": round(float(np.median(training)), 3),
        "losses_equal": all(r["losses_equal"] for r in rounds),
    }
    what = "smoke run with graphs restored (warm) against compiled (cold)"
    report(__file__, what, findings, arguments.output)


if __name__ == "__main__":
    main()

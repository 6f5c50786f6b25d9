"""Every declared operator at its declared sizes: our kernel, plain, MindSpore's own, PyTorch.

Two persistent processes on the same cores, ours in MindSpore and one in PyTorch, take turns case by
case, so that a busy machine slows both; the spread is that of the paired ratios. Where memory lies
by chance decides up to a factor of two as long as a process lives, so both start anew for each
session. A case whose results differ between the two is refused. Takes about 40 minutes.

    python benchmarks/operators.py --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from operator_workers.cases import Case, size_text
from operator_workers.declared import all_cases
from operator_workers.values import differs
from operator_workers.work import Work, few_calls, least_work
from report import report
from train_step import interval

HERE = Path(__file__).resolve().parent
MODES = ("forward", "forward_backward")
# Runs of a turn take about so long, as in a loop: after a pause everything is cold.
TURN_MS = 20.0
MOST_RUNS = 40
# Threads of OpenMP spin for about 5 ms before they sleep, on the cores of the other process.
PAUSE_S = 0.01
# Plain and MindSpore's own take part in every third round of the first session and of the first
# number of threads: they need no interval, and their graphs take long to compile.
SELDOM = 3
# A worker with more is replaced: MindSpore keeps what a graph needs for as long as it lives.
MOST_MEMORY_GIB = 8.0
# glibc keeps what is freed, as MindSpore's pool does. By default each new result above 32 MiB costs
# a page fault for every 4 KiB, up to ten times the operator.
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}


class WorkerEnded(Exception):
    """A worker is gone, as when memory runs out."""


class Worker:
    """A process that prepares and runs cases; each operator may use ``threads`` threads."""

    def __init__(self, python: str, script: str, threads: int, **environment: str) -> None:
        self.arguments = [python, str(HERE / "operator_workers" / script), str(threads)]
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
            "OMP_NUM_THREADS": str(threads),
            "SCIMIND_KERNELS": "auto",
            "GLOG_v": "4",  # MindSpore's own operators are tried, and fail with long messages
            **environment,
        }
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )
        self.memory = 0.0
        self.versions = self.answer()

    def send(self, request: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            script = Path(self.arguments[1]).name
            raise WorkerEnded(f"{script} ended with code {self.process.wait()}")
        return json.loads(line)

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(request)
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()

    def restart(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()


@dataclass(kw_only=True)
class Times:
    """Milliseconds per call of each round."""

    calls: int
    wall: list[float]
    cpu: list[float]

    def add(self, answer: dict[str, Any]) -> None:
        self.wall.append(median(answer["wall_ms"]) / self.calls)
        self.cpu.append(answer["cpu_ms"] / self.calls)

    def summary(self) -> dict[str, float]:
        found = {}
        for unit, values in (("wall", self.wall), ("cpu", self.cpu)):
            found[f"{unit}_us"] = round(1e3 * median(values), 1)
            found[f"{unit}_us_min"] = round(1e3 * min(values), 1)
        return found


class Pair:
    """Our worker and PyTorch's, for one number of threads."""

    def __init__(self, torch_python: str, threads: int) -> None:
        self.threads = threads
        self.ours = Worker(sys.executable, "mindspore_ops.py", threads)
        self.theirs = Worker(torch_python, "torch_ops.py", threads, **KEPT_MEMORY)

    def ceilings(self) -> dict[str, dict[str, float]]:
        """The rates of the machine: of matrix products, and to memory by the bytes touched."""
        ours, theirs = self.ours.ask(ceilings=True), self.theirs.ask(ceilings=True)
        found = {"gflops": ours["gflops"] | theirs["gflops"], "memory_gb_s": theirs["memory"]}
        return {
            name: {key: round(value, 1) for key, value in row.items()}
            for name, row in found.items()
        }

    def prepare(self, case: Case, more: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        message = {"case": case.message(), "more": more}
        self.ours.send(message)
        self.theirs.send(message)
        answers = self.ours.answer(), self.theirs.answer()
        self.ours.memory = answers[0]["memory_gib"]
        return answers

    def measure(self, runs: dict[str, int], rounds: int) -> dict[str, dict[str, Times]]:
        """Times by mode and column of runs, which are given with their calls."""
        times: dict[str, dict[str, Times]] = {}
        length = dict.fromkeys(runs, TURN_MS)
        for number in range(rounds):
            for name, calls in runs.items():
                column, mode = name.split()
                if column in ("plain", "mindspore") and number % SELDOM:
                    continue
                worker = self.theirs if column == "torch" else self.ours
                time.sleep(PAUSE_S)
                count = int(np.clip(TURN_MS / length[name], 1, MOST_RUNS))
                answer = worker.ask(run=name, times=count)
                length[name] = min(answer["wall_ms"])
                found = times.setdefault(mode, {})
                found.setdefault(column, Times(calls=calls, wall=[], cpu=[])).add(answer)
        return times

    def row(self, case: Case, more: list[str], rounds: int) -> dict[str, Any]:
        """What is found about a case."""
        found: dict[str, Any] = {
            "operator": case.operator,
            "variant": case.variant,
            "sizes": size_text(case.sizes),
            "threads": self.threads,
            "calls": case.calls,
        }
        if self.ours.memory > MOST_MEMORY_GIB:
            self.ours.restart()
        try:
            return found | self._row(case, more, rounds)
        except WorkerEnded as error:
            self.ours.restart()
            self.theirs.restart()
            return {**found, "refused": {"worker": str(error)}}

    def _row(self, case: Case, more: list[str], rounds: int) -> dict[str, Any]:
        ours, theirs = self.prepare(case, more)
        failed = {**ours["failed"], **theirs["failed"]}
        refused = _refused(case, ours["digests"], theirs["digests"], failed)
        for name in [name for name in refused if name.startswith("mindspore ")]:
            failed[name] = f"another result: {refused.pop(name)}"
        found: dict[str, Any] = {
            "torch": ", ".join(sorted({note for note in theirs["notes"].values() if note})),
            "mindspore": ours["notes"]["mindspore"],
        }
        if refused:
            return {**found, "refused": refused}
        good = {name for name in (*ours["digests"], *theirs["digests"]) if name not in failed}
        if "single forward" in good:
            good.add("eager forward")
        runs = {
            f"{column} {mode}": calls
            for mode in MODES
            for column, calls in (
                ("kernel", case.calls),
                ("torch", case.calls),
                ("single", 1),
                ("eager", 1),
                ("plain", few_calls(case)),
                ("mindspore", case.calls),
            )
            if f"{column} {mode}" in good
        }
        found |= self.measure(runs, rounds)
        return {**found, "failed": failed} if failed else found

    def close(self) -> dict[str, str]:
        versions = self.ours.versions | self.theirs.versions
        self.ours.close()
        self.theirs.close()
        return versions


def _refused(
    case: Case, ours: dict[str, Any], theirs: dict[str, Any], failed: dict[str, str]
) -> dict[str, str]:
    """Columns whose results are not those of PyTorch, or are missing, and why."""
    refused = {name: why for name, why in failed.items() if not name.startswith("mindspore ")}
    for name, digest in ours.items():
        column, _, mode = name.partition(" ")
        other = theirs.get(f"torch {mode}")
        if other is None or case.operator == "random_bits":
            continue
        why = differs(case, digest, other) if column != "single" else None
        if why:
            refused[name] = why
    return refused


def _compared(times: dict[str, Times], least: Work) -> dict[str, Any]:
    """Times, ratios to PyTorch, and rates of the kernel."""
    found: dict[str, Any] = {name: row.summary() for name, row in times.items()}
    kernel, torch = times["kernel"], times["torch"]
    for unit in ("wall", "cpu"):
        ratios = np.array(getattr(kernel, unit)) / np.array(getattr(torch, unit))
        found[f"{unit}_ratio"] = round(float(np.median(ratios)), 3)
        found[f"{unit}_ratio_95"] = interval(ratios) if len(ratios) > 1 else [None, None]
    seconds = 1e-3 * min(kernel.wall)
    return {
        **found,
        "flops": least.flops,
        "bytes": least.bytes,
        "gflops": round(1e-9 * least.flops / seconds, 1),
        "gb_s": round(1e-9 * least.bytes / seconds, 1),
    }


def join(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What several sessions found about a case; one that was refused in any of them is refused."""
    found = dict(rows[0])
    for row in rows[1:]:
        if "refused" in row:
            return row
        for mode in filter(row.__contains__, MODES):
            for column, times in row[mode].items():
                found[mode][column].wall += times.wall
                found[mode][column].cpu += times.cpu
    return found


def compare(row: dict[str, Any], case: Case) -> dict[str, Any]:
    """A row with times, ratios and rates in the place of the rounds."""
    least = least_work(case)
    return row | {mode: _compared(row[mode], least[mode]) for mode in MODES if mode in row}


def set_shares(row: dict[str, Any], ceilings: dict[str, dict[str, float]]) -> None:
    """How near the kernel is to what the machine can do: the least time by the smallest one."""
    for mode in filter(row.__contains__, MODES):
        found = row[mode]
        bandwidth = _bandwidth(ceilings["memory_gb_s"], row["calls"] * found["bytes"])
        least = {
            "arithmetic": 1e-3 * found["flops"] / max(ceilings["gflops"].values()),
            "memory": 1e-3 * found["bytes"] / bandwidth,
        }
        bound = max(least, key=least.__getitem__)
        found["bound"], found["ceiling_gb_s"] = bound, bandwidth
        found["share_of_ceiling"] = round(least[bound] / found["kernel"]["wall_us_min"], 3)


def _larger(
    one: dict[str, dict[str, float]], other: dict[str, dict[str, float]]
) -> dict[str, dict[str, float]]:
    return {
        name: {key: max(value, other[name][key]) for key, value in rates.items()}
        for name, rates in one.items()
    }


def _bandwidth(rates: dict[str, float], touched: float) -> float:
    """GB/s of the largest copy or change that touches no more than a run of the case does."""
    smaller = [size for size in map(int, rates) if size <= touched]
    return rates[str(max(smaller) if smaller else min(map(int, rates)))]


def line(session: int, row: dict[str, Any]) -> str:
    """A row for the terminal."""
    text = f"session {session}, {row['threads']}t {row['operator']} {row['variant']} {row['sizes']}"
    if "refused" in row:
        return f"{text}: REFUSED {row['refused']}"
    for mode in MODES:
        if mode in row:
            found = row[mode]
            kernel, torch = found["kernel"]["wall_us_min"], found["torch"]["wall_us_min"]
            text += (
                f" | {mode} {kernel:.0f}/{torch:.0f} us, wall {found['wall_ratio']:.2f},"
                f" CPU {found['cpu_ratio']:.2f}, {found['gflops']} GFLOP/s, {found['gb_s']} GB/s"
            )
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", required=True, help="python of an environment with torch")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sessions", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5, help="of each session")
    parser.add_argument("--only", nargs="+", default=[], metavar="OPERATOR")
    parser.add_argument("--quick", action="store_true", help="one round at the smallest sizes")
    parser.add_argument("--output", type=Path, help="benchmarks/operators.json keeps the results")
    options = parser.parse_args()
    started, load = time.perf_counter(), os.getloadavg()[0]
    chosen = all_cases(options.only, options.quick)
    ceilings: dict[str, Any] = {}
    versions: dict[str, str] = {}
    sessions, rounds = (1, 1) if options.quick else (options.sessions, options.rounds)
    places = [(threads, case) for threads in options.threads for case in chosen]
    found: list[list[dict[str, Any]]] = [[] for _ in places]
    for session in range(sessions):
        for threads in options.threads:
            pair = Pair(options.torch_python, threads)
            rates = pair.ceilings()
            print(threads, "threads:", json.dumps(rates), flush=True)
            called: set[tuple[str, str]] = set()
            for (of, case), rows in zip(places, found, strict=True):
                if of != threads:
                    continue
                first = session == 0 and threads == options.threads[0]
                more = ["plain", "mindspore"] if first else []
                if session == 0 and (case.operator, case.variant) not in called:
                    more += ["single"]  # at the smallest size
                called.add((case.operator, case.variant))
                rows.append(pair.row(case, more, rounds))
                print(line(session, compare(rows[-1], case)), flush=True)
            rates = _larger(rates, pair.ceilings())
            ceilings[str(threads)] = _larger(rates, ceilings.get(str(threads), rates))
            versions |= pair.close()
    rows = [compare(join(each), case) for each, (_, case) in zip(found, places, strict=True)]
    for row in rows:
        set_shares(row, ceilings[str(row["threads"])])
    findings = {
        "sessions": sessions,
        "rounds": sessions * rounds,
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "load_average_at_the_start": round(load, 1),
        "opponent": versions,
        "ceilings": ceilings,
        "results": rows,
    }
    what = "operators in MindSpore against PyTorch on the same cores"
    report(__file__, what, findings, options.output)
    if any("refused" in row for row in rows):
        raise SystemExit("some cases were refused, see above")


if __name__ == "__main__":
    main()

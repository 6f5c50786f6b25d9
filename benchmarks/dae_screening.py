"""Contingency screening and critical clearing times: misses, abstention, error and cost.

The first looks are calibrated on faults of one half of the lines, near their critical clearing
times. They are tested on the other half, at load levels and clearing times of their own, against
the fine engine. Process CPU time; runs alternate. Takes about ten minutes.

    python benchmarks/dae_screening.py
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.physics import Calibration, Fault, PowerSystem, Scenarios, fault
from dae_solver.physics.looks import Findings, FirstLook, fine
from dae_solver.physics.roc import operating_points, rates
from dae_solver.physics.screening import doubtful
from report import report

FINE, T_END, ALPHA = 1 / 240, 5.0, 0.01
ROUNDS = 3


def halves(grid: PowerSystem) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines that may open, every second one for the test."""
    network = grid.dae.network
    free = [
        branch.id
        for k, branch in enumerate(grid.case.branches)
        if len(network.islands(network.built.without([k]))) == 1
    ]
    return tuple(free[::2]), tuple(free[1::2])


def ends(grid: PowerSystem, line: str) -> tuple[Any, Any]:
    branch = grid.case.branches[grid.dae.network.branch(line)]
    return branch.from_bus, branch.to_bus


def test_faults(grid: PowerSystem, lines: tuple[str, ...], number: int, seed: int) -> Scenarios:
    """Faults on lines that the calibration did not see, most at loads that it did not see."""
    rng = np.random.default_rng(seed)
    each = []
    for _ in range(number):
        line = lines[int(rng.integers(len(lines)))]
        bus = ends(grid, line)[int(rng.integers(2))]
        each.append(fault(bus, t=0.2, clear=float(rng.uniform(0.04, 0.4)), trip=line))
    return grid.scenarios(*each, load_level=rng.uniform(0.8, 1.1, number))


def screened(
    grid: PowerSystem, look: FirstLook, calibration: Calibration, tested: Scenarios, truth: Any
) -> dict[str, Any]:
    limits = calibration.limits(ALPHA)
    quick, slow = [], []
    for _ in range(ROUNDS):
        begun = time.process_time()
        first = Findings.of(look.trajectories(grid, tested), voltages=False)
        middle = time.process_time()
        fine(grid, tested.take(np.arange(0, len(tested), 10)), FINE, T_END)
        quick.append(1e3 * (middle - begun) / len(tested))
        slow.append(1e3 * (time.process_time() - middle) / len(range(0, len(tested), 10)))
    abstained = doubtful(first, limits)
    unstable, number = ~truth.stable, len(tested)
    raw = first.stable != truth.stable
    missed, alarms = rates(calibration)
    kept = np.unique(np.linspace(0, len(missed) - 1, 41).astype(int))
    cost = float(np.median(quick)) + float(abstained.mean()) * float(np.median(slow))
    return {
        "look": look.name,
        "alpha": ALPHA,
        "limits": limits,
        "calibration_unstable": len(calibration.unstable),
        "calibration_stable": len(calibration.stable),
        "tested": number,
        "tested_unstable": int(unstable.sum()),
        "false_stable": int((first.stable & unstable & ~abstained).sum()),
        "false_unstable": int((~first.stable & ~unstable & ~abstained).sum()),
        "without_abstention": {
            "false_stable": int((raw & unstable).sum()),
            "false_unstable": int((raw & ~unstable).sum()),
        },
        "abstention": round(float(abstained.mean()), 4),
        "first_look_cpu_ms": round(float(np.median(quick)), 3),
        "fine_cpu_ms": round(float(np.median(slow)), 3),
        "cpu_ms": round(cost, 3),
        "times_cheaper_than_fine": round(float(np.median(slow)) / cost, 2),
        "near_the_limit": [asdict(point) for point in operating_points(calibration)],
        "roc_near_the_limit": [
            [round(float(alarms[k]), 4), round(1.0 - float(missed[k]), 4)] for k in kept
        ],
    }


def clearing(grid: PowerSystem, lines: tuple[str, ...], number: int) -> dict[str, Any]:
    """Two stages against bisection by the fine engine alone."""
    rng = np.random.default_rng(2)
    chosen = [lines[int(k)] for k in rng.integers(len(lines), size=number)]
    faults = [Fault(bus=ends(grid, line)[int(rng.integers(2))], trip=line) for line in chosen]
    level = rng.uniform(0.85, 1.1, number)
    ways = {
        "fine_only": {"coarse": None, "step": FINE},
        "two_stages_1/240": {"step": FINE},
        "two_stages_1/60": {"step": 1 / 60},
        "coarse_only_1/15": {"coarse": None, "step": 1 / 15},
    }
    found, spent = {}, {}
    for name, how in ways.items():
        begun = time.process_time()
        found[name] = grid.cct(faults, load_level=level, tolerance=1e-3, t_end=T_END, **how)
        spent[name] = time.process_time() - begun
    truth = found["fine_only"].cct
    finite = np.isfinite(truth)
    rows = {}
    for name, times in found.items():
        assert np.array_equal(np.isfinite(times.cct), finite), name
        error = 1e3 * np.abs(times.cct[finite] - truth[finite])
        rows[name] = {
            "p50_ms": round(float(np.median(error)), 3),
            "max_ms": round(float(error.max()), 3),
            "fine_simulations": times.simulations,
            "coarse_simulations": times.coarse,
            "cpu_s": round(spent[name], 2),
            "times_cheaper": round(spent["fine_only"] / spent[name], 2),
        }
    return {"faults": number, "with_a_critical_time": int(finite.sum()), "ways": rows}


def reference_grid(folder: Path, name: str, load: str) -> PowerSystem:
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    from power_cases import reference_case

    return PowerSystem(reference_case(folder / "dae_solver" / f"{name}.json"), load)


def measure(
    grid: PowerSystem, looks: list[FirstLook], options: argparse.Namespace
) -> dict[str, Any]:
    known, unseen = halves(grid)
    tested = test_faults(grid, unseen, options.tested, seed=7)
    truth = fine(grid, tested, FINE, T_END)
    rows = []
    for look in looks:
        begun = time.process_time()
        calibration = grid.calibrate_screen(
            cases=options.cases, lines=known, seed=1, solver=look.solver, step=look.step,
            operator=look.operator, certify=look.certify, fine_step=FINE,
        )  # fmt: skip
        spent = time.process_time() - begun
        row = screened(grid, look, calibration, tested, truth)
        rows.append({**row, "calibration_cpu_s": round(spent, 1)})
        print(json.dumps(rows[-1]), flush=True)
    times = clearing(grid, (*known, *unseen), options.faults)
    print(json.dumps(times), flush=True)
    return {
        "case": grid.case.name,
        "load": str(grid.dae.load_model),
        "calibration_lines": known,
        "test_lines": unseen,
        "screening": rows,
        "clearing": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    folder = os.environ.get("SCIMIND_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=folder and Path(folder),
        help="folder with dae_solver/ieee39.json; SCIMIND_DATA by default, without it no 39 buses",
    )
    parser.add_argument("--operator", type=Path, help="of wscc9 with impedances, for that too")
    parser.add_argument("--tested", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument(
        "--output", type=Path, help="benchmarks/dae_screening.json keeps the results"
    )
    options = parser.parse_args()
    looks = [FirstLook(step=1 / 15), FirstLook(step=0.1)]
    learned = list(looks)
    if options.operator:
        learned.append(FirstLook(solver="hybrid", operator=options.operator))
    results = [measure(PowerSystem.load("wscc9"), learned, options)]
    if options.data:
        grid = reference_grid(options.data, "ieee39", "zip 0.4 0.3 0.3")
        results.append(measure(grid, looks, options))
    report(
        __file__,
        "screening of random faults and critical clearing times, CPU time of a contingency",
        {"fine_step": "1/240", "t_end_s": T_END, "results": results},
        options.output,
    )


if __name__ == "__main__":
    main()

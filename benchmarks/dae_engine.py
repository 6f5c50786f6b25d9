"""The classical engine of dae_solver: time and error by step, batch and system.

Process CPU time of batches of random faults, 5 s each, against the same batch with a fine step; the
set-up (power flow, scenarios) is timed apart. Equations are compiled; with 1/30 s in NumPy too.

    python benchmarks/dae_engine.py
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem, Scenarios, fault
from report import report

FINE = 1 / 480
T_END = 5.0


def random_faults(grid: PowerSystem, number: int, seed: int) -> Scenarios:
    """Faults at random ends of random lines, cleared by tripping them or not, at random loads."""
    rng = np.random.default_rng(seed)
    network = grid.dae.network
    lines = [
        k
        for k in range(len(grid.case.branches))
        if len(network.islands(network.built.without([k]))) == 1
    ]
    disturbances = []
    for _ in range(number):
        branch = grid.case.branches[int(rng.choice(lines))]
        bus = branch.from_bus if rng.random() < 0.5 else branch.to_bus
        trip = branch.id if rng.random() < 0.5 else None
        start, clear = rng.uniform(0.1, 0.5), rng.uniform(0.03, 0.12)
        disturbances.append(
            fault(bus, t=float(start), clear=float(clear), trip=trip, r=1e-4, x=0.0)
        )
    return grid.scenarios(*disturbances, load_level=rng.uniform(0.85, 1.05, number))


def measure(grid: PowerSystem, scenarios: Scenarios, step: float, rounds: int) -> dict[str, Any]:
    wall, cpu, runs = [], [], None
    # Those of one scenario are over before the caches are warm.
    for _ in range(rounds if len(scenarios) > 1 else 10 * rounds):
        began, used = time.perf_counter(), time.process_time()
        runs = grid.simulate(scenarios, t_end=T_END, every=1 / 30, step=step, tolerance=1e-8)
        wall.append(1e3 * (time.perf_counter() - began) / len(scenarios))
        cpu.append(1e3 * (time.process_time() - used) / len(scenarios))
    assert runs is not None
    return {
        "cpu_ms": round(min(cpu), 4),
        "wall_ms": round(min(wall), 4),
        "runs": runs,
    }


def errors(runs: Any, fine: Any) -> dict[str, float]:
    """Largest error of a centre-of-inertia angle, degrees, over the scenarios that stay stable."""
    stable = fine.stable
    difference = np.degrees(np.abs(runs.delta_coi - fine.delta_coi)[stable].max((1, 2)))
    return {
        "stable": int(stable.sum()),
        "p50_deg": float(np.median(difference)),
        "p99_deg": float(np.quantile(difference, 0.99)),
        "max_deg": float(difference.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", default=["wscc9"], help="built-in names or files")
    parser.add_argument("--load", nargs="+", default=["zip 1 0 0", "zip 0.4 0.3 0.3"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="benchmarks/dae_engine.json keeps the results")
    options = parser.parse_args()
    load, rows = os.getloadavg()[0], []
    for case in options.case:
        for model in options.load:
            grid = PowerSystem.load(case, load=model)
            for batch in options.batch:
                began = time.process_time()
                scenarios = random_faults(grid, batch, seed=batch)
                setup = 1e3 * (time.process_time() - began) / batch
                fine = grid.simulate(scenarios, t_end=T_END, every=1 / 30, step=FINE)
                for step, numpy in (
                    (1 / 60, False),
                    (1 / 30, False),
                    (1 / 15, False),
                    (1 / 30, True),
                ):
                    found = measure(
                        grid.in_numpy() if numpy else grid, scenarios, step, options.rounds
                    )
                    row = {
                        "case": grid.case.name,
                        "load": model,
                        "states": len(grid.dae.states),
                        "algebraic": len(grid.dae.algebraics),
                        "equations": "NumPy" if numpy else grid.dae.evaluated_by,
                        "batch": batch,
                        "step": f"1/{round(1 / step)}",
                        "setup_cpu_ms": round(setup, 3),
                        "cpu_ms": found["cpu_ms"],
                        "wall_ms": found["wall_ms"],
                        **errors(found["runs"], fine),
                    }
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    what = "RK4 on power systems, CPU and wall time per scenario of 5 s"
    report(
        __file__,
        what,
        {"load_average_at_the_start": round(load, 1), "results": rows},
        options.output,
    )


if __name__ == "__main__":
    main()

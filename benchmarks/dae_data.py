"""How well the trajectory operator of dae_solver learns from few trajectories.

The same network is trained for the same number of steps on more and more trajectories of the
nine-bus system, without and with the physics loss: the residual of predictions from starts whose
course is unknown. Errors are of angles within a window, on lines that training never saw. Takes
about twenty minutes of CPU time.

    python benchmarks/dae_data.py --output benchmarks/dae_data.json
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from dae_solver.config.data import DataConfig
from dae_solver.config.train import TrainConfig
from dae_solver.fitting import fit_operator, prepare
from report import report
from scimind import device
from scimind.config.training import OptimizerConfig, ScheduleConfig
from scimind.provenance import cpu_seconds
from scimind.train import RunFolder

TRAJECTORIES = (50, 200, 800, 3000)


def trained(trajectories: int, physics: float, steps: int, starts: int) -> dict[str, Any]:
    config = TrainConfig(
        data=DataConfig(scenarios=trajectories, starts=starts),
        steps=steps,
        evaluate_every=max(steps // 4, 1),
        physics=physics,
        optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=1e-5, beta2=0.99, ema=0.998),
        schedule=ScheduleConfig(warmup_steps=100, final_ratio=0.01),
    )
    begun = cpu_seconds()
    prepared = prepare(config)
    simulated = cpu_seconds()
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run") as run:
        fitted, _ = fit_operator(replace(config, output=folder), prepared, run)
    return {
        "trajectories": trajectories,
        "physics": physics,
        "windows": len(prepared.windows),
        **{name: round(value, 3) for name, value in fitted.evaluation.items()},
        "simulation_cpu_s": round(simulated - begun, 1),
        "training_cpu_s": round(cpu_seconds() - simulated, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trajectories", type=int, nargs="*", default=TRAJECTORIES)
    parser.add_argument("--physics", type=float, default=0.3, help="weight of the residual")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--starts", type=int, default=3000)
    parser.add_argument("--output", type=Path, help="benchmarks/dae_data.json keeps the results")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    device.setup("cpu", "fp32", threads=2)
    rows = [
        trained(number, physics, options.steps, options.starts)
        for number in options.trajectories
        for physics in (0.0, options.physics)
    ]
    what = "angle errors in degrees by the number of training trajectories"
    found = {"load_average_at_the_start": round(load, 1), "steps": options.steps, "results": rows}
    report(__file__, what, found, options.output)


if __name__ == "__main__":
    main()

"""What becomes of answers when an operator's weights are not those that were calibrated.

Each weight is off by a normal share. A certificate is of the weights that it was made with, so that
others are noticed and the classical engine does everything; besides, what residuals alone tell if
nobody notices. Errors against tight trajectories of scenarios on lines that neither training
nor calibration saw.

    python benchmarks/dae_corruption.py --operator RUN_FOLDER [RUN_FOLDER ...]
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.data.draws import draw_scenarios
from dae_solver.hybrid.calibration import angle_errors, reference
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.trained import Trained
from report import report
from scimind.seeding import numpy_generator

EVERY, BOUND = 1 / 30, 3.0


def corrupted(
    operator: TrajectoryOperator, share: float, seed: int, *, noticed: bool
) -> TrajectoryOperator:
    """With other weights; where that is not ``noticed``, certificates are of any weights."""
    rng = numpy_generator(seed, "corruption")
    weights = {
        name: np.asarray(value * (1.0 + share * rng.standard_normal(value.shape)), np.float32)
        for name, value in operator.weights.items()
    }
    facts = operator.facts
    if not noticed:
        facts = facts | {"certificates": [{**c, "digest": ""} for c in facts["certificates"]]}
    return replace(operator, weights=weights, facts=facts)


def row(trained: Trained, scenarios: Any, truth: Any, operator: TrajectoryOperator) -> dict:
    """How far answers are off, and how many of those were flagged."""
    runs = trained.grid.simulate(
        scenarios, every=EVERY, solver="hybrid", operator=operator, certify=BOUND, audit=0.0
    )
    error, flagged = angle_errors(truth, runs.solution.x), runs.solution.refused > 0
    above, beyond = error > BOUND, error > runs.certificate
    return {
        "flagged": round(float(flagged.mean()), 4),
        "above_bound": int(above.sum()),
        "above_bound_unflagged": int((above & ~flagged).sum()),
        "above_certificate": int(beyond.sum()),
        "above_certificate_unflagged": int((beyond & ~flagged).sum()),
        "max_deg": round(float(error.max()), 3),
    }


def of_run(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All shares and seeds of one training."""
    trained = Trained.load(folder)
    lines = trained.untouched or trained.lines.trained
    rng = numpy_generator(options.seed, "scenarios", "corruption")
    data = trained.known_settings().data
    scenarios = draw_scenarios(trained.grid, lines, data, rng, options.scenarios)
    truth = reference(trained.grid, scenarios, data.t_end, EVERY)
    rows = [{"share": 0.0, **row(trained, scenarios, truth, trained.operator)}]
    for share in options.shares:
        for seed in range(options.seeds):
            for noticed in (True, False):
                operator = corrupted(trained.operator, share, seed, noticed=noticed)
                found = row(trained, scenarios, truth, operator)
                rows.append({"share": share, "seed": seed, "noticed": noticed, **found})
                print(folder.name, rows[-1], flush=True)
    return {
        "case": trained.grid.case.name,
        "seed": trained.known_settings().seed,
        "scenarios": options.scenarios,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operator", required=True, nargs="+", type=Path, help="run folders")
    parser.add_argument("--scenarios", type=int, default=600)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.03, 0.1, 0.3])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="of the scenarios")
    parser.add_argument("--output", type=Path, help="benchmarks/dae_corruption.json keeps them")
    options = parser.parse_args()
    logging.getLogger("dae_solver").setLevel(logging.ERROR)
    found = {"trainings": [of_run(folder, options) for folder in options.operator]}
    report(__file__, "answers with corrupted weights, within 3 deg", found, options.output)


if __name__ == "__main__":
    main()

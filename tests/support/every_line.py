"""How the certificates of a training do on scenarios on every line, seen by it or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.data.draws import draw_scenarios
from dae_solver.hybrid.calibration import angle_errors, reference
from dae_solver.tasks.solvers import Hybrid
from dae_solver.trained import Trained
from scimind.seeding import numpy_generator


def on_every_line(run: Path, *, each: int) -> list[dict[str, Any]]:
    """Errors for each bound, of other scenarios than calibration and test drew.

    Args:
        run: Folder of the training.
        each: Scenarios on each line.
    """
    trained = Trained.load(run)
    grid, settings, lines = trained.grid, trained.known_settings(), trained.lines
    known = {"trained": lines.trained, "calibration": lines.calibration}
    bounds = [certificate["bound"] for certificate in trained.operator.facts["certificates"]]
    rows: dict[float, list[tuple[str, str, np.ndarray, np.ndarray]]] = {b: [] for b in bounds}
    for line in lines.every:
        kind = next((name for name, some in known.items() if line in some), "untouched")
        rng = numpy_generator(settings.seed, "scenarios", "every line", line)
        scenarios = draw_scenarios(grid, (line,), settings.data, rng, each)
        truth = reference(grid, scenarios, settings.data.t_end, 1 / 30)
        for bound, found in rows.items():
            solver = Hybrid(grid=grid, operator=trained.operator, certify=bound)
            runs = solver.simulate(scenarios, t_end=settings.data.t_end, every=1 / 30)
            error = angle_errors(truth, runs.solution.x)
            found.append((grid.case.branches[line].id, kind, error, runs.certificate))
    return [
        {
            "bound": bound,
            "scenarios": each * len(found),
            "max_deg": max(float(error.max()) for _, _, error, _ in found),
            "above_bound": sum(int((error > bound).sum()) for _, _, error, _ in found),
            "above_certificate": sum(int((error > own).sum()) for _, _, error, own in found),
            "without_bound": sum(int(np.isinf(own).sum()) for _, _, _, own in found),
            "lines": {
                line: {
                    "kind": kind,
                    "max_deg": float(error.max()),
                    "above_certificate": int((error > own).sum()),
                }
                for line, kind, error, own in found
            },
        }
        for bound, found in rows.items()
    ]

"""Measurements of grids with hidden terms, for the tests of identification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem, Scenarios, fault, line_trip, load_step
from dae_solver.unknown import Measurements, from_arrays, measure
from power_cases import reference_case
from power_references import STATES, Reference

EVENTS = (
    fault(7, t=0.2, clear=0.08, trip="5-7"),
    load_step(6, t=0.2, p=1.4),
    line_trip("4-6", t=0.2),
)


def hidden(parameters: dict[str, Any], **options: Any) -> tuple[PowerSystem, Measurements]:
    """The nominal nine-bus system, and exact phasors of one with other parameters."""
    grid = PowerSystem.load("wscc9")
    true = PowerSystem(grid.case, grid.dae.load_model, parameters=parameters)
    return grid, exact(grid, true, **options)


def exact(
    grid: PowerSystem,
    true: PowerSystem,
    *,
    events: Any = EVENTS,
    t_end: float = 1.2,
    every: float = 1 / 30,
    what: str = "pmu",
    buses: list[int] | None = None,
) -> Measurements:
    """Exact measurements of ``true`` as scenarios of ``grid``."""
    runs = true.simulate(true.scenarios(*events), t_end=t_end, every=every, step=1 / 60)
    return measure(runs, grid.scenarios(*events), what=what, buses=buses)


class Stored:
    """A stored set with a hidden term, as measurements of the nominal grid."""

    def __init__(self, folder: Path, name: str) -> None:
        self.reference = reference = Reference(folder, f"unknown_{name}_dev")
        self.grid = grid = PowerSystem(reference_case(folder / "wscc9.json"))
        meta = reference.meta
        power = np.array([[s[0] for s in m["S0"]] for m in meta]).T
        nominal = np.array([[load.p] for load in grid.case.loads])
        level = np.array([[m["load_level"] for m in meta]])
        self.scenarios: Scenarios = grid.scenarios(
            *(reference._disturbance(m) for m in meta),
            load_factor=power / nominal,
            generation_factor=np.repeat(level, len(grid.case.generators), 0),
        )

    def measurements(self, what: str = "pmu", buses: list[int] | None = None) -> Measurements:
        """Without noise."""
        arrays, meta = self.reference.arrays, self.reference.meta
        # The files have the washout's state times its gain.
        x = {name: arrays["x"][:, :, k] for k, name in enumerate(STATES) if name != "feedback"}
        until = np.array([np.inf if m["stable"] else m["t_sep"] for m in meta])
        return from_arrays(
            self.grid.dae,
            self.scenarios,
            arrays["t"],
            x,
            arrays["V"],
            until=until,
            what=what,
            buses=buses,
        )

    def angle_errors(self, delta: np.ndarray) -> np.ndarray:
        """See :meth:`power_references.Reference.angle_errors`."""
        return self.reference.angle_errors(delta)

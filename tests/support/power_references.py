"""The stored reference trajectories as scenarios of our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from dae_solver.physics import (
    LoadModel,
    PowerSystem,
    Scenarios,
    fault,
    line_trip,
    load_pulse,
    load_step,
    pref_step,
    trip_reclose,
    vref_step,
)
from power_cases import reference_case

# Of x in the files, by the states of our models.
STATES = ("delta", "omega", "e1q", "e1d", "field", "feedback", "regulator", "turbine", "valve")


def load_model(text: list[Any]) -> LoadModel:
    kind, *numbers = text
    if kind == "zip":
        return LoadModel(z=numbers[0], i=numbers[1], p=numbers[2])
    return LoadModel(alpha=numbers[0], beta=numbers[1])


class Reference:
    """A stored set: its grid, its scenarios as ours, and its arrays."""

    def __init__(self, folder: Path, name: str) -> None:
        self.arrays = dict(np.load(folder / f"{name}.npz"))
        meta = json.loads((folder / f"{name}.json").read_text())
        self.config, self.meta = meta["config"], meta["scenarios"]
        case = reference_case(folder / f"{self.config['case']}.json")
        self.grid = PowerSystem(case, load_model(self.config.get("load_model", ["zip", 1, 0, 0])))
        self.scenarios = self._scenarios()

    def _scenarios(self) -> Scenarios:
        case = self.grid.case
        p0 = np.array([[s[0] for s in m["S0"]] for m in self.meta]).T
        nominal = np.array([load.p for load in case.loads])[:, None]
        level = np.array([m["load_level"] for m in self.meta])
        parameters: dict[str, Any] = {}
        if "db" in self.config:
            number = len(case.generators)
            parameters["TGOV1DB.dbU"] = np.full(number, self.config["db"])
            parameters["TGOV1DB.dbL"] = -parameters["TGOV1DB.dbU"]
        if "D3" in self.config:
            parameters["TWOAXIS.D3"] = np.full(len(case.generators), self.config["D3"])
        return self.grid.scenarios(
            *(self._disturbance(m) for m in self.meta),
            load_factor=p0 / nominal,
            generation_factor=np.repeat(level[None], len(case.generators), 0),
            parameters=parameters,
        )

    def _disturbance(self, m: dict[str, Any]) -> Any:
        case, kind, t = self.grid.case, m["kind"], float(m["t1"])
        line = case.branches[m["line"]].id if m.get("line") is not None else ""
        if kind in ("fault", "fault_trip"):
            trip = line if kind == "fault_trip" else None
            bus = m["fault_bus"] + 1
            return fault(bus, t=t, clear=m["tc"], trip=trip, r=1e-4, x=0.0)
        if kind == "line_trip":
            return line_trip(line, t=t)
        if kind == "trip_reclose":
            return trip_reclose(line, t=t, after=m["t2"] - t)
        if kind == "load_step":
            return load_step(m["load_bus"] + 1, t=t, p=m["factor"])
        if kind == "load_pulse":
            return load_pulse(m["load_bus"] + 1, t=t, p=m["factor"], last=m["t2"] - t)
        machine = f"G{m.get('gen', 0) + 1}"
        if kind == "vref_step":
            return vref_step(machine, t=t, by=m["dVref"])
        return pref_step(machine, t=t, factor=m["Pref_factor"])

    def last(self, scenario: int) -> int:
        """Number of output times before the scenario separates."""
        m = self.meta[scenario]
        return (
            len(self.arrays["t"])
            if m["stable"]
            else int(np.searchsorted(self.arrays["t"], m["t_sep"]))
        )

    def angle_errors(self, delta: np.ndarray) -> np.ndarray:
        """Largest error of a centre-of-inertia angle before separation, degrees, per scenario."""
        weight = self.grid.dae.inertia / self.grid.dae.inertia.sum()

        def coi(angle: np.ndarray) -> np.ndarray:
            return angle - (angle * weight).sum(-1, keepdims=True)

        difference = np.abs(coi(delta) - coi(self.arrays["x"][:, :, 0]))
        ends = [self.last(k) for k in range(len(self.meta))]
        return np.degrees([difference[k, :end].max() for k, end in enumerate(ends)])

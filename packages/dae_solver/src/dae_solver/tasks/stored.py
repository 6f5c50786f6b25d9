"""Tasks on stored reference trajectories of other integrators, below the data folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.disturbances import (
    Disturbance,
    fault,
    line_trip,
    load_pulse,
    load_step,
    pref_step,
    trip_reclose,
    vref_step,
)
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import center
from dae_solver.tasks.transients import Course, TransientTask
from scimind.errors import InputError
from scimind.eval import Failure, file_digest
from scimind.eval.task import register
from scimind.reading import read_json

# Angles at rest may differ by so much, radians, before another system is meant.
SAME = 1e-5


class StoredTask(TransientTask):
    """Scenarios and trajectories of ``DATA/dae_solver/NAME.json`` and ``.npz``.

    Buses are numbered from 0 there. They are compared on the operator's own grid, which must be the
    system that they were made with.
    """

    file: ClassVar[str]

    def data(self, data_root: Path) -> tuple[Scenarios, list[Course], list[Failure], str]:
        """See the base class.

        Raises:
            InputError: The files are missing, or are of another system than the operator's.
        """
        folder = data_root / "dae_solver"
        paths = [folder / f"{self.file}.json", folder / f"{self.file}.npz"]
        digest = file_digest(paths, data_root)
        records = read_json(paths[0])["scenarios"]
        with np.load(paths[1], allow_pickle=False) as arrays:
            t, x, v = (np.asarray(arrays[name]) for name in ("t", "x", "V"))
        self.t_end, self.every = float(t[-1]), float(t[1] - t[0])
        delta = center(x[:, :, 0], self._inertia(x, v, paths[1]))
        scenarios = self._scenarios(records)
        rest = center(scenarios.x0[self.grid.dae.rows("delta")].T, self.grid.dae.inertia)
        if not np.abs(rest - delta[:, 0]).max() < SAME:
            raise self._other(paths[1], "its angles at rest are others")
        courses = [
            Course(
                t=t,
                delta=delta[k],
                voltage=np.abs(v[k]),
                separated=np.inf if record["stable"] else float(record["t_sep"]),
                certificate=np.nan,
            )
            for k, record in enumerate(records)
        ]
        return scenarios, courses, [], digest

    def _other(self, path: Path, why: str) -> InputError:
        return InputError(
            f"these trajectories are of another system than {self.grid.case.name} with "
            f"{json.dumps(self.settings.trained.operator.facts['load'])}: {why}; evaluate an "
            "operator that was trained for it",
            path=path,
            rule="evaluate.grid",
        )

    def _inertia(self, x: np.ndarray, v: np.ndarray, path: Path) -> np.ndarray:
        grid = self.grid
        if x.shape[-1] != len(grid.dae.machine_ids) or v.shape[-1] != len(grid.case.buses):
            raise self._other(path, f"{x.shape[-1]} machines and {v.shape[-1]} buses")
        found: np.ndarray = grid.dae.inertia
        return found

    def _scenarios(self, records: list[dict[str, Any]]) -> Scenarios:
        case = self.grid.case
        p = np.array([[s[0] for s in record["S0"]] for record in records]).T
        nominal = np.array([load.p for load in case.loads])[:, None]
        level = np.array([record["load_level"] for record in records])
        return self.grid.scenarios(
            *(self._disturbance(record) for record in records),
            load_factor=p / nominal,
            generation_factor=np.repeat(level[None], len(case.generators), 0),
        )

    def _disturbance(self, m: dict[str, Any]) -> Disturbance:
        case, kind, t = self.grid.case, m["kind"], float(m["t1"])
        line = "" if m.get("line") is None else case.branches[m["line"]].id
        if kind in ("fault", "fault_trip"):
            bus, trip = case.buses[m["fault_bus"]].id, line if kind == "fault_trip" else None
            return fault(bus, t=t, clear=float(m["tc"]), trip=trip, r=1e-4, x=0.0)
        if kind == "line_trip":
            return line_trip(line, t=t)
        if kind == "trip_reclose":
            return trip_reclose(line, t=t, after=float(m["t2"]) - t)
        if kind in ("load_step", "load_pulse"):
            bus, p = case.buses[m["load_bus"]].id, float(m["factor"])
            if kind == "load_step":
                return load_step(bus, t=t, p=p)
            return load_pulse(bus, t=t, p=p, last=float(m["t2"]) - t)
        machine = case.generators[m["gen"]].id
        if kind == "vref_step":
            return vref_step(machine, t=t, by=float(m["dVref"]))
        return pref_step(machine, t=t, factor=float(m["Pref_factor"]))


@register
class StoredWscc9(StoredTask):
    """The nine-bus system with constant impedances."""

    name, file = "stored_wscc9", "wscc9_constz_dev"
    summary = "stored trajectories, constant impedances"
    description = "24 trajectories of the nine-bus system by another integrator, to 3e-7 deg."


@register
class StoredIeee39(StoredTask):
    """The 39-bus system with ZIP loads."""

    name, file = "stored_ieee39", "ieee39_zip_dev"
    summary = "stored trajectories, ZIP loads"
    description = "12 trajectories of the New England system by another integrator, to 7e-7 deg."

"""Converters against ANDES: trajectories, what converters supply, eigenvalues.

Needs a Python with ANDES, named by SCIMIND_ANDES_PYTHON: it is GPL and no dependency of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from andes_process import andes
from dae_solver.physics import PowerSystem, fault, generator_trip, load_step
from dae_solver.physics.trajectories import center

# ANDES switches limits a step late, so that its error falls with the step alone; ours does not
# depend on it.
T_END, STEP, OURS = 1.2, 1 / 960, 1 / 480
CONVERTER = {
    **{"Tg": 0.02, "Rrpwr": 100.0, "Brkpt": 0.9, "Zerox": 0.4, "Lvplsw": 1.0, "Lvpl1": 11.0},
    **{"Volim": 1.2, "Lvpnt1": 0.8, "Lvpnt0": 0.4, "Iolim": -13.0, "Tfltr": 0.02, "Khv": 6.0},
    **{"Iqrmax": 300.0, "Iqrmin": -300.0},
}
# ANDES divides powers by the voltage, our model as its specification by what is behind Trv.
CONTROL = {
    **{"PFFLAG": 0, "VFLAG": 0, "QFLAG": 0, "PFLAG": 0, "PQFLAG": 0, "Vdip": 0.85, "Vup": 1.2},
    **{"Trv": 0.0, "dbd1": -0.05, "dbd2": 0.05, "Kqv": 18.0, "Vref0": 1.0, "Thld": 0.0},
    **{"Thld2": 0.0, "Tp": 0.05, "Kvp": 9.0, "Kvi": 60.0, "Vref1": 1.0, "Tiq": 0.02, "Imax": 12.0},
    **{"Tpord": 0.05, "PMAX": 20.0, "dPmax": 999.0, "dPmin": -999.0},
    # ANDES has no limit at all where the points do not rise.
    **{f"V{letter}{k}": 0.2 * k for letter in "qp" for k in range(1, 5)},
    **{f"I{letter}{k}": 50.0 + k for letter in "qp" for k in range(1, 5)},
}
LOOPS = {"PLL1": {"Kp": 0.2, "Ki": 1.0, "Tf": 0.01, "Tp": 0.01}, "PLL2": {"Kp": 0.3, "Ki": 3.0}}


def with_converter(
    case: dict[str, Any], loop: str | None, control: dict[str, float] | None
) -> dict[str, Any]:
    """A copy in which a converter stands for the fourth machine, on the base of the system."""
    case = json.loads(json.dumps(case))
    for name, column in (("GENROU", "idx"), ("TGOV1", "syn"), ("EXDC2", "syn")):
        case[name] = [row for row in case[name] if row[column] != 4]
    unit = {"idx": "C1", "u": 1.0, "name": "C1", "bus": 4, "gen": 4, "Sn": 100.0, **CONVERTER}
    if loop is not None:
        unit["pll"] = "L1"
        row = {"idx": "L1", "u": 1.0, "name": "L1", "bus": 4, "fn": 60.0, **LOOPS[loop]}
        case[loop] = [row]
    case["REGCP1"] = [unit]
    if control is not None:
        row = {"idx": "E1", "u": 1.0, "name": "E1", "reg": "C1", "busr": None}
        case["REECA1"] = [row | CONTROL | control]
    return case


def write(case: dict[str, Any], folder: Path) -> tuple[Path, Path]:
    """The case for us and for ANDES, which limits ``Tg`` times the rate."""
    ours, theirs = folder / "ours.json", folder / "theirs.json"
    ours.write_text(json.dumps(case))
    case = json.loads(json.dumps(case))
    for row in case["REGCP1"]:
        row |= {name: row[name] * row["Tg"] for name in ("Rrpwr", "Iqrmax", "Iqrmin")}
    theirs.write_text(json.dumps(case))
    return ours, theirs


FAULT = ["Fault", {"idx": "myF", "bus": 8, "tf": 0.1, "tc": 0.2, "xf": 1e-4, "rf": 0.0}]
_ALTER = {"model": "PQ", "dev": "PQ_0", "attr": "v", "t": 0.1, "method": "*", "amount": 1.1}
LOAD = [
    ["Alter", {"idx": f"my{source}", "src": source, "rand": 0, **_ALTER}]
    for source in ("Req", "Xeq")
]
TRIP = ["Toggle", {"idx": "myT", "model": "REGCP1", "dev": "C1", "t": 0.1}]
EVENTS: dict[str, tuple[list[Any], Any]] = {
    "fault": ([FAULT], fault(8, t=0.1, clear=0.1)),
    "load": (LOAD, load_step(7, t=0.1, p=1.1)),
    "trip": ([TRIP], generator_trip("C1", t=0.1)),
}
# Largest differences of active power, reactive power (of 7 pu) and voltage. While active current
# recovers by 100 pu a second, a step of ANDES is 0.1 pu.
BOUNDS = {"fault": (0.05, 0.05, 5e-3), "load": (1e-4, 2e-4, 1e-5), "trip": (1e-4, 2e-4, 1e-4)}
PLANTS: dict[str, tuple[str | None, dict[str, float] | None]] = {
    "no_loop": (None, None),
    "injection": ("PLL2", {}),
    # In a dip ANDES holds the output of the controller, the specification its integrator.
    "voltage": ("PLL2", {"QFLAG": 1, "Vdip": 0.0}),
    "power_factor": ("PLL1", {"PFFLAG": 1, "PQFLAG": 1}),
}


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("plant", PLANTS)
def test_trajectories(event: str, plant: str, kundur: dict[str, Any], tmp_path: Path) -> None:
    case, other = write(with_converter(kundur, *PLANTS[plant]), tmp_path)
    events, ours = EVENTS[event]
    (tmp_path / "events.json").write_text(json.dumps(events))
    step = STEP if event == "fault" else OURS
    andes("run", other, tmp_path / "events.json", tmp_path / "andes.npz", T_END, step)
    theirs = np.load(tmp_path / "andes.npz")
    assert theirs["done"]
    grid = PowerSystem.load(case)
    runs = grid.simulate(grid.scenarios(ours), t_end=T_END, every=1 / 60, step=OURS)

    def sampled(values: np.ndarray) -> np.ndarray:
        return np.stack([np.interp(runs.t, theirs["t"], column) for column in values.T], -1)

    order = [list(theirs["names"]).index(name) for name in grid.dae.machine_ids]
    inertia = grid.dae.inertia
    delta = center(sampled(theirs["delta"])[:, order], inertia)
    assert np.degrees(np.abs(center(runs.delta[0], inertia) - delta).max()) < 0.1
    # What jumps at an event has two values there.
    smooth = (np.abs(runs.t - 0.1) > 1e-3) & (np.abs(runs.t - 0.2) > 1e-3)
    jumpless, power = smooth.copy(), runs.converter_power()[0, smooth, 0]
    if event == "trip":  # what ANDES says that a tripped converter supplies goes on
        assert (power[runs.t[smooth] > 0.1] == 0).all()
        smooth &= runs.t < 0.1
        power = power[: smooth.sum()]
        assert np.ptp(np.abs(runs.voltages()[0, :, 3])) > 0.02
    differences = (
        np.abs(power.real - sampled(theirs["p"])[smooth, 0]).max(),
        np.abs(power.imag - sampled(theirs["q"])[smooth, 0]).max(),
        np.abs(np.abs(runs.voltages()[0, jumpless, 3]) - sampled(theirs["v"])[jumpless, 3]).max(),
    )
    assert (np.array(differences) < BOUNDS[event]).all(), differences
    assert event == "trip" or np.ptp(power.real) > 100 * differences[0]


@pytest.mark.parametrize("plant", ["no_loop", "voltage", "power_factor"])
def test_eigenvalues(plant: str, kundur: dict[str, Any], tmp_path: Path) -> None:
    case, other = write(with_converter(kundur, *PLANTS[plant]), tmp_path)
    andes("eigs", other, tmp_path / "eigs.npz")
    theirs = np.load(tmp_path / "eigs.npz")["values"]
    ours = PowerSystem.load(case).eigs().values[0]
    moving = ours[np.abs(ours) > 1e-3]
    distance = np.abs(moving[:, None] - theirs[None, :]).min(1)
    assert (distance < 5e-6 * np.maximum(np.abs(moving), 1.0)).all(), (moving, theirs)

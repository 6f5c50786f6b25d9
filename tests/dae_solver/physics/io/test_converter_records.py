"""Converters in ANDES cases and PSS/E files: what reaches the models, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dae_solver.physics import PowerSystem
from dae_solver.physics.case import Case
from dae_solver.physics.io import read_andes, read_raw
from dae_solver.physics.models.controls import REECA1
from dae_solver.physics.models.converters import REGCA1
from psse_text import raw_text
from scimind.errors import InputError


def tables() -> dict[str, list[dict[str, Any]]]:
    """A machine and two converters that share a loop's model."""
    return {
        "Bus": [{"idx": k} for k in (1, 2, 3)],
        "Line": [
            {"idx": "a", "bus1": 1, "bus2": 3, "r": 0.0, "x": 0.1},
            {"idx": "b", "bus1": 2, "bus2": 3, "r": 0.0, "x": 0.1},
        ],
        "PQ": [{"idx": "L", "bus": 3, "p0": 1.0, "q0": 0.2}],
        "Slack": [{"idx": "G1", "bus": 1, "v0": 1.0}],
        "PV": [{"idx": "G2", "bus": 2, "v0": 1.0, "p0": 0.4}],
        "GENCLS": [{"idx": "M1", "bus": 1, "gen": "G1", "Vn": 110.0, "M": 8.0, "xd1": 0.3}],
        "REGCP1": [
            {"idx": "C1", "bus": 2, "gen": "G2", "Sn": 60.0, "pll": "P", "gammap": 0.25}
            | {"gammaq": 0.25, "Brkpt": 0.9, "Lvpl1": 1.2},
        ],
        "REGCA1": [
            {"idx": "C2", "bus": 2, "gen": "G2", "Sn": 90.0, "gammap": 0.75, "gammaq": 0.75}
            | {"Tg": 0.03, "Brkpt": 0.9, "Lvpl1": 1.2},
        ],
        "REECA1": [
            {"idx": "E", "reg": "C2", "PFFLAG": 0, "VFLAG": 0, "QFLAG": 1, "PFLAG": 0}
            | {"PQFLAG": 1, "Vref0": 0.0},
        ],
        "PLL1": [{"idx": "P", "bus": 2, "fn": 60.0, "Kp": 0.2}, {"idx": "Q", "bus": 3}],
        "PLL2": [{"idx": "R", "bus": 1}],
    }


def read(folder: Path, content: dict[str, Any]) -> Case:
    (folder / "case.json").write_text(json.dumps(content))
    return read_andes(folder / "case.json")


def test_converters_of_andes(tmp_path: Path) -> None:
    case = read(tmp_path, tables())
    machine, first, second, control, loop = case.devices
    assert (machine.model, machine.kv, case.frequency) == ("GENCLS", 110.0, 60.0)
    assert [(each.id, each.p) for each in case.generators] == [
        ("G2:C1", 0.1),
        ("G2:C2", pytest.approx(0.3)),
        ("G1", 0.0),
    ]
    assert (first.model, first.of, first.mva, first.kv) == ("REGCA1", "G2:C1", 60.0, 0.0)
    assert (second.of, second.parameters["Tg"]) == ("G2:C2", 0.03)
    assert (control.model, control.of, control.mva) == ("REECA1", "C2", 90.0)
    assert (control.parameters["QFLAG"], control.parameters["Vref0"]) == (1.0, 0.0)
    assert (loop.model, loop.id, loop.of, loop.parameters) == ("PLL1", "P", "C1", {"Kp": 0.2})
    assert "PLL1: 1 rows left out, which no equation needs" in case.notes
    assert "PLL2: 1 rows left out, which no equation needs" in case.notes
    grid = PowerSystem(case)
    rest = grid.scenarios([])
    power = grid.dae.converter_power(rest.x0, rest.y0, rest.parameters)[:, 0]
    assert power.real == pytest.approx([0.1, 0.3])
    slopes = grid.dae.f(np.zeros(1), rest.x0, rest.y0, rest.parameters)
    assert np.abs(slopes).max() < 1e-9


def test_a_loop_of_two_converters_is_two_loops(tmp_path: Path) -> None:
    content = tables()
    content["REGCP1"].append(content.pop("REGCA1")[0] | {"pll": "P"})
    loops = [each for each in read(tmp_path, content).devices if each.model == "PLL1"]
    assert [(each.id, each.of) for each in loops] == [("P:C1", "C1"), ("P:C2", "C2")]


def test_a_converter_out_of_service_takes_its_devices_along(tmp_path: Path) -> None:
    content = tables()
    content["REGCP1"][0]["u"] = 0
    content["REGCA1"][0] |= {"gammap": 1.0, "gammaq": 1.0}
    case = read(tmp_path, content)
    assert {each.id: each.in_service for each in case.devices} == {
        **{"M1": True, "C1": False, "C2": True, "E": True, "P": False}
    }
    assert PowerSystem(case).dae.converters.ids == ["C2"]


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("REECA1", {"reg": "C9"}, "REECA1 E belongs to reg = 'C9', which does not exist"),
        ("REECA1", {"busr": 3}, "REECA1 E has a remote bus busr = 3; only its own"),
        ("REGCP1", {"pll": "X"}, "REGCP1 C1 belongs to pll = 'X', which does not exist"),
        ("REGCP1", {"pll": "Q"}, "PLL1 Q measures bus 3, and the converter C1 is at bus 2"),
        ("REGCP1", {"gammap": 0.5}, "gammap of the machines of generator G2 .* adds up to 1.25"),
        ("PLL1", {"fn": 50.0}, "PLL1 P has fn = 50 Hz, the grid 60 Hz"),
        ("PLL1", {"u": 0}, "PLL1 P is out of service, and the converter C1 needs it"),
        ("REGCA1", {"bus": 3}, "REGCA1 C2 is at bus 3 and its generator G2 at bus 2"),
    ],
)
def test_what_is_refused(table: str, change: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = tables()
    content[table][0] |= change
    with pytest.raises(InputError, match=message):
        read(tmp_path, content)


SECTIONS = {
    "bus": "1,'ONE',20,3\n2,'TWO',20,2\n3,'THREE',230,1",
    "generator": (
        "1,'1 ',40,1,30,-30,1.0,0,250,0.01,0.2,0,0,1,1\n"
        "2,'A ',40,1,30,-30,1.0,0,80,0.02,0.3,0,0,1,1\n"
    ),
    "branch": "1,3,1,0,0.1\n2,3,1,0,0.1",
}
CONVERTER = "2 'REGCA1' A 1 .02 11 .9 .4 1.22 1.2 .8 .4 -1.3 .03 .7 21 -22 .5 /\n"
CONTROL = (
    "2 'REECA1' A 0 1 0 1 0 1 .85 1.15 .01 -.03 .04 2 1.1 -1.2 1.01 .1 0 0 .06 .43 -.44 1.1 .9 "
    ".2 .3 1.5 7 0 .05 .5 -.6 1.05 .02 1.3 .07 .1 1.01 .3 1.02 .5 1.03 .7 1.04 .2 1.11 .4 1.12 .6 "
    "1.13 .8 1.14 /\n"
)
MACHINE = "1 'GENCLS' 1 4.5 1.5 /\n"


def read_dyr(folder: Path, dyr: str) -> Case:
    path, other = folder / "case.raw", folder / "case.dyr"
    path.write_text(raw_text(SECTIONS))
    other.write_text(dyr)
    return read_raw(path, other)


def test_converters_of_psse(tmp_path: Path) -> None:
    _, converter, control = read_dyr(tmp_path, MACHINE + CONVERTER + CONTROL).devices
    assert (converter.model, converter.of, converter.mva) == ("REGCA1", "2-A", 80.0)
    assert converter.parameters == {
        **{"Lvplsw": 1, "Tg": 0.02, "Rrpwr": 11, "Brkpt": 0.9, "Zerox": 0.4, "Lvpl1": 1.22},
        **{"Volim": 1.2, "Lvpnt1": 0.8, "Lvpnt0": 0.4, "Iolim": -1.3, "Tfltr": 0.03},
        **{"Khv": 0.7, "Iqrmax": 21, "Iqrmin": -22, "Accel": 0.5},
    }
    assert (control.model, control.of, control.mva) == ("REECA1", "2-A", 80.0)
    assert (
        control.parameters.items()
        >= {
            **{"PFFLAG": 1, "VFLAG": 0, "QFLAG": 1, "PFLAG": 0, "PQFLAG": 1, "Vdip": 0.85},
            **{"dbd1": -0.03, "dbd2": 0.04, "Kqv": 2, "Iqh1": 1.1, "Iql1": -1.2, "Vref0": 1.01},
            **{"Tp": 0.06, "QMax": 0.43, "QMin": -0.44, "VMAX": 1.1, "VMIN": 0.9, "Kqp": 0.2},
            **{"Kqi": 0.3, "Kvp": 1.5, "Kvi": 7, "Tiq": 0.05, "dPmax": 0.5, "dPmin": -0.6},
            **{"PMAX": 1.05, "PMIN": 0.02, "Imax": 1.3, "Tpord": 0.07, "Vq1": 0.1, "Iq4": 1.04},
            **{"Vp1": 0.2, "Ip1": 1.11, "Ip4": 1.14},
        }.items()
    )
    assert set(converter.parameters) == set(REGCA1.parameters)
    assert set(control.parameters) == set(REECA1.parameters)


@pytest.mark.parametrize(
    ("dyr", "message"),
    [
        (MACHINE + CONTROL, "electrical control of generator 2-A has no converter; add its REGCA1"),
        (
            MACHINE + CONVERTER + "2 'GENCLS' A 4 1 /",
            "generator 2-A has a machine and a converter; keep one",
        ),
        (
            MACHINE + CONVERTER + "2 'SEXS' A .1 10 100 .05 -3 4 /",
            "exciter of generator 2-A has no machine; add its GENCLS or GENROU",
        ),
        (
            MACHINE + CONVERTER + CONTROL.replace("A 0 1", "A 3 1"),
            "REECA1 measures the voltage of another bus; only its own is supported",
        ),
        (MACHINE + CONVERTER.replace(" .5 /", " /"), "REGCA1 has 14 constants, and its 15 are"),
    ],
)
def test_dyr_records_that_are_refused(dyr: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_dyr(tmp_path, dyr)

"""ANDES cases: bases, status, defaults, and how devices belong together."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dae_solver.physics.case import Case, Disturbance
from dae_solver.physics.io import read_andes
from dae_solver.physics.network import Network
from dae_solver.physics.powerflow import solve
from scimind.errors import InputError

Tables = dict[str, list[dict[str, Any]]]

_ROUND = {"Td10": 8, "Td20": 0.03, "Tq10": 0.4, "Tq20": 0.05, "xd2": 0.25, "xq2": 0.25, "xl": 0.06}

TABLES: Tables = {
    "Bus": [
        {"idx": 1, "u": 1, "name": "one", "Vn": 20, "v0": 1.01, "a0": 0.1},
        {"idx": 2, "u": 1, "name": "two", "Vn": 230},
        {"idx": 3, "name": 3, "Vn": 230},
    ],
    "PQ": [
        {"idx": "PQ_1", "u": 1, "bus": 3, "Vn": 230, "p0": 1.5, "q0": -0.2},
        {"idx": "PQ_2", "u": 0, "bus": 3, "p0": 9.0},
    ],
    "PV": [
        {"idx": 2, "u": 1, "Sn": 300, "bus": 2, "p0": 0.7, "q0": 0.1, "v0": 1.02},
        {"idx": 4, "u": 0, "bus": 3, "p0": 0.7, "v0": 1.2},
    ],
    "Slack": [{"idx": 1, "Sn": 900, "bus": 1, "p0": 0.8, "q0": 0.2, "v0": 1.01, "a0": 0.1}],
    "Shunt": [
        {"idx": "S", "u": 1, "bus": 3, "Sn": 50, "Vn": 115, "g": 0.1, "b": 0.3},
        {"idx": "T", "u": 0, "bus": 3, "b": 9.0},
    ],
    "Line": [
        {
            **{"idx": "L1", "u": 1, "bus1": 1, "bus2": 2, "Sn": 900, "Vn1": 22, "Vn2": 230},
            **{"r": 0.003, "x": 0.15, "b": 0.09, "g": 0.02, "b1": 0.01, "g1": 0.03},
            **{"b2": 0.04, "g2": 0.05, "tap": 1.05, "phi": 0.2},
        },
        {"idx": "L2", "bus1": 2, "bus2": 3, "Vn1": 230, "Vn2": 230, "r": 0.01, "x": 0.1},
        {"idx": "L3", "u": 0, "bus1": 2, "bus2": 3, "Vn1": 230, "r": 0.01, "x": 0.1},
    ],
    "GENROU": [
        {
            **{"idx": "G1", "u": 1, "bus": 1, "gen": 1, "Sn": 900, "Vn": 20, "fn": 50, "D": 2},
            **{"M": 13, "xd": 1.8, "xq": 1.7, "xd1": 0.3, "xq1": 0.55, **_ROUND},
        }
    ],
    "GENCLS": [
        {"idx": "G2", "bus": 2, "gen": 2, "Sn": 300, "Vn": 230, "fn": 50, "M": 8, "xd1": 0.2}
    ],
    "EXDC2": [{"idx": "E1", "syn": "G1", "KA": 20, "TA": 0.02}],
    "TGOV1N": [{"idx": "T1", "syn": "G1", "R": 0.04}],
    "TGOV1": [{"idx": "T2", "syn": "G2", "Tn": 250, "wref0": 1.0, "VMAX": 1.1}],
    "IEEEST": [{"idx": "P1", "avr": "E1", "MODE": 1, "T5": 10, "KS": 5}],
    "Area": [{"idx": 1}],
    "BusFreq": [{"idx": "B", "bus": 1}],
    "Toggler": [
        {"idx": 1, "model": "Line", "dev": "L2", "t": 2},
        {"idx": 2, "u": 0, "model": "Line", "dev": "L2", "t": 3},
    ],
    "Fault": [{"idx": 1, "bus": 3, "tf": 1.0, "tc": 1.1, "xf": 0.01}],
}


def tables() -> Tables:
    return copy.deepcopy(TABLES)


def read(content: Tables, folder: Path) -> Case:
    path = folder / "case.json"
    path.write_text(json.dumps(content))
    return read_andes(path)


def test_impedances_are_converted_from_the_base_of_the_device(tmp_path: Path) -> None:
    line = read(tables(), tmp_path).branches[0]
    z = (22 / 20) ** 2 * 100 / 900  # of the device, by that of the system
    assert line.r == pytest.approx(0.003 * z)
    assert line.x == pytest.approx(0.15 * z)
    assert line.b == pytest.approx(0.09 / z)
    assert line.g_from == pytest.approx((0.03 + 0.02 / 2) / z)
    assert line.b_from == pytest.approx(0.01 / z)
    assert line.g_to == pytest.approx((0.05 + 0.02 / 2) / z)
    assert line.b_to == pytest.approx(0.04 / z)
    assert (line.tap, line.shift) == (1.05, 0.2)


def test_the_tap_is_at_the_first_bus(tmp_path: Path) -> None:
    case = read(tables(), tmp_path)
    case.branches = case.branches[:1]
    case.shunts = []
    network = Network(case)
    y = network.admittance(network.built)
    branch = case.branches[0]
    series = 1 / complex(branch.r, branch.x)
    start = series + 0.5j * branch.b + complex(branch.g_from, branch.b_from)
    assert y[0, 0] == pytest.approx(start / 1.05**2)
    assert y[1, 1] == pytest.approx(series + 0.5j * branch.b + complex(branch.g_to, branch.b_to))
    # The first bus leads by the shift: at no load V1 = 1.05 exp(0.2j) V2.
    assert y[1, 0] == pytest.approx(-series / (1.05 * np.exp(0.2j)))
    assert y[0, 1] == pytest.approx(-series / (1.05 * np.exp(-0.2j)))


def test_shunts_and_loads(tmp_path: Path) -> None:
    case = read(tables(), tmp_path)
    (shunt,) = case.shunts
    y = (230 / 115) ** 2 * 50 / 100
    assert (shunt.id, shunt.g, shunt.b) == ("S", pytest.approx(0.1 * y), pytest.approx(0.3 * y))
    (load,) = case.loads
    assert (load.id, load.bus, load.p, load.q) == ("PQ_1", 3, 1.5, -0.2)


def test_another_system_base_scales_impedances_and_not_powers(tmp_path: Path) -> None:
    content = tables()
    content["_config"] = [
        {"section": "System", "key": "mva", "value": 200},
        {"section": "PFlow", "key": "mva", "value": 7},
    ]
    case = read(content, tmp_path)
    assert case.mva == 200.0
    assert case.branches[1].x == pytest.approx(0.1 * 200 / 100)
    assert case.loads[0].p == 1.5


def test_out_of_service(tmp_path: Path) -> None:
    case = read(tables(), tmp_path)
    assert [branch.in_service for branch in case.branches] == [True, True, False]
    assert {g.id: g.in_service for g in case.generators} == {"1": True, "2": True, "4": False}


def test_generators(tmp_path: Path) -> None:
    held, _, slack = read(tables(), tmp_path).generators
    assert (held.id, held.bus, held.p, held.v_set, held.slack) == ("2", 2, 0.7, 1.02, False)
    assert held.mva == 300.0
    assert (slack.id, slack.slack, slack.angle, slack.v_set) == ("1", True, 0.1, 1.01)


def test_machines_keep_their_own_base(tmp_path: Path) -> None:
    case = read(tables(), tmp_path)
    devices = {device.id: device for device in case.devices}
    machine = devices["G1"]
    assert (machine.model, machine.of, machine.mva, machine.kv) == ("GENROU", "1", 900.0, 20.0)
    assert machine.parameters["M"] == 13.0
    assert machine.parameters["S12"] == 1.0  # the default of ANDES
    assert "S10" not in machine.parameters
    assert case.frequency == 50.0


def test_regulators_follow_their_machine(tmp_path: Path) -> None:
    devices = {device.id: device for device in read(tables(), tmp_path).devices}
    assert (devices["E1"].of, devices["E1"].mva) == ("G1", 900.0)
    assert (devices["T1"].model, devices["T1"].mva) == ("TGOV1", 900.0)
    assert (devices["T2"].of, devices["T2"].mva) == ("G2", 250.0)
    stabiliser = devices["P1"]
    assert (stabiliser.of, stabiliser.mva) == ("G1", 900.0)
    assert stabiliser.parameters["A1"] == 1.0  # the default of ANDES, where ours is 0
    assert (stabiliser.parameters["T5"], stabiliser.parameters["KS"]) == (10.0, 5.0)


def test_what_belongs_to_something_out_of_service_is_so_too(tmp_path: Path) -> None:
    content = tables()
    content["GENROU"][0]["u"] = 0
    devices = {device.id: device for device in read(content, tmp_path).devices}
    assert [devices[k].in_service for k in ("G1", "E1", "T1", "P1", "G2", "T2")] == [
        *(False, False, False, False, True, True)
    ]
    content = tables()
    content["PV"][0]["u"] = 0
    case = read(content, tmp_path)
    assert [d.in_service for d in case.devices if d.id in ("G2", "T2")] == [False, False]
    assert "GENCLS G2 is out of service with generator 2" in case.notes


def test_machines_that_share_a_generator_get_one_each(tmp_path: Path) -> None:
    content = tables()
    content["PV"][0] |= {"p0": 2.0, "q0": 0.5}
    content["GENCLS"][0] |= {"gammap": 0.25, "gammaq": 0.3}
    twin = content["GENCLS"][0] | {"idx": "G3", "gammap": 0.75, "gammaq": 0.7}
    content["GENCLS"] += [twin, twin | {"idx": "G4", "u": 0}]
    case = read(content, tmp_path)
    parts = [g for g in case.generators if g.bus == 2]
    assert [g.id for g in parts] == ["2:G2", "2:G3"]
    assert [(g.p, g.q, g.mva) for g in parts] == [
        (0.5, pytest.approx(0.15), pytest.approx(90.0)),
        (1.5, pytest.approx(0.35), pytest.approx(210.0)),
    ]
    owners = {d.id: d.of for d in case.devices if d.model == "GENCLS" and d.in_service}
    assert owners == {"G2": "2:G2", "G3": "2:G3"}
    supply = solve(Network(case)).supply[:2, 0]
    assert supply.real == pytest.approx([0.5, 1.5])
    assert supply.imag[0] / supply.imag[1] == pytest.approx(0.3 / 0.7)
    content["GENCLS"][1]["gammap"] = 0.7
    with pytest.raises(
        InputError, match=r"gammap of the machines of generator 2 \(G2, G3\) adds up"
    ):
        read(content, tmp_path)


def test_events_and_notes(tmp_path: Path) -> None:
    case = read(tables(), tmp_path)
    assert case.disturbances == [
        Disturbance(kind="toggle", target="L2", time=2.0),
        Disturbance(kind="fault", target=3, time=1.0, end=1.1, x=0.01, r=0.0),
    ]
    assert "Toggler: 1 events left out" in case.notes
    assert "BusFreq: 1 rows left out, which no equation needs" in case.notes


def test_a_workbook_reads_as_the_json(tmp_path: Path) -> None:
    path = tmp_path / "case.xlsx"
    with pd.ExcelWriter(path) as writer:
        for name, rows in TABLES.items():
            pd.DataFrame(rows).to_excel(writer, sheet_name=name, index=False)
    assert read_andes(path) == read(tables(), tmp_path)


def test_nan_in_json_is_an_empty_cell(tmp_path: Path) -> None:
    content = tables()
    content["Line"][1] |= {"b": math.nan, "Sn": math.nan}
    assert read(content, tmp_path) == read(tables(), tmp_path)


def test_a_bus_out_of_service_takes_all_with_it(tmp_path: Path) -> None:
    content = tables()
    content["Bus"][1]["u"] = 0
    case = read(content, tmp_path)
    assert [bus.id for bus in case.buses] == [1, 3]
    assert case.branches == []
    assert [device.id for device in case.devices] == ["G1", "E1", "T1", "P1"]
    (note,) = (note for note in case.notes if "with buses out of service" in note)
    assert all(name in note for name in ("Bus 2", "Line L1", "PV 2", "GENCLS G2", "TGOV1 T2"))


@pytest.mark.parametrize(
    ("table", "row", "changes", "message"),
    [
        ("Bus", 1, {"idx": 1}, "bus 1 is given twice; rename one"),
        ("Bus", 1, {"Vn": 0}, "Vn of Bus 2 is 0, and has to be positive"),
        ("Bus", 1, {"Vn": "high"}, "Vn of Bus 2 is 'high', which is no finite number"),
        ("Bus", 1, {"idx": [1]}, r"idx of Bus Bus_2 is \[1\], neither a whole number nor a text"),
        ("Line", 1, {"idx": "L1"}, "branch L1 is given twice"),
        ("Line", 1, {"x": None}, "x of Line L2 is empty; fill it in"),
        ("Line", 1, {"r": 0, "x": 0}, "branch L2 has no impedance"),
        ("Line", 1, {"bus2": 7}, "branch L2 is at bus 7, which does not exist; there are: 1, 2, 3"),
        ("Line", 1, {"bus2": None}, "bus2 of Line L2 is empty"),
        ("Line", 1, {"Sn": -1}, "Sn of Line L2 is -1, and has to be positive"),
        ("Line", 1, {"tap": 0}, "ratio of branch L2 is 0, and has to be positive"),
        ("PQ", 0, {"bus": "3"}, "load PQ_1 is at bus '3', which does not exist"),
        ("PQ", 0, {"p0": math.inf}, "p0 of PQ PQ_1 is inf, which is no finite number"),
        ("PV", 0, {"idx": 1}, "generator 1 is given twice"),
        ("PV", 0, {"u": "on"}, "u of PV 2 is 'on', which is no finite number"),
        ("GENROU", 0, {"gen": 9}, "GENROU G1 belongs to generator '9', which does not exist"),
        ("GENROU", 0, {"bus": 2}, "GENROU G1 is at bus 2 and its generator 1 at bus 1"),
        ("GENROU", 0, {"fn": 60}, "machines have different frequencies fn = 50, 60 Hz"),
        ("GENROU", 0, {"idx": "G2"}, "machine G2 is given twice"),
        (
            "GENROU",
            0,
            {"gammap": 0.5},
            r"gammap of the machines of generator 1 \(G1\) adds up to 0.5",
        ),
        ("EXDC2", 0, {"syn": "G9"}, "EXDC2 E1 belongs to syn = 'G9', which does not exist; .* G1"),
        ("TGOV1", 0, {"wref0": 1.01}, "TGOV1 T2 has the speed set-point wref0 = 1.01; only 1"),
        ("IEEEST", 0, {"avr": "E9"}, "IEEEST P1 belongs to avr = 'E9'"),
        ("IEEEST", 0, {"MODE": 5, "busr": 2}, "IEEEST P1 has a remote bus busr = 2"),
        ("Toggler", 0, {"t": None}, "t of Toggler 1 is empty"),
        ("Fault", 0, {"bus": 8}, "a fault is at bus 8"),
    ],
)
def test_what_is_wrong_is_refused(
    tmp_path: Path, table: str, row: int, changes: dict[str, Any], message: str
) -> None:
    content = tables()
    content[table][row] |= changes
    with pytest.raises(InputError, match=message):
        read(content, tmp_path)


@pytest.mark.parametrize("name", ["Bus", "Slack", "Line"])
def test_a_needed_sheet_that_lacks_is_named(tmp_path: Path, name: str) -> None:
    content = tables()
    del content[name]
    with pytest.raises(
        InputError, match=f"there is no {name} in the file, .*; add the sheet {name}"
    ):
        read(content, tmp_path)
    path = tmp_path / "case.xlsx"
    with pd.ExcelWriter(path) as writer:
        pd.DataFrame([{"idx": 1}]).to_excel(writer, sheet_name="Notes", index=False)
    with pytest.raises(InputError, match="there is no Bus in the file, whose tables are: Notes"):
        read_andes(path)


def test_a_model_that_is_not_supported_is_named_with_those_that_are(tmp_path: Path) -> None:
    content = tables() | {
        "ESST3A": [{"idx": "X1", "syn": "G2"}, {"idx": "X2", "u": 0, "syn": "G2"}],
        "Motor5": [{"idx": "M"}],
    }
    with pytest.raises(
        InputError,
        match=r"ESST3A X1 is of a model that is not supported \(in all: 1 of ESST3A, 1 of "
        r"Motor5\); supported are: Bus, .*GENROU.*IEEEST",
    ):
        read(content, tmp_path)
    content["ESST3A"][0]["u"] = content["Motor5"][0]["u"] = 0
    read(content, tmp_path)


def test_a_table_is_a_list_of_objects(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="table Bus is no list of objects"):
        read({"Bus": {"idx": 1}}, tmp_path)  # type: ignore[dict-item]
    # A text is a remark.
    remarked: Any = {"note": "as measured in May", **tables()}
    assert read(remarked, tmp_path).branches == read(tables(), tmp_path).branches
    (tmp_path / "case.json").write_text("{")
    with pytest.raises(InputError, match="correct the JSON"):
        read_andes(tmp_path / "case.json")
    (tmp_path / "case.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="correct the JSON"):
        read_andes(tmp_path / "case.json")

"""MATPOWER case files: plain data is read, and nothing is computed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dae_solver.physics.io import read_case, read_matpower
from scimind.errors import InputError

TEXT = """function mpc = case3
%CASE3  three buses; a comment with [brackets] and 'quotes
%{
mpc.bus = [ nonsense in a block comment
%}
mpc.version = '2';
mpc.baseMVA = 200;  % base
mpc.bus = [
	1	3	0	0	0	0	1	1.02	5	345	1	1.1	.9;
	2, 2, 50, 1e1, 0, 0, 1, 1, 0, 345, 1, 1.1, 0.9  # a loose comment
	3 1 120 ...
	40 6 -30 1 0.99 -3 345 1 1.1 0.9; 4 4 1 1 1 1 1 1 0 345 1 1.1 0.9
];
mpc.gen = [
	1	40	1	30	-30	1.02	100	1	40	0;
	2	60	2	30	-30	1.01	0	1	40	0;
	2	10	3	30	-30	1.01	80	0	40	0;
	3	8	4	30	-30	1.05	50	1	40	0;
];
mpc.branch = [
	1	2	0.01	0.1	0.02	0	0	0	0	0	1	-360	360;
	1	3	0	0.2	0	0	0	0	1.05	-30	1	-360	360;
	1	2	0.02	0.3	0	0	0	0	1	0	0	-360	360;
	2	4	0.02	0.3	0	0	0	0	1	0	1	-360	360;
];
mpc.gencost = [2 0 0 3 0.01 40 0; 2 0 0 3 Inf -4 NaN];
mpc.bus_name = {'one'; "two"; 'it''s three'; 'four'};
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "case3.m"
    path.write_text(TEXT)
    return path


def test_records_are_per_unit_on_the_system_base(path: Path) -> None:
    case = read_matpower(path)
    assert (case.name, case.mva, case.frequency) == ("case3", 200.0, 60.0)
    assert [bus.id for bus in case.buses] == [1, 2, 3]
    assert case.buses[0].angle == math.radians(5.0)
    assert [(load.bus, load.p, load.q) for load in case.loads] == [(2, 0.25, 0.05), (3, 0.6, 0.2)]
    assert [(each.bus, each.g, each.b) for each in case.shunts] == [(3, 0.03, -0.15)]
    line, transformer, out = case.branches
    assert (line.id, line.r, line.x, line.b, line.tap) == ("1-2-1", 0.01, 0.1, 0.02, 1.0)
    assert (transformer.tap, transformer.shift) == (1.05, math.radians(-30.0))
    assert (out.id, out.in_service) == ("1-2-2", False)
    assert "isolated, left out with what is there: bus 4" in case.notes


def test_generators_hold_the_voltage_where_the_bus_type_says_so(path: Path) -> None:
    slack, held, out, free = read_matpower(path).generators
    assert (slack.id, slack.slack, slack.v_set, slack.p) == ("1-1", True, 1.02, 0.2)
    assert slack.angle == math.radians(5.0)
    assert (held.id, held.slack, held.v_set, held.mva) == ("2-1", False, 1.01, 200.0)
    assert (out.id, out.in_service) == ("2-2", False)
    assert (free.v_set, free.q) == (None, 0.02)


def test_dynamic_models_come_from_a_dyr(path: Path, tmp_path: Path) -> None:
    dyr = tmp_path / "a.dyr"
    dyr.write_text("1 'GENROU' 1 8 .03 .4 .05 6.5 0 1.8 1.7 .3 .55 .25 .06 0 0 /\n")
    machine = read_case(path, dyr=dyr).devices[0]
    assert (machine.of, machine.mva, machine.parameters["M"]) == ("1-1", 100.0, 13.0)
    assert "ra" not in machine.parameters
    dyr.write_text("1 'GENCLS' 1 6.5 0 /\n")
    with pytest.raises(InputError, match="GENCLS takes its reactance from ZSORCE"):
        read_case(path, dyr=dyr)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'2'", "'1'", r"mpc.version is '1'; only version '2' is read"),
        ("200;", "0;", "baseMVA is 0, and has to be positive"),
        ("200;", "[1 2];", "baseMVA is Matrix"),
        ("200;", "100*2;", r"case3.m:7: '100\*2;  % base' is no plain data"),
        ("mpc.gencost", "mpc.bus(1, 2) = 3; x", r"is no plain data"),
        ("mpc.gencost =", "define_constants;\nmpc.gencost =", "'define_constants' is no statement"),
        ("mpc.gencost =", "mpc.gencost = mpc.bus; mpc.y =", "'mpc.bus' is no plain data; write a"),
        ("mpc.gencost", "mpc.baseMVA", "'mpc.baseMVA' is given twice"),
        ("mpc.gen = ", "mpc.generators = ", "there is no mpc.gen; the file has: version, baseMVA"),
        ("	1	40	1", "	9	40	1", "generator 9-1 is at bus 9, which does not exist"),
        ("	2, 2, 50", "	1, 2, 50", r"case3.m:10: bus 1 is given twice"),
        ("	2, 2, 50", "	2, 5, 50", "bus 2 has type 5; it is 1 to 4"),
        ("	2, 2, 50", "	2, 2, NaN", "Pd of mpc.bus is 'NaN', which is no finite number"),
        ("	2, 2, 50", "	2, 2, Inf", "Pd of mpc.bus is 'Inf', which is no finite number"),
        ("	2, 2, 50", "	2.5, 2, 50", "bus_i of mpc.bus is '2.5', which is no whole number"),
        ("	2, 2, 50", "	2, 2", "the row has 12 columns and the first one 13"),
        ("0.01	0.1	0.02", "0	0	0.02", "branch 1-2-1 has no impedance"),
        ("1.05	-30", "-1	-30", "ratio of branch 1-3-1 is -1, and has to be positive"),
        ("1	3	0	0.2", "1	8	0	0.2", "branch 1-8-1 is at bus 8"),
        ("'it''s three'", "'it''s three", "is no plain data"),
        ("'four'};", "'four'", "the file ends within a statement"),
        (
            "	1	-360	360;\n	1	3",
            "	1;\n	1	3",
            "the row has 13 columns and the first one 11",
        ),
    ],
)
def test_what_is_wrong_is_refused(path: Path, old: str, new: str, message: str) -> None:
    assert TEXT.count(old) >= 1
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_matpower(path)

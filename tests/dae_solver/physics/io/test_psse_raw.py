"""PSS/E power flow files: sections, bases, status and defaults of versions 30 to 34."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dae_solver.physics.case import Case
from dae_solver.physics.io import read_raw
from psse_text import raw_text
from scimind.errors import InputError

BUS = """
1,'ONE         ', 20.0,3, 1,1,1,1.02, 5.0
2,'TWO / B, C  ',230.0,2, 1,1,1,0.99,-3.0
3,'THREE'       ,230.0,1, 1,1,1,0.98,-6.0
4,'FOUR'        ,230.0,4
5
"""
LOAD = """
3,'1 ',1,1,1, 50.0, 20.0,  0,0,0,0,1
3,'2 ',0,1,1, 99.0, 99.0,  0,0,0,0,1
5,'A ',1,1,1, 10.0,  4.0,  3.0,2.0,5.0,6.0,1
4,'1 ',1,1,1, 99.0, 99.0
"""
GENERATOR = """
1,'1 ', 40.0, 1.0, 30,-30,1.02,0,250.0, 0.01,0.2, 0,0,1,1
2,'G2', 60.0, 2.0, 30,-30,1.01,0,,,, ,,,1 / the rest by default
2,'G3', 60.0, 2.0, 30,-30,1.01,0,80.0,0,1,0,0,1,0
3,'1 ',  8.0, 4.0, 30,-30,1.05,0,50.0
4,'1 ',  8.0, 4.0
"""
BRANCH = """
1 2 '1 ' 0.01 0.1 0.02 0 0 0 0.001 0.002 0.003 0.004 1
2,-3,BL,0.0,0.2
2,3,'2 ',0.0,0.3,0,0,0,0,0,0,0,0,0
3,5,1,0.0,2.5E-1,.5
3,4,1,0.0,0.25
"""
SECTIONS = {
    "bus": BUS,
    "load": LOAD,
    "fixed shunt": "3,'1 ',1,2.0,30.0\n3,'2 ',0,9.0,9.0\n4,1,1,9,9",
    "generator": GENERATOR,
    "branch": BRANCH,
    "switched shunt": "5,1,0,1,1.1,0.9,0,100,'  ',-25.0,1,-25.0\n3,1,0,0,1.1,0.9,0,100,'  ',70.0",
    "area": "1,1,0,10,'AREA'",
    "owner": "1,'OWNER'",
}


def read(folder: Path, sections: dict[str, str] = SECTIONS, version: int = 33) -> Case:
    path = folder / "case.raw"
    path.write_text(raw_text(sections, version))
    return read_raw(path)


def test_buses(tmp_path: Path) -> None:
    case = read(tmp_path)
    assert (case.name, case.mva, case.frequency) == ("case", 100.0, 50.0)
    assert [bus.id for bus in case.buses] == [1, 2, 3, 5]
    one, two, _, five = case.buses
    assert (one.name, one.base_kv, one.v, one.angle) == ("ONE", 20.0, 1.02, math.radians(5.0))
    assert two.name == "TWO / B, C"
    assert (five.name, five.base_kv, five.v, five.angle) == ("", 0.0, 1.0, 0.0)


def test_loads_are_taken_at_the_voltage_of_the_file(tmp_path: Path) -> None:
    case = read(tmp_path)
    assert [load.id for load in case.loads] == ["3-1", "5-A"]
    assert (case.loads[0].p, case.loads[0].q) == (0.5, 0.2)
    other = SECTIONS | {"load": "3,1,1,1,1,10,4,3,2,5,6"}
    (load,) = read(tmp_path, other).loads
    assert load.p == pytest.approx((10 + 3 * 0.98 + 5 * 0.98**2) / 100)
    assert load.q == pytest.approx((4 + 2 * 0.98 - 6 * 0.98**2) / 100)
    assert any("1 loads have constant currents" in note for note in read(tmp_path, other).notes)


def test_shunts_fixed_and_switched(tmp_path: Path) -> None:
    shunts = {shunt.id: (shunt.bus, shunt.g, shunt.b) for shunt in read(tmp_path).shunts}
    assert shunts == {"3-1": (3, 0.02, 0.3), "5-switched": (5, 0.0, -0.25)}


def test_generators_regulate_by_the_type_of_their_bus(tmp_path: Path) -> None:
    slack, held, out, free = read(tmp_path).generators
    assert (slack.id, slack.slack, slack.v_set, slack.p, slack.q) == ("1-1", True, 1.02, 0.4, 0.01)
    assert (slack.angle, slack.mva) == (math.radians(5.0), 250.0)
    assert (held.id, held.slack, held.v_set, held.mva) == ("2-G2", False, 1.01, 100.0)
    assert (out.id, out.in_service) == ("2-G3", False)
    assert (free.id, free.v_set, free.q) == ("3-1", None, 0.04)


def test_a_generator_that_regulates_another_bus_holds_its_own_voltage(tmp_path: Path) -> None:
    changed = GENERATOR.replace("1.01,0,,", "1.05,3,,")
    case = read(tmp_path, SECTIONS | {"generator": changed})
    assert case.generators[1].v_set == 0.99
    assert any("generators 2-G2 regulate another bus" in note for note in case.notes)


def test_branches(tmp_path: Path) -> None:
    first, second, third, fourth = read(tmp_path).branches
    assert (first.id, first.r, first.x, first.b) == ("1-2-1", 0.01, 0.1, 0.02)
    assert (first.g_from, first.b_from, first.g_to, first.b_to) == (0.001, 0.002, 0.003, 0.004)
    assert (second.id, second.to_bus, second.x, second.in_service) == ("2-3-BL", 3, 0.2, True)
    assert (third.id, third.in_service) == ("2-3-2", False)
    assert (fourth.id, fourth.x, fourth.b) == ("3-5-1", 0.25, 0.5)


def test_an_isolated_bus_takes_all_with_it(tmp_path: Path) -> None:
    (note,) = (note for note in read(tmp_path).notes if "isolated" in note)
    assert note == ("isolated, left out: bus 4, load 4-1, shunt 4-1, generator 4-1, branch 3-4-1")


def test_version_30_has_shunts_in_its_buses(tmp_path: Path) -> None:
    sections = {
        "bus": "1,'ONE',20,3,0,0,1,1,1.02,5,1\n3,'THREE',230,1,2.0,30.0,1,1,0.98,-6,1",
        "load": "3,1,1,1,1,50,20",
        "generator": "1,1,40,1,30,-30,1.02,0,250",
        "branch": "1,3,1,0,0.1",
        "switched shunt": "3,1,1.1,0.9,0,100,'  ',-25.0,1,-25.0",
    }
    case = read(tmp_path, sections, version=30)
    assert case.frequency == 60.0
    assert (case.buses[1].v, case.buses[1].angle) == (0.98, math.radians(-6.0))
    assert [(s.id, s.g, s.b) for s in case.shunts] == [
        ("3-bus", 0.02, 0.3),
        ("3-switched", 0.0, -0.25),
    ]


def test_version_31_has_no_status_of_switched_shunts(tmp_path: Path) -> None:
    sections = SECTIONS | {"switched shunt": "5,1,1.1,0.9,0,100,'  ',-25.0,1,-25.0"}
    assert read(tmp_path, sections, version=31).shunts[-1].b == -0.25


def test_version_34_has_names_and_twelve_ratings(tmp_path: Path) -> None:
    ratings = ",".join(12 * ["0"])
    line = f"1,2,1,0.01,0.1,0.02,'A LINE',{ratings},0.001,0.002,0.003,0.004,0,1,0"
    sections = SECTIONS | {
        "system-wide": 'GENERAL, THRSHZ=0.0001\nRATING, 1, "RATE1", "SUMMER"',
        "branch": "@!   I,     J,'CKT'\n" + line,
    }
    (branch,) = read(tmp_path, sections, version=34).branches
    assert (branch.g_from, branch.b_from, branch.g_to, branch.b_to) == (0.001, 0.002, 0.003, 0.004)
    assert not branch.in_service


def test_the_end_may_come_early(tmp_path: Path) -> None:
    path = tmp_path / "case.raw"
    text = raw_text(SECTIONS)
    path.write_text(text.split("0 / END OF OWNER")[0] + "0\n0\n0\n")  # GNE and machines lack
    assert len(read_raw(path).buses) == 4
    path.write_text(text.split("0 / END OF AREA")[0] + "Q\nwhat follows is not read 'at all")
    assert len(read_raw(path).buses) == 4


@pytest.mark.parametrize(
    ("section", "old", "new", "message"),
    [
        ("bus", "2,'TWO / B, C  '", "1,'TWO'", "bus 1 is given twice"),
        ("bus", "2,'TWO / B, C  '", "2,'TWO", r"case\.raw:5: the quote ' in .* is not closed"),
        ("bus", "230.0,2", "NaN,2", "BASKV of the bus record is 'NaN', which is no finite number"),
        ("bus", "230.0,2", "1e999,2", "BASKV of the bus record is '1e999', which is no finite"),
        ("bus", "230.0,2", "230.0,7", "bus 2 has IDE = 7; it is 1 to 4"),
        ("bus", "0.99,-3.0", "0.0,-3.0", "VM of the bus record is 0, and has to be positive"),
        ("bus", "2,'TWO", "2.5,'TWO", "I of the bus record is '2.5', which is no whole number"),
        ("load", "3,'1 ',1", "7,'1 ',1", "load 7-1 is at bus 7, which does not exist"),
        ("load", "50.0", "fifty", "PL of the load record is 'fifty'"),
        ("load", "'A ',1,1,1", "'1 ',1,1,1", None),
        ("load", "3,'2 ',0", "3,'1 ',1", "load 3-1 is given twice"),
        ("generator", "0,250.0", "0,-250.0", "MBASE of the generator record is -250, and has"),
        ("generator", "0.01,0.2, 0,0,1", "0.01,0.2, 0,0.1,1", "generator 1-1 has a step-up transf"),
        ("generator", "2,'G2'", "9,'G2'", "generator 9-G2 is at bus 9, which does not exist"),
        ("branch", "0.01 0.1", "0.0 0.0", "branch 1-2-1 has no impedance"),
        (
            "branch",
            "3,5,1,0.0,2.5E-1",
            "3,5,1,0.0,",
            r"case\.raw:\d+: X of the branch record is mis",
        ),
        ("branch", "3,5,1", "3,8,1", "branch 3-8-1 is at bus 8"),
        ("branch", "2,3,'2 '", "2,3,BL", "branch 2-3-BL is given twice"),
    ],
)
def test_what_is_wrong_is_refused_with_its_line(
    tmp_path: Path, section: str, old: str, new: str, message: str | None
) -> None:
    assert old in SECTIONS[section]
    changed = SECTIONS | {section: SECTIONS[section].replace(old, new, 1)}
    if message is None:
        read(tmp_path, changed)
        return
    with pytest.raises(InputError, match=message):
        read(tmp_path, changed)


@pytest.mark.parametrize(
    ("section", "on", "off"),
    [
        ("two-terminal dc", "'L',1,5\n1,2\n2,3", "'L',0,5\n1,2\n2,3"),
        ("vsc dc", "'V',1,0\n1,2\n2,3", "'V',0,0\n1,2\n2,3"),
        ("facts", "'F',1,0,1", "'F',1,0,0"),
        ("induction machine", "1,'1',1", "1,'1',0"),
        ("gne", "'G','M',1", ""),
        ("multi-terminal dc", "'M',1,1,1,1", ""),
    ],
)
def test_a_device_without_a_model_is_refused_where_it_is_on(
    tmp_path: Path, section: str, on: str, off: str
) -> None:
    with pytest.raises(InputError, match=f"has {section} data, for which there is no model here"):
        read(tmp_path, SECTIONS | {section: on})
    if off:
        assert read(tmp_path, SECTIONS | {section: off}) == read(tmp_path)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("0, 100.0, 29", "has version 29 of the format, and 30 to 34 are read"),
        ("0, 100.0, 35", "has version 35"),
        ("0, 100.0 / PSS/E-29.0", "has version 29"),
        ("0, 100.0", "names no version; write the version of the format, 30 to 34"),
        ("0, 0.0, 33", "SBASE of the first line is 0, and has to be positive"),
        ("", "names no version"),
    ],
)
def test_the_version_decides(tmp_path: Path, first: str, message: str) -> None:
    path = tmp_path / "case.raw"
    path.write_text("\n".join([first, *raw_text(SECTIONS).split("\n")[1:]]))
    with pytest.raises(InputError, match=message):
        read_raw(path)


def test_a_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.raw"
    path.write_text(raw_text(SECTIONS).split("3,5,1,0.0")[0])
    with pytest.raises(
        InputError, match="the file ends within its branch data; sections end with 0"
    ):
        read_raw(path)

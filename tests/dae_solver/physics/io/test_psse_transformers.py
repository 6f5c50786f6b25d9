"""PSS/E transformers: the branch behaves as ideal transformers with the impedance between them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from dae_solver.physics.case import Case
from dae_solver.physics.io import read_raw
from dae_solver.physics.network import Network
from psse_text import raw_text
from scimind.errors import InputError

BUSES = "1,'ONE',20,3\n2,'TWO',110,1\n3,'THREE',10,1\n4,'FOUR',110,4"
GENERATOR = "1,1,40,1,30,-30,1.02,0,250"
MVA = 50.0


def read(folder: Path, transformer: str, version: int = 33) -> Case:
    sections = {
        "bus": BUSES,
        "generator": GENERATOR,
        "branch": "2,3,1,0,0.5",
        "transformer": transformer,
    }
    path = folder / "case.raw"
    path.write_text(raw_text(sections, version, MVA))
    return read_raw(path)


def two(
    codes: str = "1,1,1",
    magnetising: str = "0,0",
    impedance: str = "0.01,0.1,200",
    first: str = "1,0,0",
    second: str = "1,0",
    status: int = 1,
) -> str:
    return (
        f"1,2,0,'1 ',{codes},{magnetising},2,'T1',{status},1,1.0\n"
        f"{impedance}\n{first},0,0,0\n{second}\n"
    )


def admittance(case: Case) -> np.ndarray:
    """Of the transformer alone, at its two or three buses."""
    case.branches = case.branches[1:]
    network = Network(case)
    return network.admittance(network.built)


def between(t1: float, t2: float, z: complex, shift: float = 0.0, shunt: complex = 0) -> np.ndarray:
    """``t1 exp(j shift) : 1``, the impedance, ``1 : t2``; the shunt is at the first bus."""
    a, b = t1 * np.exp(1j * shift), t2
    y = 1 / z
    return np.array([[y / abs(a) ** 2 + shunt, -y / (np.conj(a) * b)], [-y / (a * b), y / b**2]])


@pytest.mark.parametrize(
    ("codes", "first", "second", "t1", "t2"),
    [
        ("1,1,1", "1.05,0,0", "0.95,0", 1.05, 0.95),  # per unit of the bus
        ("1,1,1", ",0,0", ",", 1.0, 1.0),
        ("2,1,1", "21.0,19.0,0", "112.2,108.0", 21.0 / 20.0, 112.2 / 110.0),  # kV
        ("2,1,1", ",19.0,0", ",108.0", 1.0, 1.0),
        ("3,1,1", "1.05,19.0,0", "0.95,108.0", 1.05 * 19 / 20, 0.95 * 108 / 110),  # of nominal
        ("3,1,1", "1.05,0,0", "0.95,0", 1.05, 0.95),
    ],
)
def test_winding_codes(
    tmp_path: Path, codes: str, first: str, second: str, t1: float, t2: float
) -> None:
    y = admittance(read(tmp_path, two(codes, first=first, second=second)))
    np.testing.assert_allclose(y[:2, :2], between(t1, t2, 0.01 + 0.1j), rtol=1e-13)


@pytest.mark.parametrize(
    ("cz", "impedance", "z"),
    [
        (1, "0.01,0.1,200", 0.01 + 0.1j),  # on the system base
        (2, "0.01,0.1,200", (0.01 + 0.1j) * MVA / 200),  # on the base of the transformer
        (2, "0.01,0.1,", 0.01 + 0.1j),
        # 2 MW of losses at 200 MVA: r = 0.01; and the size of the impedance.
        (3, "2e6,0.1,200", (0.01 + 1j * math.sqrt(0.1**2 - 0.01**2)) * MVA / 200),
    ],
)
def test_impedance_codes(tmp_path: Path, cz: int, impedance: str, z: complex) -> None:
    y = admittance(read(tmp_path, two(f"1,{cz},1", impedance=impedance, second="0.9,0")))
    np.testing.assert_allclose(y[:2, :2], between(1.0, 0.9, z), rtol=1e-12)


@pytest.mark.parametrize(
    ("cm", "magnetising", "first", "shunt"),
    [
        (1, "0.002,-0.03", "1.1,0,0", 0.002 - 0.03j),
        # 0.1 MW at 20 kV is 0.002 pu of 50 MVA; 1 % of 200 MVA is 0.04 pu.
        (2, "1e5,0.01", "1.1,0,0", 0.002 - 1j * math.sqrt(0.04**2 - 0.002**2)),
        # The same at a nominal 25 kV: less by (20 / 25)^2.
        (2, "1e5,0.01", "1.1,25,0", (0.002 - 1j * math.sqrt(0.04**2 - 0.002**2)) * 0.64),
    ],
)
def test_magnetising_codes(
    tmp_path: Path, cm: int, magnetising: str, first: str, shunt: complex
) -> None:
    y = admittance(read(tmp_path, two(f"1,1,{cm}", magnetising, first=first)))
    np.testing.assert_allclose(y[:2, :2], between(1.1, 1.0, 0.01 + 0.1j, shunt=shunt), rtol=1e-12)


def test_the_first_winding_leads_by_its_angle(tmp_path: Path) -> None:
    y = admittance(read(tmp_path, two(first="1.05,0,30")))
    np.testing.assert_allclose(
        y[:2, :2], between(1.05, 1.0, 0.01 + 0.1j, math.radians(30)), rtol=1e-12
    )


def test_out_of_service(tmp_path: Path) -> None:
    branch = read(tmp_path, two(status=0)).branches[1]
    assert (branch.id, branch.in_service) == ("1-2-1", False)


def test_the_third_bus_may_be_left_out(tmp_path: Path) -> None:
    text = two().replace("1,2,0,'1 '", "1,2,,'1 '")
    assert read(tmp_path, text).branches[1].id == "1-2-1"


THREE = """1,2,3,'1 ',1,1,1,0.001,-0.02,2,'T3',1,1,1.0
0.01,0.1,100,0.02,0.3,100,0.03,0.5,100,0.97,-10
1.02,0,5
1.03,0,0
1.04,0,-30
"""


def test_three_windings_meet_at_a_star_point(tmp_path: Path) -> None:
    case = read(tmp_path, THREE)
    assert case.buses[-1].id == "star 1-2-3-1"
    assert (case.buses[-1].v, case.buses[-1].angle) == (0.97, math.radians(-10))
    one, two_, three = case.branches[1:]
    assert [each.to_bus for each in (one, two_, three)] == 3 * ["star 1-2-3-1"]
    # Star: Z1 = (Z12 + Z31 - Z23) / 2, and so on around.
    assert (one.r, one.x) == pytest.approx((0.01, 0.15))
    assert (two_.r, two_.x) == pytest.approx((0.0, -0.05))
    assert (three.r, three.x) == pytest.approx((0.02, 0.35))
    assert [each.tap for each in (one, two_, three)] == [1.02, 1.03, 1.04]
    assert [each.shift for each in (one, two_, three)] == [
        math.radians(5),
        0.0,
        math.radians(-30),
    ]
    assert any("three windings: bus star 1-2-3-1" in note for note in case.notes)


def test_the_star_has_the_impedances_between_its_windings(tmp_path: Path) -> None:
    y = admittance(read(tmp_path, THREE.replace("0.001,-0.02", "0,0")))
    # With winding 3 open and 2 short-circuited, bus 1 sees Z12 through its ratio.
    shorted = np.array([[y[0, 0], y[0, 3]], [y[3, 0], y[3, 3] - 0]])
    z_star = np.linalg.inv(y[3:, 3:])[0, 0]
    assert z_star != 0
    star_without_third = y[3, 3] - 1 / (0.02 + 0.35j)
    seen = shorted[0, 0] - shorted[0, 1] * shorted[1, 0] / star_without_third
    assert 1 / seen == pytest.approx((0.01 + 0.1j) * 1.02**2)


def test_a_winding_without_impedance_gets_the_least_of_psse(tmp_path: Path) -> None:
    text = THREE.replace("0.01,0.1,100,0.02,0.3,100,0.03,0.5", "0.01,0.1,100,0.02,0.2,100,0.03,0.3")
    case = read(tmp_path, text)
    assert case.branches[2].x == 1e-4  # (0.1 + 0.2 - 0.3) / 2 is 2.8e-17 in floats
    assert "1-2-3-1 winding 2 has no impedance: 0.0001 pu is taken" in case.notes


def test_three_windings_on_their_own_bases(tmp_path: Path) -> None:
    text = THREE.replace("1,1,1,0.001", "1,2,1,0.001", 1).replace("0.1,100,", "0.1,200,")
    one = read(tmp_path, text).branches[1]
    r = (0.01 * MVA / 200 + 0.03 * MVA / 100 - 0.02 * MVA / 100) / 2
    assert one.r == pytest.approx(r)


@pytest.mark.parametrize(
    ("status", "on"),
    [(1, [1, 1, 1]), (2, [1, 0, 1]), (3, [1, 1, 0]), (4, [0, 1, 1])],
)
def test_windings_out_of_service(tmp_path: Path, status: int, on: list[int]) -> None:
    text = THREE.replace("'T3',1", f"'T3',{status}")
    assert [branch.in_service for branch in read(tmp_path, text).branches[1:]] == on


def test_three_windings_out_of_service_leave_no_star(tmp_path: Path) -> None:
    case = read(tmp_path, THREE.replace("'T3',1", "'T3',0"))
    assert len(case.buses) == 3
    assert "transformer 1-2-3-1 is out of service and left out" in case.notes


def test_a_transformer_at_an_isolated_bus_is_left_out(tmp_path: Path) -> None:
    case = read(tmp_path, two().replace("1,2,0", "1,4,0"))
    assert [branch.id for branch in case.branches] == ["2-3-1"]


def test_version_34_has_more_ratings(tmp_path: Path) -> None:
    branch = read(tmp_path, two(first="1.05,0,30"), version=34).branches[1]
    assert (branch.tap, branch.shift) == (1.05, math.radians(30))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (two("4,1,1"), "transformer 1-2-1 has CW = 4; it is 1 to 3"),
        (two("1,0,1"), "transformer 1-2-1 has CZ = 0; it is 1 to 3"),
        (two("1,1,3"), "transformer 1-2-1 has CM = 3; it is 1 to 2"),
        (two(status=2), "transformer 1-2-1 has STAT = 2; it is 0 or 1"),
        (two(impedance="0,0,100"), "branch 1-2-1 has no impedance"),
        (two(impedance="0.1"), r"X1-2 of the transformer record is missing \(value 2\)"),
        (two("1,2,1", impedance="0,0.1,0"), "SBASE1-2 of the transformer record is 0, and has"),
        (two("1,3,1", impedance="5e6,0.01,200"), "load loss that means a resistance of 0.025 pu"),
        (two("1,1,2", "1e7,0.001"), "exciting current of 0.004 pu and a loss of 0.2 pu"),
        (two(first="0,0,0"), "WINDV1 of the transformer record is 0, and has to be positive"),
        (two(first="-1,0,0"), "WINDV1 of the transformer record is -1, and has to be positive"),
        (two().replace("1,2,0", "1,9,0"), "branch 1-9-1 is at bus 9, which does not exist"),
        (two().rsplit("\n", 2)[0], r"the transformer has 3 lines of 4; complete it"),
        (two() + two(), "branch 1-2-1 is given twice"),
        (THREE.replace("'T3',1", "'T3',5"), "STAT = 5; it is 0 or 1, and with three windings also"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, text)


def test_kilovolts_need_the_base_of_the_bus(tmp_path: Path) -> None:
    path = tmp_path / "case.raw"
    sections = {"bus": "1,'A',0,3\n2,'B',0,1", "transformer": two("2,1,1", first="21,0,0")}
    path.write_text(raw_text(sections))
    with pytest.raises(InputError, match="CW = 2, which needs the base voltage of bus 1"):
        read_raw(path)

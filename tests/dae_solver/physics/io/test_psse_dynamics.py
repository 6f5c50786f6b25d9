"""PSS/E dynamic models: the order of the constants, and how they reach their machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from dae_solver.physics.case import Case
from dae_solver.physics.io import read_raw
from psse_text import raw_text
from scimind.errors import InputError

SECTIONS = {
    "bus": "1,'ONE',20,3\n2,'TWO',20,2\n3,'THREE',230,1",
    "generator": (
        "1,'1 ',40,1,30,-30,1.0,0,250,0.01,0.2,0,0,1,1\n"
        "2,'A ',40,1,30,-30,1.0,0,80,0.02,0.3,0,0,1,1\n"
        "2,'B ',40,1,30,-30,1.0,0,80,0.02,0.3,0,0,1,0\n"
    ),
    "branch": "1,3,1,0,0.1\n2,3,1,0,0.1",
}
MACHINES = """
// a heading / without values
      1 'GENROU' 1     8.0000      0.30000E-01  0.40000      0.50000E-01
          6.5000       2.0000       1.8000       1.7000      0.30000
         0.55000      0.25000      0.60000E-01   0.09   0.38    / comment, 'open
2,'GENCLS','A',4.5,1.5/
2 gencls B 4.5 1.5 /
"""


def read(folder: Path, dyr: str) -> Case:
    path, other = folder / "case.raw", folder / "case.dyr"
    path.write_text(raw_text(SECTIONS))
    other.write_text(dyr)
    return read_raw(path, other)


def test_machines(tmp_path: Path) -> None:
    round_, classical, out = read(tmp_path, MACHINES).devices
    assert (round_.model, round_.id, round_.of) == ("GENROU", "1-1", "1-1")
    assert (round_.mva, round_.kv) == (250.0, 0.0)
    assert round_.parameters == {
        **{"Td10": 8.0, "Td20": 0.03, "Tq10": 0.4, "Tq20": 0.05, "M": 13.0, "D": 2.0},
        **{"xd": 1.8, "xq": 1.7, "xd1": 0.3, "xq1": 0.55, "xd2": 0.25, "xq2": 0.25},
        **{"xl": 0.06, "S10": 0.09, "S12": 0.38, "ra": 0.01},
    }
    assert (classical.model, classical.of, classical.mva) == ("GENCLS", "2-A", 80.0)
    assert classical.parameters == {"M": 9.0, "D": 1.5, "ra": 0.02, "xd1": 0.3}
    assert (out.id, out.in_service) == ("2-B", False)


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ("'SEXS' 1 .1 10 100 .05 -3 4", {"TATB": 0.1, "TB": 10, "K": 100, "TE": 0.05, "EMAX": 4}),
        (
            "'IEEET1' 1 .01 40 .04 7 -6 1 .8 .03 1.2 0 2.8 .04 3.7 .33",
            {"TR": 0.01, "VRMAX": 7, "VRMIN": -6, "TF": 1.2, "E1": 2.8, "SE1": 0.04, "SE2": 0.33},
        ),
        (
            "'EXDC2 ' 1 .01 40 .04 2 3 7 -6 1 .8 .03 1.2 0 2.8 .04 3.7 .33",
            {"TA": 0.04, "TB": 2, "TC": 3, "KE": 1, "KF1": 0.03, "TF1": 1.2, "E2": 3.7},
        ),
        (
            "'IEEEX1' 1 .01 40 .04 2 3 7 -6 1 .8 .03 1.2 0 2.8 .04 3.7 .33",
            {"TB": 2, "TC": 3, "Switch": 0, "SE2": 0.33},
        ),
        (
            "'EXST1' 1 .01 .2 -.2 1 2 80 .05 8 -3 .2 .1 1.5",
            {"VIMAX": 0.2, "TC": 1, "TB": 2, "KC": 0.2, "KF": 0.1, "TF": 1.5},
        ),
        (
            "'TGOV1' 1 .05 .49 33 .4 2.1 7 .2",
            {"R": 0.05, "T1": 0.49, "VMAX": 33, "VMIN": 0.4, "T2": 2.1, "T3": 7, "Dt": 0.2},
        ),
        (
            "'IEEEG1' 1 0 0 20 .1 .2 .3 .4 -.5 .9 .05 .6 1 0 .7 .3 0 .8 .2 0 .9 .1 0",
            {"K": 20, "T1": 0.1, "T3": 0.3, "UO": 0.4, "UC": -0.5, "PMIN": 0.05, "K7": 0.1},
        ),
        (
            "'IEEEST' 1 3 0 1 2 3 4 5 6 .1 .2 .3 .4 .5 .6 .7 .8 -.8 1.1 .9",
            {
                "MODE": 3,
                "A1": 1,
                "A6": 6,
                "T1": 0.1,
                "T6": 0.6,
                "KS": 0.7,
                "LSMIN": -0.8,
                "VCL": 0.9,
            },
        ),
    ],
)
def test_regulators(tmp_path: Path, record: str, wanted: dict[str, float]) -> None:
    device = read(tmp_path, f"1 {record} /\n{MACHINES}").devices[0]
    assert device.model == record.split("'")[1].strip()
    assert (device.id, device.of, device.mva) == ("1-1", "1-1", 250.0)
    assert wanted.items() <= device.parameters.items()
    assert not {"BUS2", "ID2", "BUSR", "H"} & set(device.parameters)


def test_a_regulator_is_out_of_service_with_its_generator(tmp_path: Path) -> None:
    device = read(tmp_path, f"{MACHINES} 2 'TGOV1' B .05 .49 33 .4 2.1 7 .2 /").devices[-1]
    assert not device.in_service


def test_a_model_of_an_isolated_generator_is_left_out(tmp_path: Path) -> None:
    path, other = tmp_path / "case.raw", tmp_path / "case.dyr"
    bus = SECTIONS["bus"].replace("'TWO',20,2", "'TWO',20,4")
    path.write_text(raw_text(SECTIONS | {"bus": bus}))
    other.write_text(MACHINES)
    case = read_raw(path, other)
    assert [device.id for device in case.devices] == ["1-1"]
    assert "GENCLS of generator 2-A is left out with it" in case.notes


def test_events_of_andes_are_left_out_with_a_note(tmp_path: Path) -> None:
    case = read(tmp_path, f"{MACHINES}\n   Line 'Toggle' Line_8     2.0  /\n")
    assert len(case.devices) == 3
    assert any("TOGGLE of ANDES, left out" in note for note in case.notes)


@pytest.mark.parametrize(
    ("dyr", "message"),
    [
        (
            "1 'GENSAL' 1 5 /\n2 'HYGOV' A 1 /\n2 'HYGOV' B 1 /",
            r"case.dyr:1: GENSAL of generator 1-1 is not supported \(in all: 1 of GENSAL, 2 of "
            r"HYGOV\); models are: GENCLS, GENROU, SEXS",
        ),
        ("1 'GENCLS' 1 4.5 /", r"case.dyr:1: GENCLS has 1 constants, and its 2 are: H, D"),
        ("1 'GENCLS' 1 4.5 0 1 /", "GENCLS has 3 constants"),
        ("\n1 'GENCLS' 1\n 4.5 x /", r"case.dyr:2: D of GENCLS of the record is 'x'"),
        ("1 'GENCLS' 1 NaN 0 /", "H of GENCLS of the record is 'NaN', which is no finite number"),
        (
            "7 'GENCLS' 1 4.5 0 /",
            r"generator '1' of bus 7, which does not exist; .*: 1-1, 2-A, 2-B",
        ),
        ("1 'GENCLS' 2 4.5 0 /", "GENCLS belongs to generator '2' of bus 1, which does not exist"),
        ("1 'GENCLS' 1 4 0 / \n 1 'GENCLS' 1 4 0 /", "1-1 has a second machine, GENCLS; keep one"),
        ("1 'SEXS' 1 .1 10 100 .05 -3 4 /", "the exciter of generator 1-1 has no machine; add its"),
        ("1 'GENCLS' 1 4.5 0", "the last record has no end; records end with /"),
        ("1 'GENCLS 1 4.5 0 /", "the quote ' in .* is not closed"),
        ("1 /", "the model of the record is missing"),
        (
            f"{MACHINES} 1 'IEEEG1' 1 2 'A' 20 .1 .2 .3 .4 -.5 .9 0 .6 1 0 1 0 0 1 0 0 1 0 0 /",
            "IEEEG1",
        ),
        (
            f"{MACHINES} 1 'IEEEST' 1 5 3 1 2 3 4 5 6 .1 .2 .3 .4 .5 .6 .7 .8 -.8 0 0 /",
            "IEEEST measures the voltage of another bus",
        ),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, dyr: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path, dyr)

"""Our own format: what goes in comes back, and mistakes are named by their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dae_solver.physics.case import (
    Branch,
    Bus,
    Case,
    Device,
    Disturbance,
    Generator,
    Load,
    Shunt,
)
from dae_solver.physics.io import built_in, read_case, read_native, write_native
from power_cases import reference_case
from scimind.errors import InputError

_THIRD = 1.0 / 3.0


def full_case() -> Case:
    """Every field away from its default, with numbers that have no short decimal form."""
    return Case(
        name="full",
        mva=_THIRD * 300.1,
        frequency=50.0,
        buses=[
            Bus(id=7, name="north", base_kv=400.0, v=1.0 + 1e-15, angle=-_THIRD),
            Bus(id="south", name="", base_kv=0.1, v=5e-324),
        ],
        branches=[
            Branch(
                id="7-south",
                from_bus=7,
                to_bus="south",
                r=0.1 * _THIRD,
                x=0.2,
                b=0.3,
                g_from=1e-17,
                b_from=-0.1,
                g_to=0.7,
                b_to=1e300,
                tap=1.0375,
                shift=-0.0,
                in_service=False,
            )
        ],
        shunts=[Shunt(id="s", bus=7, g=-1e-9, b=2.0 * _THIRD)],
        loads=[Load(id="l", bus="south", p=0.1 + 0.2, q=-0.3)],
        generators=[
            Generator(id="g", bus=7, p=0.7, q=0.1, v_set=1.02, slack=True, angle=0.2, mva=33.0),
            Generator(id="h", bus="south", p=-0.7, in_service=False),
        ],
        devices=[
            Device(
                model="GENCLS",
                id="m",
                of="g",
                parameters={"M": 7.0 * _THIRD, "xd1": 0.3},
                mva=123.4,
                kv=20.0,
                in_service=False,
            )
        ],
        disturbances=[
            Disturbance(kind="fault", target=7, time=1.0, end=1.1, x=1e-3, r=1e-5),
            Disturbance(kind="toggle", target="7-south", time=2.0),
        ],
        notes=["read by hand", "two"],
    )


def test_a_case_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "full.json"
    write_native(full_case(), path)
    assert read_native(path) == full_case()
    assert read_case(path) == full_case()


@given(p=st.floats(allow_nan=False, allow_infinity=False), angle=st.floats(-4.0, 4.0))
def test_every_float_comes_back_bit_by_bit(
    tmp_path_factory: pytest.TempPathFactory, p: float, angle: float
) -> None:
    case = full_case()
    case.loads[0].p, case.buses[0].angle = p, angle
    path = tmp_path_factory.getbasetemp() / "float.json"
    write_native(case, path)
    back = read_native(path)
    assert back.loads[0].p.hex() == p.hex()
    assert back.buses[0].angle.hex() == angle.hex()


def test_a_whole_number_stands_for_a_float(tmp_path: Path) -> None:
    content = _content(tmp_path)
    content["mva"] = 100
    case = read_native(_written(tmp_path, content))
    assert case.mva == 100.0
    assert isinstance(case.mva, float)


def test_keys_with_defaults_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "short.json"
    path.write_text('{"format": "scimind-power-1", "name": "one", "buses": [{"id": 1}]}')
    assert read_native(path) == Case(name="one", buses=[Bus(id=1)])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("devices.0.parameters.M", "7", r'devices\[0\]\.parameters\.M is "7", not a number'),
        (
            "devices.0.parameters.M",
            "heavy",
            r'devices\[0\]\.parameters\.M is "heavy", not a number',
        ),
        ("devices.0.parameters.M", None, r"devices\[0\]\.parameters\.M is null"),
        ("devices.0.parameters.M", ..., r"devices\[0\]\.parameters\.M is missing \(inertia"),
        ("devices.0.parameters.xd9", 1.0, r"parameters\.xd9 is no parameter of GENCLS; its .* xd1"),
        ("devices.0.parameters", [1], r"devices\[0\]\.parameters is \[1\], not an object"),
        ("devices.0.model", "GENSAL", r"GENSAL m is not supported; models are: GENCLS, "),
        ("devices.0.of", "x", "GENCLS m belongs to generator 'x', which does not exist; there are"),
        ("devices.0.in_service", 1, r"devices\[0\]\.in_service is 1, not true or false"),
        ("buses.1.id", 7, "bus 7 is given twice; rename one"),
        ("buses.1.id", True, r"buses\[1\]\.id is true, not a whole number or a text"),
        ("buses.1.id", 1.5, r"buses\[1\]\.id is 1\.5, not a whole number or a text"),
        (
            "buses.0.colour",
            "red",
            r"buses\[0\]\.colour is no known key; keys are: id, name, base_kv",
        ),
        ("buses.0.id", ..., r"buses\[0\]\.id is missing; add it"),
        ("buses", [], "the case has no bus"),
        ("buses", {"id": 1}, r'buses is {"id": 1}, not a list'),
        ("buses.0", 3, r"buses\[0\] is 3, not an object"),
        (
            "branches.0.to_bus",
            99,
            "branch 7-south is at bus 99, which does not exist; there are: 7",
        ),
        ("branches.0.r", "0.1x", r'branches\[0\]\.r is "0.1x", not a number'),
        ("branches.0.tap", 0.0, "ratio of branch 7-south is 0, and has to be positive"),
        ("loads.0.bus", "7", "load l is at bus '7', which does not exist"),
        ("loads.0.p", 10**400, r"loads\[0\]\.p is an integer of many digits, which is no finite"),
        ("generators.0.bus", 8, "generator g is at bus 8"),
        ("generators.0.v_set", "high", r"generators\[0\]\.v_set is \"high\", not a number or null"),
        ("generators.1.id", "g", "generator g is given twice"),
        ("generators.0.mva", -1, "rating of generator g is -1, and has to be positive"),
        ("shunts.0.bus", 8, "shunt s is at bus 8"),
        ("disturbances.0.target", 8, "a fault is at bus 8"),
        (
            "disturbances.0.target",
            [1],
            r"disturbances\[0\]\.target is \[1\], not a whole number or",
        ),
        ("mva", 0, "system base mva is 0, and has to be positive"),
        ("frequency", -50, "frequency is -50, and has to be positive"),
        ("notes", [1], r"notes\[0\] is 1, not a text"),
        ("format", "scimind-power-9", 'no "format": "scimind-power-1"'),
        ("colour", "red", "colour is no known key; keys are: name, mva, frequency, buses"),
    ],
)
def test_a_mistake_is_named_by_its_place(
    tmp_path: Path, place: str, value: Any, message: str
) -> None:
    content = _content(tmp_path)
    *way, last = place.split(".")
    inside: Any = content
    for step in way:
        inside = inside[int(step)] if step.isdigit() else inside[step]
    key = int(last) if last.isdigit() else last
    if value is ...:
        del inside[key]
    else:
        inside[key] = value
    path = _written(tmp_path, content)
    with pytest.raises(InputError, match=message):
        read_native(path)


def test_a_branch_without_impedance_is_refused(tmp_path: Path) -> None:
    content = _content(tmp_path)
    content["branches"][0] |= {"r": 0, "x": 0.0}
    with pytest.raises(InputError, match=r"branch 7-south has no impedance .* small reactance"):
        read_native(_written(tmp_path, content))


def test_two_exciters_of_one_name_are_refused(tmp_path: Path) -> None:
    content = _content(tmp_path)
    content["devices"] += 2 * [{"model": "SEXS", "id": "e", "of": "m"}]
    with pytest.raises(InputError, match="exciter e is given twice"):
        read_native(_written(tmp_path, content))


def test_a_governor_may_be_called_like_its_machine(tmp_path: Path) -> None:
    content = _content(tmp_path)
    content["devices"].append({"model": "TGOV1", "id": "m", "of": "m"})
    assert len(read_native(_written(tmp_path, content)).devices) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_not_written(tmp_path: Path, value: float) -> None:
    case = full_case()
    case.branches[0].x = value
    with pytest.raises(InputError, match=r"x of branch 7-south is (nan|inf), which is no finite"):
        write_native(case, tmp_path / "x.json")


def test_the_nine_bus_system_comes_with_the_package(real_data: Path) -> None:
    assert "wscc9" in built_in()
    case = read_case("wscc9")
    wanted = reference_case(real_data / "dae_solver" / "wscc9.json")
    wanted.notes = case.notes
    assert case == wanted


def test_the_nine_bus_system_has_the_textbook_machines() -> None:
    case = read_case("wscc9")
    assert [device.parameters["M"] for device in case.devices[::3]] == [47.28, 12.8, 6.02]
    assert {branch.id for branch in case.branches} >= {"4-5", "7-8"}
    assert [(load.bus, load.p, load.q) for load in case.loads] == [
        (5, 1.25, 0.5),
        (6, 0.9, 0.3),
        (8, 1.0, 0.35),
    ]


def _content(folder: Path) -> dict[str, Any]:
    path = folder / "content.json"
    write_native(full_case(), path)
    return dict(json.loads(path.read_text()))


def _written(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "changed.json"
    path.write_text(json.dumps(content))
    return path

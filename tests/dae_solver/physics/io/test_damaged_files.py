"""Whatever becomes of a file, it is read or refused with an error that a user can act on."""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dae_solver.physics.io import built_in, read_case
from psse_text import raw_text
from scimind.errors import InputError

_ROWS = {
    "Bus": [{"idx": 1, "Vn": 20.0, "u": 1}, {"idx": 2, "Vn": 230.0, "u": 1}],
    "Line": [{"idx": "L", "bus1": 1, "bus2": 2, "Vn1": 20.0, "r": 0.01, "x": 0.1, "tap": 1.05}],
    "Slack": [{"idx": 1, "bus": 1, "Sn": 100.0, "v0": 1.0}],
    "PQ": [{"idx": "P", "bus": 2, "p0": 0.5, "q0": 0.1}],
    "GENROU": [{"idx": "G", "bus": 1, "gen": 1, "Sn": 100.0, "M": 13.0, "fn": 60.0}],
    "TGOV1": [{"idx": "T", "syn": "G", "R": 0.05, "Tn": float("nan")}],
}
_RAW = {
    "bus": "1,'ONE',20,3,1,1,1,1.02,5\n2,'TWO',110,2\n3,'THREE',10,1",
    "load": "3,1,1,1,1,50,20,1,2,3,4",
    "fixed shunt": "3,1,1,2,30",
    "generator": "1,1,40,1,30,-30,1.02,0,250\n2,1,40,1,30,-30,1.02,0,250",
    "branch": "2,3,1,0.01,0.5",
    "transformer": (
        "1,2,0,'1 ',2,2,2,1e5,0.01,2,'T1',1\n0.01,0.1,200\n21,20,30\n112,110\n"
        "1,2,3,'1 ',3,3,1,0,0,2,'T3',1\n1e5,.1,99,2e5,.3,100,3e5,.5,100\n1.02,20\n1,110\n1,10\n"
    ),
    "switched shunt": "3,1,0,1,1.1,0.9,0,100,'  ',-25.0,1,-25.0",
}
_DYR = b"""1 'GENROU' 1 8 .03 .4 .05 6.5 0 1.8 1.7 .3 .55 .25 .06 0 0 /
2 'GENCLS' 1 4.5 1.5 / and
2 'TGOV1' 1 .05 .49 33 .4 2.1 7 .2 /
"""
_M = b"""function mpc = case2
mpc.version = '2';
mpc.baseMVA = 100; % base
mpc.bus = [1 3 0 0 0 0 1 1 0 345; 2 1 50 10 1 2 1 1 0 345];
mpc.gen = [1 40 1 30 -30 1.02 100 1];
mpc.branch = [1, 2, 0.01, 0.1, 0.02, 0, 0, 0, 1.05, ...
 30, 1];
mpc.bus_name = {'one'; 'it''s'};
"""


@functools.cache
def _workbook() -> bytes:
    content = io.BytesIO()
    with pd.ExcelWriter(content, engine="openpyxl") as writer:
        for name, rows in _ROWS.items():
            pd.DataFrame(rows).to_excel(writer, sheet_name=name, index=False)
    return content.getvalue()


FILES: dict[str, Callable[[], bytes]] = {
    "own.json": lambda: built_in()["wscc9"].read_bytes(),
    "andes.json": lambda: json.dumps(_ROWS).encode(),
    "case.xlsx": _workbook,
    "case.raw": lambda: raw_text(_RAW).encode(),
    "case34.raw": lambda: raw_text(_RAW, 34).encode(),
    "case.dyr": lambda: _DYR,
    "case.m": lambda: _M,
}
_PIECES = [
    *(b"", b"0", b"-1", b"9", b"nan", b"1e999", b"1e308", b"'", b'"', b",", b";", b"/", b"\n"),
    *(b"[", b"]", b"{", b"}", b"null", b"true", b"\0", b"\xff", b"%", b"...", b" ", b"Q\n"),
    *(b"0\n", b"99999999999999999999", b"9" * 400, b"1e-320", b"\xe2\x88\x9e", b"Inf"),
]


def read(folder: Path, name: str, content: bytes) -> None:
    """Reads the file; a ``.dyr`` beside its ``.raw``. Errors other than InputError come out."""
    path = folder / name
    path.write_bytes(content)
    dyr = None
    if path.suffix == ".dyr":
        path, dyr = folder / "beside.raw", path
        path.write_text(raw_text(_RAW))
    read_case(path, dyr=dyr)


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_whole_at_first(tmp_path: Path, name: str) -> None:
    read(tmp_path, name, FILES[name]())


@pytest.mark.parametrize("name", FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncated_file_is_refused_or_read(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = FILES[name]()
    end = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(InputError):
        read(tmp_path, name, content[:end])


@pytest.mark.parametrize("name", FILES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_a_mutated_file_is_refused_or_read(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = FILES[name]()
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 12)))
        piece = data.draw(st.sampled_from(_PIECES) | st.binary(max_size=4))
        content = content[:start] + piece + content[end:]
    with contextlib.suppress(InputError):
        read(tmp_path, name, content)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data())
def test_a_workbook_with_other_cells_is_refused_or_read(
    tmp_path: Path, data: st.DataObject
) -> None:
    rows = json.loads(json.dumps(_ROWS))
    table = data.draw(st.sampled_from(sorted(rows)))
    row = data.draw(st.sampled_from(rows[table]))
    value = data.draw(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=4)
        | st.lists(st.integers(), max_size=2)
    )
    row[data.draw(st.sampled_from(sorted(row)))] = value
    with contextlib.suppress(InputError):
        read(tmp_path, "andes.json", json.dumps(rows).encode())

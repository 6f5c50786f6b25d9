"""Power flows of the cases that ANDES ships, against its own solution of the same files.

ANDES runs in another process: SCIMIND_ANDES_PYTHON names the Python that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from dae_solver.physics.case import Case
from dae_solver.physics.io import read_case
from dae_solver.physics.network import Network
from dae_solver.physics.powerflow import solve

_FILES = (
    *("kundur/kundur_full.xlsx", "kundur/kundur_full.json", "kundur/kundur.raw"),
    *("ieee14/ieee14_full.xlsx", "ieee14/ieee14.json", "ieee14/ieee14.raw"),
    *("ieee39/ieee39_full.xlsx", "ieee39/ieee39.xlsx", "ieee39/ieee39.raw"),
    *("npcc/npcc.xlsx", "npcc/npcc.raw", "wecc/wecc_full.xlsx", "wecc/wecc.raw"),
    *("wscc9/wscc9.xlsx", "wscc9/wscc9.raw", "wscc9/wscc9_3wxfr.raw", "nordic44/N44_BC.raw"),
    *("smib/SMIB.json", "matpower/case5.m", "matpower/case14.m", "matpower/case118.m"),
    "matpower/case300.m",
)
# One winding there has no impedance: 1e-4 pu with us, 1e-8 pu with ANDES.
_TOLERANCES = {"wscc9/wscc9_3wxfr.raw": 1e-3}
_STATIC = ("Bus", "Line", "PQ", "PV", "Slack", "Shunt")
_PROGRAM = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import andes
from andes.utils.paths import get_case
andes.config_logger(50)
found = {}
for name in sys.argv[1:]:
    path = get_case(name)
    system = andes.load(path, setup=True, no_output=True, default_config=True)
    system.PFlow.config.tol = 1e-12
    good = bool(system.PFlow.run())
    found[name] = {
        "path": path,
        "good": good,
        "bus": list(system.Bus.idx.v),
        "v": system.Bus.v.v.tolist(),
        "angle": system.Bus.a.v.tolist(),
    }
print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def andes() -> dict[str, Any]:
    """Solutions of ANDES by file."""
    python = os.environ.get("SCIMIND_ANDES_PYTHON", "")
    if not python:
        pytest.skip("SCIMIND_ANDES_PYTHON is unset: it names a Python that has ANDES")
    run = subprocess.run(
        [python, "-c", _PROGRAM, *_FILES], capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, run.stderr
    return dict(json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", _FILES)
def test_voltages_agree_with_andes(andes: dict[str, Any], name: str, tmp_path: Path) -> None:
    wanted = andes[name]
    assert wanted["good"]
    case = read_case(_static(Path(wanted["path"]), tmp_path))
    for branch in case.branches:
        # ANDES adds this to the impedance of every line, which shows at 1e-7.
        branch.r, branch.x = branch.r + 1e-8, branch.x + 1e-8
    voltages = _voltages(case)
    theirs = {
        bus: v * np.exp(1j * angle)
        for bus, v, angle in zip(wanted["bus"], wanted["v"], wanted["angle"], strict=True)
    }
    ours = {bus: v for bus, v in voltages.items() if not str(bus).startswith("star ")}
    assert len(ours) >= 3
    assert max(abs(v - theirs[bus]) for bus, v in ours.items()) < _TOLERANCES.get(name, 1e-8)


def _voltages(case: Case) -> dict[Any, complex]:
    flow = solve(Network(case))
    return {bus.id: complex(v) for bus, v in zip(case.buses, flow.v[:, 0], strict=True)}


def _static(path: Path, folder: Path) -> Path:
    """The file without dynamic models, some of which are not supported."""
    copy = folder / path.name
    if path.suffix == ".xlsx":
        book = openpyxl.load_workbook(path)
        for sheet in set(book.sheetnames) - set(_STATIC):
            del book[sheet]
        book.save(copy)
        return copy
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        copy.write_text(json.dumps({name: content[name] for name in _STATIC if name in content}))
        return copy
    return path

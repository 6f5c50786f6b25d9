"""Cases that ANDES ships: power flow and parameters, against its own of the same files.

ANDES runs in another process: SCIMIND_ANDES_PYTHON names the Python that has it.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest

from andes_process import andes_python
from dae_solver.physics.case import Case
from dae_solver.physics.io import read_case
from dae_solver.physics.models import MACHINES, MODELS
from dae_solver.physics.network import Network
from dae_solver.physics.powerflow import solve
from psse_text import raw_text

_FILES = (
    *("kundur/kundur_full.xlsx", "kundur/kundur_full.json", "kundur/kundur.raw"),
    *("ieee14/ieee14_full.xlsx", "ieee14/ieee14.json", "ieee14/ieee14.raw"),
    *("ieee39/ieee39_full.xlsx", "ieee39/ieee39.xlsx", "ieee39/ieee39.raw"),
    *("npcc/npcc.xlsx", "npcc/npcc.raw", "wecc/wecc_full.xlsx", "wecc/wecc.raw"),
    *("wscc9/wscc9.xlsx", "wscc9/wscc9.raw", "smib/SMIB.json", "matpower/case5.m"),
    *("matpower/case14.m", "matpower/case118.m", "matpower/case300.m"),
)
# The shipped raw files have no codes but 1; these are some that ANDES takes as we do.
_CODES = {
    "bus": """
1,'SLACK',20,3,1,1,1,1.02,10
2,'TWO',110,1,1,1,1,0.97,0
3,'THREE',10,1,1,1,1,0.98,0
4,'FOUR',110,2,1,1,1,1.01,0
5,'FIVE',220,1,1,1,1,0.99,0
""",
    "load": """
2,1,1,1,1,30,10,2,1,3,-2,1
3,1,1,1,1,5,2,0,0,0,0,1
3,2,0,1,1,99,99,0,0,0,0,1
5,1,1,1,1,10,5,0,0,4,1,1
""",
    "fixed shunt": "3,1,1,0.5,4\n5,1,0,9,9",
    "generator": """
1,1,20,0,99,-99,1.02,0,100,0,1,0,0,1,1,100,99,0,1,1
4,1,30,0,99,-99,1.01,0,100,0,1,0,0,1,1,100,99,0,1,1
""",
    "branch": """
2,4,1,0.02,0.2,0.03,0,0,0,0,0,0,0,1,1,0,1,1
2,4,2,0.02,0.2,0.03,0,0,0,0,0,0,0,0,1,0,1,1
""",
    "transformer": """
1,2,0,1,2,2,1,0,0,2,'TWO',1,1,1
0.01,0.1,250
21,0,15,0,0,0,0,0,1.1,0.9,1.1,0.9,33,0,0,0
110,0
2,3,5,1,1,2,1,0,0,2,'THREE',1,1,1
0.01,0.1,100,0.02,0.2,150,0.03,0.25,80,0.98,-5
1.03,0,5,0,0,0,0,0,1.1,0.9,1.1,0.9,33,0,0,0
0.98,0,-20,0,0,0,0,0,1.1,0.9,1.1,0.9,33,0,0,0
1.01,0,0,0,0,0,0,0,1.1,0.9,1.1,0.9,33,0,0,0
4,5,0,1,3,1,1,0,0,2,'FOUR',1,1,1
0.005,0.08,100
0.96,0,0,0,0,0,0,0,1.1,0.9,1.1,0.9,33,0,0,0
1,0
""",
    "switched shunt": "5,1,0,1,1.1,0.9,0,100,'  ',7.5,1,7.5",
}
_DYNAMIC = (
    *("kundur/kundur_full.xlsx", "kundur/kundur_full.json", "kundur/kundur_sexs.xlsx"),
    *("kundur/kundur_exst1.xlsx", "kundur/kundur_ieeest.xlsx", "ieee39/ieee39_full.xlsx"),
    *("npcc/npcc.xlsx", "wecc/wecc_gencls.xlsx", "smib/SMIB.json"),
    *("kundur/kundur.raw+kundur/kundur_full.dyr", "npcc/npcc.raw+npcc/npcc_full.dyr"),
    *("wecc/wecc.raw+wecc/wecc_gencls.dyr", "kundur/kundur.raw+kundur/kundur_gencls.dyr"),
)
_SAME = {"TGOV1N": "TGOV1"}
_STATIC = ("Bus", "Line", "PQ", "PV", "Slack", "Shunt")
_PROGRAM = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import andes
from andes.utils.paths import get_case
andes.config_logger(50)
found = {}
for name in sys.argv[1:]:
    path, *dyr = [each if each[0] == "/" else get_case(each) for each in name.split("+")]
    more = {"addfile": dyr[0]} if dyr else {}
    system = andes.load(path, setup=True, no_output=True, default_config=True, **more)
    system.PFlow.config.tol = 1e-12
    parameters = {
        model.class_name: {key: list(each.v) for key, each in model.num_params.items()}
        for model in system.models.values()
        if model.n and model.flags.tds and not model.flags.pflow
    }
    found[name] = {
        "paths": [path, *dyr],
        "parameters": json.loads(json.dumps(parameters, default=float)),
        "good": bool(system.PFlow.run()),
        "bus": list(system.Bus.idx.v),
        "v": system.Bus.v.v.tolist(),
        "angle": system.Bus.a.v.tolist(),
    }
print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def andes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Solutions of ANDES by file."""
    codes = tmp_path_factory.mktemp("codes") / "codes.raw"
    codes.write_text(raw_text(_CODES))
    run = subprocess.run(
        [andes_python(), "-c", _PROGRAM, *_FILES, *_DYNAMIC, str(codes)],
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr
    found = dict(json.loads(run.stdout.splitlines()[-1]))
    return found | {"codes.raw": found[str(codes)]}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*_FILES, "codes.raw"])
def test_voltages_agree_with_andes(andes: dict[str, Any], name: str, tmp_path: Path) -> None:
    wanted = andes[name]
    assert wanted["good"]
    case = read_case(_static(Path(wanted["paths"][0]), tmp_path))
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
    assert max(abs(v - theirs[bus]) for bus, v in ours.items()) < 1e-8


@pytest.mark.slow
@pytest.mark.parametrize("name", _DYNAMIC)
def test_parameters_agree_with_andes(andes: dict[str, Any], name: str) -> None:
    path, *dyr = andes[name]["paths"]
    case = read_case(path, dyr=dyr[0] if dyr else None)
    theirs = {_SAME.get(key, key): each for key, each in andes[name]["parameters"].items()}
    kv = {bus.id: bus.base_kv for bus in case.buses}
    at = {generator.id: kv[generator.bus] for generator in case.generators}
    at |= {device.id: at[device.of] for device in case.devices if device.model in MACHINES}
    models = {device.model for device in case.devices}
    assert models
    for model in models:
        devices = [device for device in case.devices if device.model == model]
        unchecked = type(model, (MODELS[model],), {"check": lambda self: None})
        ours = unchecked(devices, mva=case.mva, kv=[at[d.of] for d in devices], math=None).value
        # A parameter that one of both does not know is none of the file.
        shared = set(ours) & set(theirs[model])
        assert len(shared) >= 4
        for each in shared:
            wanted = np.array(theirs[model][each], float)[:, None]
            np.testing.assert_allclose(ours[each], wanted, rtol=1e-12, err_msg=f"{model}.{each}")


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

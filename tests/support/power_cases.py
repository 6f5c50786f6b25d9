"""Cases for tests: the reference systems of shared/data, in our records."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from dae_solver.physics.case import Branch, Bus, Case, Device, Generator, Load, Shunt

_WIDE = 999.0  # a limit that is never reached


def reference_case(path: Path) -> Case:
    """The system of a reference file (0-based buses there, from 1 here).

    The equations behind it are those of grid_ref.py beside it: two-axis machines, IEEE type 1
    exciters with exponential saturation and no limits, a turbine behind a first-order governor.
    """
    data = json.loads(path.read_text())
    case = Case(name=path.stem, mva=100.0, frequency=60.0)
    held = {int(bus): v for bus, v in data["Vset"].items()}
    case.buses = [Bus(id=k + 1, v=held.get(k, 1.0)) for k in range(data["nbus"])]
    between: Counter[str] = Counter()
    for start, end, r, x, b, tap in data["branch"]:
        name = f"{int(start) + 1}-{int(end) + 1}"
        between[name] += 1
        case.branches.append(
            Branch(
                id=name if between[name] == 1 else f"{name}-{between[name]}",
                from_bus=int(start) + 1,
                to_bus=int(end) + 1,
                r=float(r),
                x=float(x),
                b=float(b),
                tap=float(tap) or 1.0,
            )
        )
    for k, (bus, g, b) in enumerate(data["shunt"], start=1):
        case.shunts.append(Shunt(id=f"S{k}", bus=int(bus) + 1, g=float(g), b=float(b)))
    for bus, (p, q) in data["load"].items():
        case.loads.append(Load(id=f"L{int(bus) + 1}", bus=int(bus) + 1, p=float(p), q=float(q)))
    for k, machine in enumerate(data["gen"], start=1):
        _add_machine(case, f"G{k}", machine, data)
    return case


def _add_machine(case: Case, name: str, m: dict[str, float], data: dict) -> None:
    bus = int(m["bus"])
    case.generators.append(
        Generator(
            id=name,
            bus=bus + 1,
            p=float(data["Pg"].get(str(bus), 0.0)),
            v_set=float(data["Vset"][str(bus)]),
            slack=bus == data["slack"],
        )
    )
    machine = {
        "M": 2.0 * m["H"],
        "D": m["D"],
        "xd": m["xd"],
        "xq": m["xq"],
        "xd1": m["xd1"],
        "xq1": m["xq1"],
        "Td10": m["Td0"],
        "Tq10": m["Tq0"],
    }
    exciter = {key: m[key] for key in ("KA", "TA", "KE", "TE", "KF", "TF")}
    exciter |= {"TR": 0.0, "AEX": m["SA"], "BEX": m["SB"], "VRMAX": _WIDE, "VRMIN": -_WIDE}
    governor = {"R": m["R"], "T1": m["Tg"], "T2": 0.0, "T3": m["Tt"]}
    governor |= {"VMAX": _WIDE, "VMIN": -_WIDE, "dbL": 0.0, "dbU": 0.0}
    for model, parameters in (("TWOAXIS", machine), ("IEEET1", exciter), ("TGOV1DB", governor)):
        values = {key: float(value) for key, value in parameters.items()}
        case.devices.append(Device(model=model, id=name, of=name, parameters=values))

"""Electrical controls and phase-locked loops of the converters of an ANDES case.

``REGCP1`` is ``REGCA1`` with a phase-locked loop that it names; one that no converter names only
measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dae_solver.physics.case import Case, Device
from dae_solver.physics.io.andes_devices import model_of, parameters
from dae_solver.physics.io.andes_tables import Row
from dae_solver.physics.models import CONTROLS, CONVERTERS, LOOPS
from scimind.errors import InputError


def add_converters(tables: Mapping[str, list[Row]], case: Case, path: Path) -> dict[str, int]:
    """Controls and loops of the converters, which are in the case already.

    Returns:
        How many loops of each model no converter names.

    Raises:
        InputError: One belongs to nothing, or needs what our model lacks.
    """
    units = {device.id: device for device in case.devices if device.model in CONVERTERS}
    rows = {row.id: row for name in tables if model_of(name) in CONVERTERS for row in tables[name]}
    for name in CONTROLS:
        for row in tables.get(name, []):
            owner = units.get(str(row.key("reg")))
            if owner is None:
                raise _refused(row, "reg", row.key("reg"), units, path)
            if row.on and row.has("busr") and row.key("busr") != rows[owner.id].key("bus"):
                raise InputError(
                    f"{name} {row.id} has a remote bus busr = {row.key('busr')!r}; only its own "
                    "voltage is supported; change it, or set u to 0",
                    path=path,
                    rule="power.parameter",
                )
            case.devices.append(
                Device(
                    model=name,
                    id=row.id,
                    of=owner.id,
                    parameters=parameters(row, name),
                    mva=owner.mva,
                    in_service=row.on and owner.in_service,
                )
            )
    return _add_loops(tables, case, rows, units, path)


def _add_loops(
    tables: Mapping[str, list[Row]],
    case: Case,
    rows: Mapping[str, Row],
    units: Mapping[str, Device],
    path: Path,
) -> dict[str, int]:
    loops = {row.id: row for name in LOOPS for row in tables.get(name, [])}
    used = {id: str(row.key("pll")) for id, row in rows.items() if row.has("pll")}
    shared = {loop for loop in used.values() if list(used.values()).count(loop) > 1}
    for id, loop in used.items():
        if loop not in loops:
            raise _refused(rows[id], "pll", loop, loops, path)
        row, bus = loops[loop], rows[id].key("bus")
        problem = ""
        if row.key("bus") != bus:
            problem = f"measures bus {row.key('bus')}, and the converter {id} is at bus {bus}"
        elif row.number("fn", 60.0) != case.frequency:
            problem = f"has fn = {row.number('fn', 60.0):g} Hz, the grid {case.frequency:g} Hz"
        elif not row.on and units[id].in_service:
            problem = f"is out of service, and the converter {id} needs it"
        if problem and units[id].in_service:
            raise InputError(
                f"{row.model} {row.id} {problem}; correct one", path=path, rule="power.parameter"
            )
        case.devices.append(
            Device(
                model=row.model,
                id=f"{loop}:{id}" if loop in shared else loop,
                of=id,
                parameters=parameters(row, row.model),
                mva=units[id].mva,
                in_service=row.on and units[id].in_service,
            )
        )
    return {
        name: sum(row.id not in used.values() for row in tables.get(name, [])) for name in LOOPS
    }


def _refused(
    row: Row, column: str, owner: object, known: Mapping[str, object], path: Path
) -> InputError:
    return InputError(
        f"{row.model} {row.id} belongs to {column} = {owner!r}, which does not exist; there are: "
        f"{', '.join(list(known)[:10]) or 'none'}",
        path=path,
        rule="power.device",
    )

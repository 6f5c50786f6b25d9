"""MATPOWER case files, version 2: ``baseMVA``, ``bus``, ``gen`` and ``branch`` as plain data.

Nothing is evaluated: statements other than ``mpc.field = data`` are refused.

Source: MATPOWER User's Manual, appendix B (data file format).
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from dae_solver.physics.case import Branch, Bus, Case, Generator, Load, Shunt
from dae_solver.physics.io.matpower_text import Matrix, read_fields
from dae_solver.physics.io.psse_dynamics import Unit, add_dyr
from dae_solver.physics.io.rules import check_case
from dae_solver.physics.io.values import positive
from scimind.errors import InputError

_BUS = ("bus_i", "type", "Pd", "Qd", "Gs", "Bs", "area", "Vm", "Va", "baseKV")
_GEN = ("bus", "Pg", "Qg", "Qmax", "Qmin", "Vg", "mBase", "status")
_BRANCH = (*("fbus", "tbus", "r", "x", "b", "rateA", "rateB", "rateC", "ratio", "angle", "status"),)


def read_matpower(path: str | Path, dyr: str | Path | None = None) -> Case:
    """A case, with dynamic models where their PSS/E file is given.

    The generators of a bus are named ``bus-1``, ``bus-2``, ...; a ``.dyr`` refers to them so.

    Raises:
        InputError: The file computes something, is not of version 2, lacks a matrix, or breaks a
            rule.
    """
    path = Path(path)
    fields = read_fields(path)
    if str(fields.get("version")) not in ("2", "2.0"):
        raise InputError(
            f"mpc.version is {fields.get('version')!r}; only version '2' is read",
            path=path,
            rule="matpower.version",
        )
    case = Case(name=path.stem, mva=positive(_needed(fields, "baseMVA", path), "baseMVA", path))
    case.notes.append("the format has no frequency: 60 Hz")
    kinds = _add_buses(case, _matrix(fields, "bus", _BUS, path))
    units = _add_generators(case, _matrix(fields, "gen", _GEN, path), kinds)
    _add_branches(case, _matrix(fields, "branch", _BRANCH, path), kinds)
    isolated = [str(bus) for bus, kind in kinds.items() if kind == 4]
    if isolated:
        case.notes.append(f"isolated, left out with what is there: bus {', '.join(isolated)}")
    if dyr is not None:
        add_dyr(case, Path(dyr), units)
    return check_case(case, path)


def _needed(fields: dict[str, object], name: str, path: Path) -> object:
    if name not in fields:
        raise InputError(
            f"there is no mpc.{name}; the file has: {', '.join(fields) or 'nothing'}",
            path=path,
            rule="matpower.field",
        )
    return fields[name]


def _matrix(fields: dict[str, object], name: str, columns: tuple[str, ...], path: Path) -> Matrix:
    value = _needed(fields, name, path)
    if not isinstance(value, Matrix):
        raise InputError(
            f"mpc.{name} is {value!r:.40}, not a matrix in brackets; correct it",
            path=path,
            rule="matpower.field",
        )
    return value.named(name, columns, path)


def _add_buses(case: Case, matrix: Matrix) -> dict[int, int]:
    """Buses with their loads and shunts; the type of each."""
    kinds: dict[int, int] = {}
    for row in matrix.rows:
        id, kind = row.whole("bus_i"), row.whole("type")
        if kind not in (1, 2, 3, 4):
            raise row.refuse(f"bus {id} has type {kind}; it is 1 to 4", "matpower.type")
        if id in kinds:
            raise row.refuse(f"bus {id} is given twice; rename one", "power.duplicate")
        kinds[id] = kind
        if kind == 4:
            continue
        angle = math.radians(row.number("Va"))
        case.buses.append(
            Bus(id=id, base_kv=row.number("baseKV"), v=row.positive("Vm"), angle=angle)
        )
        p, q, g, b = (row.number(name) / case.mva for name in ("Pd", "Qd", "Gs", "Bs"))
        if p or q:
            case.loads.append(Load(id=str(id), bus=id, p=p, q=q))
        if g or b:
            case.shunts.append(Shunt(id=str(id), bus=id, g=g, b=b))
    return kinds


def _add_generators(
    case: Case, matrix: Matrix, kinds: dict[int, int]
) -> dict[tuple[int, str], Unit | None]:
    """Generators, also by bus and number."""
    angles = {bus.id: bus.angle for bus in case.buses}
    units: dict[tuple[int, str], Unit | None] = {}
    at: Counter[int] = Counter()
    for row in matrix.rows:
        bus = row.whole("bus")
        at[bus] += 1
        kind = kinds.get(bus)
        if kind == 4:
            units[bus, str(at[bus])] = None
            continue
        generator = Generator(
            id=f"{bus}-{at[bus]}",
            bus=bus,
            p=row.number("Pg") / case.mva,
            q=row.number("Qg") / case.mva,
            v_set=row.positive("Vg") if kind in (2, 3) else None,
            slack=kind == 3,
            angle=angles[bus] if kind == 3 else 0.0,
            mva=row.number("mBase") or case.mva,
            in_service=row.number("status") > 0,
        )
        case.generators.append(generator)
        units[bus, str(at[bus])] = Unit(generator)
    return units


def _add_branches(case: Case, matrix: Matrix, kinds: dict[int, int]) -> None:
    between: Counter[tuple[int, int]] = Counter()
    for row in matrix.rows:
        start, end = row.whole("fbus"), row.whole("tbus")
        between[start, end] += 1
        if 4 in (kinds.get(start), kinds.get(end)):
            continue
        branch = Branch(
            id=f"{start}-{end}-{between[start, end]}",
            from_bus=start,
            to_bus=end,
            r=row.number("r"),
            x=row.number("x"),
            b=row.number("b"),
            tap=row.number("ratio") or 1.0,
            shift=math.radians(row.number("angle")),
            in_service=row.number("status") > 0,
        )
        case.branches.append(branch)

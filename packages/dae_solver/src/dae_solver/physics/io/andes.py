"""ANDES cases, ``.xlsx`` or ``.json``.

Impedances and admittances of lines and shunts are per unit of the device's own ``Sn`` and ``Vn``;
power of loads and static generators is per unit of the system base. Empty cells take the defaults
of ANDES.

Source: ANDES manual, https://docs.andes.app (input formats, model reference).
"""

from __future__ import annotations

from pathlib import Path

from dae_solver.physics.case import Branch, Bus, BusId, Case, Disturbance, Load, Shunt
from dae_solver.physics.io.andes_converters import add_converters
from dae_solver.physics.io.andes_devices import add_machines, add_regulators, model_of
from dae_solver.physics.io.andes_tables import Row, read_tables
from dae_solver.physics.io.rules import KINDS, check_case
from dae_solver.physics.io.values import positive
from dae_solver.physics.models import EXCITERS, LOOPS, MACHINES
from scimind.errors import InputError

_STATIC = ("Bus", "Line", "PQ", "PV", "Slack", "Shunt", "ShuntTD")
_MEASURING = (
    *("Area", "Region", "Zone", "Owner", "Summary", "Output", "ACE", "ACEc", "COI", "BusFreq"),
    *("BusROCOF", "FreqDiv", "PMU"),
)
_EVENTS = ("Toggle", "Toggler", "Fault")
_OTHER_EVENTS = ("Alter", "TimeSeries")


def read_andes(path: str | Path) -> Case:
    """A case with its dynamic models and events.

    Raises:
        InputError: The file is damaged, lacks a table, has a device of a model that is not
            supported, or breaks a rule.
    """
    path = Path(path)
    tables = read_tables(path)
    for needed in ("Bus", "Slack", "Line"):
        if not tables.get(needed):
            raise InputError(
                f"there is no {needed} in the file, whose tables are: "
                f"{', '.join(tables) or 'none'}; add the sheet {needed}",
                path=path,
                rule="power.sheet",
            )
    _refuse_unsupported(tables, path)
    case = Case(name=path.stem, mva=100.0, frequency=60.0)
    _read_config(tables, case, path)
    tables = _without_dead_buses(tables, case)
    _add_network(tables, case)
    add_machines(tables, case, path)
    add_regulators(tables, case, path)
    measuring = add_converters(tables, case, path)
    _add_events(tables, case)
    for name in _MEASURING:
        measuring[name] = len(tables.get(name, []))
    for name, rows in measuring.items():
        if rows:
            case.notes.append(f"{name}: {rows} rows left out, which no equation needs")
    return check_case(case, path)


def _refuse_unsupported(tables: dict[str, list[Row]], path: Path) -> None:
    known = {*_STATIC, *_MEASURING, *_EVENTS, *_OTHER_EVENTS, "_config"}
    bad = {
        name: [row for row in rows if row.on]
        for name, rows in tables.items()
        if name not in known and model_of(name) not in KINDS
    }
    bad = {name: rows for name, rows in bad.items() if rows}
    if bad:
        first = next(iter(bad.values()))[0]
        counted = ", ".join(f"{len(rows)} of {name}" for name, rows in bad.items())
        raise InputError(
            f"{first.model} {first.id} is of a model that is not supported (in all: {counted}); "
            f"supported are: {', '.join([*_STATIC, *KINDS])}; replace them, or set their u to 0",
            path=path,
            rule="power.model",
        )


def _read_config(tables: dict[str, list[Row]], case: Case, path: Path) -> None:
    """System base and frequency; ANDES keeps them in ``_config``, and the frequency in machines."""
    for row in tables.get("_config", []):
        place = (row.values.get("section"), row.values.get("key"))
        if place == ("System", "mva"):
            case.mva = positive(row.values.get("value"), "mva of System", path)
        elif place == ("System", "freq"):
            case.frequency = positive(row.values.get("value"), "freq of System", path)


def _without_dead_buses(tables: dict[str, list[Row]], case: Case) -> dict[str, list[Row]]:
    """Tables without the buses that are out of service and all that belongs to them."""
    dead = {str(row.key("idx")) for row in tables["Bus"] if not row.on}
    if not dead:
        return tables
    columns = {"bus": "bus", "bus1": "bus", "bus2": "bus"}
    columns |= {name: name for name in ("gen", "syn", "avr", "reg", "pll")}
    gone: dict[str, set[str]] = {name: set() for name in columns.values()} | {"bus": dead}
    owners = {"PV": "gen", "Slack": "gen"}
    owners |= dict.fromkeys(MACHINES, "syn") | dict.fromkeys(EXCITERS, "avr")
    owners |= dict.fromkeys(LOOPS, "pll") | {"REGCA1": "reg", "REGCP1": "reg"}
    order = list(dict.fromkeys([*owners, *tables]))  # what others belong to comes first
    kept: dict[str, list[Row]] = {}
    removed: list[str] = []
    for name in sorted(tables, key=order.index):
        kept[name] = []
        for row in tables[name]:
            belongs = {
                (column, str(row.key(key))) for key, column in columns.items() if row.has(key)
            }
            if any(id in gone[column] for column, id in belongs) or (name == "Bus" and not row.on):
                removed.append(f"{name} {row.id}")
                if name in owners:
                    gone[owners[name]].add(row.id)
            else:
                kept[name].append(row)
    case.notes.append(f"left out with buses out of service: {', '.join(removed)}")
    return kept


def _add_network(tables: dict[str, list[Row]], case: Case) -> None:
    kv: dict[BusId, float] = {}
    for row in tables["Bus"]:
        id = row.key("idx") if row.has("idx") else row.id
        kv[id] = row.positive("Vn", 110.0)
        v, angle = row.positive("v0", 1.0), row.number("a0", 0.0)
        name = str(row.values.get("name", ""))
        case.buses.append(Bus(id=id, name=name, base_kv=kv[id], v=v, angle=angle))
    case.branches += [_branch(row, kv, case.mva) for row in tables["Line"]]
    for name in ("Shunt", "ShuntTD"):
        rows = tables.get(name, [])
        case.shunts += [_shunt(row, kv, case.mva) for row in rows if row.on]
    for row in tables.get("PQ", []):
        if row.on:
            p, q = row.number("p0", 0.0), row.number("q0", 0.0)
            case.loads.append(Load(id=row.id, bus=row.key("bus"), p=p, q=q))


def _branch(row: Row, kv: dict[BusId, float], mva: float) -> Branch:
    start, end = row.key("bus1"), row.key("bus2")
    ratio = row.positive("Vn1", 110.0) / kv.get(start, 1.0)
    z = ratio * ratio * mva / row.positive("Sn", 100.0)
    g = row.number("g", 0.0)
    return Branch(
        id=row.id,
        from_bus=start,
        to_bus=end,
        r=row.number("r", 1e-8) * z,
        x=row.number("x") * z,
        b=row.number("b", 0.0) / z,
        g_from=(row.number("g1", 0.0) + 0.5 * g) / z,
        b_from=row.number("b1", 0.0) / z,
        g_to=(row.number("g2", 0.0) + 0.5 * g) / z,
        b_to=row.number("b2", 0.0) / z,
        tap=row.number("tap", 1.0),
        shift=row.number("phi", 0.0),
        in_service=row.on,
    )


def _shunt(row: Row, kv: dict[BusId, float], mva: float) -> Shunt:
    bus = row.key("bus")
    ratio = row.positive("Vn", 110.0) / kv.get(bus, 1.0)
    z = ratio * ratio * mva / row.positive("Sn", 100.0)
    return Shunt(id=row.id, bus=bus, g=row.number("g", 0.0) / z, b=row.number("b", 0.0) / z)


def _add_events(tables: dict[str, list[Row]], case: Case) -> None:
    for name in ("Toggle", "Toggler"):
        for row in tables.get(name, []):
            if row.on:
                target = str(row.key("dev"))
                event = Disturbance(kind="toggle", target=target, time=row.number("t"))
                case.disturbances.append(event)
                case.notes.append(f"{name} {row.id} switches {row.key('model')} {target}")
    for row in tables.get("Fault", []):
        if row.on:
            event = Disturbance(
                kind="fault",
                target=row.key("bus"),
                time=row.number("tf"),
                end=row.number("tc") if row.has("tc") else None,
                x=row.number("xf", 1e-4),
                r=row.number("rf", 0.0),
            )
            case.disturbances.append(event)
    for name in (*_EVENTS, *_OTHER_EVENTS):
        rows = tables.get(name, [])
        left = rows if name in _OTHER_EVENTS else [row for row in rows if not row.on]
        if left:
            case.notes.append(f"{name}: {len(left)} events left out")

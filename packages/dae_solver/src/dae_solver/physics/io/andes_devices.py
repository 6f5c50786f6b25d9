"""Generators and dynamic models of an ANDES case.

Machine parameters are per unit of the machine's ``Sn`` and ``Vn``, ``M`` is 2 H; a governor is on
its ``Tn``, or where that is zero or empty on the ``Sn`` of its machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from dae_solver.physics.case import Case, Device, Generator
from dae_solver.physics.io.andes_tables import Row
from dae_solver.physics.io.rules import KINDS
from dae_solver.physics.models import (
    CONVERTERS,
    EXCITERS,
    GOVERNORS,
    MACHINES,
    MODELS,
    STABILISERS,
)
from scimind.errors import InputError

_SAME = {"TGOV1N": "TGOV1", "TGOV1NDB": "TGOV1DB", "REGCP1": "REGCA1"}
"""Models that differ only in where a dispatch signal enters, which here is none, or in a
phase-locked loop, which here is a device of its own."""

_DEFAULTS: dict[str, dict[str, float]] = {
    "GENCLS": {"M": 6.0},
    "GENROU": {"M": 6.0, "S12": 1.0},
    "IEEET1": {"TR": 0.02, "KA": 5.0, "KF": 0.1, "E2": 1.0, "SE2": 1.0},
    "EXDC2": {"E2": 1.0, "SE2": 1.0},
    "IEEEX1": {"E2": 1.0, "SE2": 1.0},
    "IEEEST": {
        **dict.fromkeys((f"A{k}" for k in range(1, 7)), 1.0),
        **dict.fromkeys((f"T{k}" for k in range(1, 7)), 1.0),
        "VCU": 999.0,
        "VCL": -999.0,
    },
    "REECA1": {"Vref0": 1.0},
}
"""Defaults of ANDES where they differ from those of our models."""


def model_of(name: str) -> str:
    """Our name of a model of ANDES."""
    return name if name in KINDS else _SAME.get(name, name)


def add_machines(tables: Mapping[str, list[Row]], case: Case, path: Path) -> None:
    """Machines and converters, and the generators that they share.

    Raises:
        InputError: A machine is not at the bus of its generator, the shares of the machines of a
            generator do not add up to one, or frequencies differ.
    """
    static = _by_id([*tables.get("PV", []), *tables.get("Slack", [])], "generator", path)
    members: dict[str, list[Row]] = {}
    rows = [(name, row) for name in tables if model_of(name) in MACHINES for row in tables[name]]
    _by_id([row for _, row in rows], "machine", path)
    frequencies = {row.positive("fn", 60.0) for _, row in rows if row.on}
    more = [(name, row) for name in tables if model_of(name) in CONVERTERS for row in tables[name]]
    _by_id([row for _, row in more], "converter", path)
    rows += more
    if len(frequencies) > 1:
        found = ", ".join(f"{each:g}" for each in sorted(frequencies))
        raise InputError(
            f"machines have different frequencies fn = {found} Hz; give all the same",
            path=path,
            rule="power.frequency",
        )
    case.frequency = frequencies.pop() if frequencies else case.frequency
    for _, row in rows:
        generator = str(row.key("gen"))
        if generator in static and static[generator].key("bus") != row.key("bus"):
            raise InputError(
                f"{row.model} {row.id} is at bus {row.key('bus')} and its generator {generator} "
                f"at bus {static[generator].key('bus')}; correct one",
                path=path,
                rule="power.bus",
            )
        if row.on:
            members.setdefault(generator, []).append(row)
    split = {generator for generator, machines in members.items() if len(machines) > 1}
    for id, row in static.items():
        case.generators += _generators(row, members.get(id, []), case, path)
    for name, row in rows:
        generator = str(row.key("gen"))
        part = generator
        if generator in split:
            part = f"{generator}:{row.id if row.on else members[generator][0].id}"
        working = row.on and (generator not in static or static[generator].on)
        if row.on and not working:
            case.notes.append(f"{row.model} {row.id} is out of service with generator {generator}")
        case.devices.append(
            Device(
                model=model_of(name),
                id=row.id,
                of=part,
                parameters=parameters(row, model_of(name)),
                mva=row.positive("Sn", 100.0),
                kv=row.positive("Vn", 110.0) if model_of(name) in MACHINES else 0.0,
                in_service=working,
            )
        )


def _by_id(rows: list[Row], what: str, path: Path) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if row.id in found:
            raise InputError(
                f"{what} {row.id} is given twice; rename one", path=path, rule="power.duplicate"
            )
        found[row.id] = row
    return found


def _generators(row: Row, machines: list[Row], case: Case, path: Path) -> list[Generator]:
    """A static generator; one part for each machine where several share it."""
    shares = [(m.number("gammap", 1.0), m.number("gammaq", 1.0)) for m in machines] or [(1.0, 1.0)]
    for name, total in zip(
        ("gammap", "gammaq"), map(math.fsum, zip(*shares, strict=True)), strict=True
    ):
        if abs(total - 1.0) > 1e-6:
            raise InputError(
                f"{name} of the machines of generator {row.id} "
                f"({', '.join(m.id for m in machines)}) adds up to {total:g}; their shares have "
                "to add up to 1",
                path=path,
                rule="power.share",
            )
    slack = row.model == "Slack"
    if slack and any(abs(p - q) > 1e-9 for p, q in shares):
        case.notes.append(
            f"generator {row.id} is the slack: what it is short of is shared by gammaq"
        )
    parts = []
    for k, (p, q) in enumerate(shares):
        parts.append(
            Generator(
                id=row.id if len(shares) == 1 else f"{row.id}:{machines[k].id}",
                bus=row.key("bus"),
                p=p * row.number("p0", 0.0),
                q=q * row.number("q0", 0.0),
                v_set=row.positive("v0", 1.0),
                slack=slack,
                angle=row.number("a0", 0.0) if slack else 0.0,
                mva=q * row.positive("Sn", 100.0),
                in_service=row.on,
            )
        )
    return parts


def add_regulators(tables: Mapping[str, list[Row]], case: Case, path: Path) -> None:
    """Exciters, governors and stabilisers.

    Raises:
        InputError: One belongs to nothing, or needs what our model lacks.
    """
    machines = {device.id: device for device in case.devices if device.model in MACHINES}
    exciters: dict[str, Device] = {}
    for kind in (EXCITERS, GOVERNORS, STABILISERS):
        for name, rows in tables.items():
            model = model_of(name)
            if model not in kind:
                continue
            owners = exciters if kind is STABILISERS else machines
            for row in rows:
                column = "avr" if kind is STABILISERS else "syn"
                owner = owners.get(str(row.key(column)))
                if owner is None:
                    raise InputError(
                        f"{name} {row.id} belongs to {column} = {row.key(column)!r}, which does "
                        f"not exist; there are: {', '.join(list(owners)[:10]) or 'none'}",
                        path=path,
                        rule="power.device",
                    )
                _check_regulator(row, model, path)
                rating = row.number("Tn", 0.0) if kind is GOVERNORS else 0.0
                device = Device(
                    model=model,
                    id=row.id,
                    of=owner.of if kind is STABILISERS else owner.id,
                    parameters=parameters(row, model),
                    mva=rating or owner.mva,
                    kv=owner.kv,
                    in_service=row.on and owner.in_service,
                )
                case.devices.append(device)
                if kind is EXCITERS:
                    exciters[row.id] = device


def _check_regulator(row: Row, model: str, path: Path) -> None:
    """Refuse what our models lack."""
    problem = ""
    if row.number("wref0", 1.0) != 1.0:
        problem = f"the speed set-point wref0 = {row.number('wref0'):g}; only 1 is supported"
    elif row.has("syn2"):
        problem = f"a second machine syn2 = {row.key('syn2')!r}; only one is supported"
    elif model == "IEEEST" and row.has("busr"):
        limited = row.number("VCU", 999.0) not in (0.0, 999.0) or row.number("VCL", 0.0) > 0.0
        if row.number("MODE") == 5 or limited:
            problem = f"a remote bus busr = {row.key('busr')!r}; only its own voltage is supported"
    if problem and row.on:
        raise InputError(
            f"{row.model} {row.id} has {problem}; change it, or set u to 0",
            path=path,
            rule="power.parameter",
        )


def parameters(row: Row, model: str) -> dict[str, float]:
    """Parameters that the file gives, and where ANDES has other defaults than we, those."""
    defaults = _DEFAULTS.get(model, {})
    return {
        name: row.number(name, defaults.get(name))
        for name in MODELS[model].parameters
        if row.has(name) or name in defaults
    }

"""Dynamic models of PSS/E, ``.dyr``.

Parameters are on the machine base, ``MBASE`` of the generator; its ``ZSORCE`` gives the armature
resistance, and to ``GENCLS`` the transient reactance. The inertia ``H`` becomes ``M = 2 H``.

Source: PSS/E model library (order of the constants).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dae_solver.physics.case import Case, Device, Generator
from dae_solver.physics.io.psse_records import Record, split
from dae_solver.physics.io.rules import KINDS, OWNERS
from scimind.errors import InputError
from scimind.reading import read_text

_SATURATION = "E1 SE1 E2 SE2"
_DC_EXCITER = f"TR KA TA TB TC VRMAX VRMIN KE TE KF1 TF1 Switch {_SATURATION}"
_ORDER = {
    "GENCLS": "H D",
    "GENROU": "Td10 Td20 Tq10 Tq20 H D xd xq xd1 xq1 xd2 xl S10 S12",
    "SEXS": "TATB TB K TE EMIN EMAX",
    "IEEET1": f"TR KA TA VRMAX VRMIN KE TE KF TF Switch {_SATURATION}",
    "EXDC2": _DC_EXCITER,
    "IEEEX1": _DC_EXCITER,
    "EXST1": "TR VIMAX VIMIN TC TB KA TA VRMAX VRMIN KC KF TF",
    "TGOV1": "R T1 VMAX VMIN T2 T3 Dt",
    "IEEEG1": "BUS2 ID2 K T1 T2 T3 UO UC PMAX PMIN T4 K1 K2 T5 K3 K4 T6 K5 K6 T7 K7 K8",
    "IEEEST": "MODE BUSR A1 A2 A3 A4 A5 A6 T1 T2 T3 T4 T5 T6 KS LSMAX LSMIN VCU VCL",
}
_CURVES = " ".join(f"V{letter}{k} I{letter}{k}" for letter in "qp" for k in range(1, 5))
_ORDER |= {
    "REGCA1": "Lvplsw Tg Rrpwr Brkpt Zerox Lvpl1 Volim Lvpnt1 Lvpnt0 Iolim Tfltr Khv Iqrmax Iqrmin "
    "Accel",
    "REECA1": "BUSR PFFLAG VFLAG QFLAG PFLAG PQFLAG Vdip Vup Trv dbd1 dbd2 Kqv Iqh1 Iql1 Vref0 "
    "Iqfrz Thld Thld2 Tp QMax QMin VMAX VMIN Kqp Kqi Kvp Kvi Vref1 Tiq dPmax dPmin PMAX PMIN Imax "
    f"Tpord {_CURVES}",
}
_OF_ANDES = ("TOGGLE", "FAULT")


@dataclass(frozen=True)
class Unit:
    """A generator as a dynamic model sees it.

    Attributes:
        generator: For the power flow.
        r: Source resistance on its base; None where the file of the network has none.
        x: Source reactance.
    """

    generator: Generator
    r: float | None = None
    x: float | None = None


def add_dyr(case: Case, path: Path, units: Mapping[tuple[int, str], Unit | None]) -> None:
    """Add the dynamic models of a file.

    Args:
        case: The network.
        path: The ``.dyr``.
        units: Its generators by bus number and id; None for one that was left out.

    Raises:
        InputError: A record is damaged, of a model that is not supported, or of a generator that
            does not exist or has no machine.
    """
    records = _records(path)
    _refuse_unsupported(records)
    devices: dict[tuple[str, str], Record] = {}
    for record in records:
        model, name = _model(record), record.text(2, "the id", "1")
        if model in _OF_ANDES:
            case.notes.append(f"{path.name}, line {record.line}: {model} of ANDES, left out")
            continue
        bus = record.whole(0, "the bus")
        if (bus, name) not in units:
            some = ", ".join(f"{bus}-{name}" for bus, name in list(units)[:10]) or "none"
            raise record.refuse(
                f"{model} belongs to generator {name!r} of bus {bus}, which does not exist; there "
                f"are (bus-id): {some}",
                "power.generator",
            )
        unit = units[bus, name]
        if unit is None:
            case.notes.append(f"{model} of generator {bus}-{name} is left out with it")
            continue
        id = unit.generator.id
        if (KINDS[model], id) in devices:
            raise record.refuse(
                f"generator {id} has a second {KINDS[model]}, {model}; keep one", "power.duplicate"
            )
        devices[KINDS[model], id] = record
        device = Device(
            model=model,
            id=id,
            of=id,
            parameters=_parameters(record, model, unit),
            mva=unit.generator.mva,
            in_service=unit.generator.in_service,
        )
        case.devices.append(device)
        if device.parameters.get("KE") == 0:
            case.notes.append(f"{model} {id} has KE = 0: taken as it is, which PSS/E replaces")
    _check_owners(devices)


def _check_owners(devices: Mapping[tuple[str, str], Record]) -> None:
    """Refuse a regulator without machine, a control without converter, and both at a generator."""
    for (kind, id), record in devices.items():
        owner = OWNERS.get(kind, "machine")
        if owner != "generator" and (owner, id) not in devices:
            model = "its REGCA1" if owner == "converter" else "its GENCLS or GENROU"
            raise record.refuse(
                f"the {kind} of generator {id} has no {owner}; add {model}", "power.machine"
            )
        if kind == "converter" and ("machine", id) in devices:
            raise record.refuse(
                f"generator {id} has a machine and a converter; keep one", "power.duplicate"
            )


def _records(path: Path) -> list[Record]:
    """Records, each up to its ``/``."""
    records: list[Record] = []
    values: list[str | None] = []
    first = 1
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if text.startswith("@!"):
            continue
        more, ended = split(text, path, line)
        first = first if values else line
        values += more
        if ended and values:
            records.append(Record("record", tuple(values), first, path))
            values = []
    if values:
        raise InputError(
            "the last record has no end; records end with /",
            path=path,
            line=first,
            rule="psse.end",
        )
    return records


def _model(record: Record) -> str:
    return record.text(1, "the model").upper()


def _refuse_unsupported(records: list[Record]) -> None:
    supported = {*_ORDER, *_OF_ANDES}
    bad = [record for record in records if _model(record) not in supported]
    if bad:
        counted = ", ".join(f"{n} of {name}" for name, n in Counter(map(_model, bad)).items())
        id = f"{bad[0].text(0, 'the bus')}-{bad[0].text(2, 'the id', '1')}"
        raise bad[0].refuse(
            f"{_model(bad[0])} of generator {id} is not supported (in all: {counted}); models are: "
            f"{', '.join(_ORDER)}",
            "power.model",
        )


def _parameters(record: Record, model: str, unit: Unit) -> dict[str, float]:
    """Parameters by our names."""
    names = _ORDER[model].split()
    if len(record.values) != len(names) + 3:
        raise record.refuse(
            f"{model} has {len(record.values) - 3} constants, and its {len(names)} are: "
            f"{', '.join(names)}",
            "psse.constants",
        )
    values = {name: record.number(k, f"{name} of {model}") for k, name in enumerate(names, start=3)}
    if KINDS[model] == "machine":
        values["M"] = 2.0 * values.pop("H")
        if unit.r is not None:
            values["ra"] = unit.r
        if model == "GENROU":
            values["xq2"] = values["xd2"]
        elif unit.x is None:
            raise record.refuse(
                "GENCLS takes its reactance from ZSORCE, which this file of the network has not; "
                "give a .raw, or GENROU",
                "power.missing",
            )
        else:
            values["xd1"] = unit.x
    if values.pop("BUS2", 0.0) != 0:
        raise record.refuse(
            "IEEEG1 drives a second machine (its bus is not 0); only one is supported",
            "power.parameter",
        )
    values.pop("ID2", None)
    remote = values.pop("BUSR", 0.0) not in (0.0, record.number(0, "the bus"))
    if remote and values.get("MODE", 5) == 5:
        raise record.refuse(
            f"{model} measures the voltage of another bus; only its own is supported",
            "power.parameter",
        )
    return values

"""Rules that every case keeps, whatever it was read from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dae_solver.physics.case import Case
from dae_solver.physics.models import (
    CONTROLS,
    CONVERTERS,
    EXCITERS,
    GOVERNORS,
    LOOPS,
    MACHINES,
    STABILISERS,
)
from scimind.errors import InputError

KINDS = {
    **dict.fromkeys(MACHINES, "machine"),
    **dict.fromkeys(EXCITERS, "exciter"),
    **dict.fromkeys(GOVERNORS, "governor"),
    **dict.fromkeys(STABILISERS, "stabiliser"),
    **dict.fromkeys(CONVERTERS, "converter"),
    **dict.fromkeys(CONTROLS, "electrical control"),
    **dict.fromkeys(LOOPS, "phase-locked loop"),
}
"""What each of the supported dynamic models is."""

OWNERS = {
    "machine": "generator",
    "converter": "generator",
    "electrical control": "converter",
    "phase-locked loop": "converter",
}
"""What they belong to; all others belong to a machine."""

LEAST_IMPEDANCE = 1e-10
"""What is below is rounding, pu."""


def check_case(case: Case, path: Path) -> Case:
    """Refuse a case that breaks a rule.

    Args:
        case: What a reader made.
        path: The file, for the message.

    Returns:
        The case.

    Raises:
        InputError: A number is not finite, a base not positive, an id given twice, a bus or device
            missing, a model unknown, or a branch has no impedance or no ratio.
    """
    check = _Check(path)
    check.positive("the system base mva", case.mva)
    check.positive("the frequency", case.frequency)
    if not case.buses:
        check.refuse("the case has no bus; give one at least", "power.bus")
    lists: dict[str, Sequence[Any]] = {
        "bus": case.buses,
        "branch": case.branches,
        "shunt": case.shunts,
        "load": case.loads,
        "generator": case.generators,
    }
    for what, records in lists.items():
        check.unique(what, (record.id for record in records))
        for record in records:
            check.finite(what, record)
    buses = {bus.id for bus in case.buses}
    for branch in case.branches:
        for end in (branch.from_bus, branch.to_bus):
            check.known(f"branch {branch.id} is at", "bus", end, buses)
        if abs(complex(branch.r, branch.x)) < LEAST_IMPEDANCE:
            check.refuse(
                f"branch {branch.id} has no impedance (r = {branch.r:g}, x = {branch.x:g}); join "
                f"its buses {branch.from_bus} and {branch.to_bus}, or give it a small reactance",
                "power.impedance",
            )
        check.positive(f"the ratio of branch {branch.id}", branch.tap)
    for what in ("shunt", "load", "generator"):
        for record in lists[what]:
            check.known(f"{what} {record.id} is at", "bus", record.bus, buses)
    for generator in case.generators:
        check.positive(f"the rating of generator {generator.id}", generator.mva)
    _check_devices(case, check)
    for disturbance in case.disturbances:
        check.finite("disturbance", disturbance)
        if disturbance.kind == "fault":
            check.known("a fault is at", "bus", disturbance.target, buses)
    return case


def _check_devices(case: Case, check: _Check) -> None:
    for device in case.devices:
        if device.model not in KINDS:
            check.refuse(
                f"{device.model} {device.id} is not supported; models are: {', '.join(KINDS)}",
                "power.model",
            )
        what = f"{device.model} {device.id}"
        check.finite(what, device)
        check.positive(f"the base of {what}", device.mva)
        for name, value in device.parameters.items():
            check.number(f"{name} of {what}", value)
    for kind in dict.fromkeys(KINDS.values()):
        check.unique(kind, (each.id for each in case.devices if KINDS[each.model] == kind))
    known = {"generator": {generator.id for generator in case.generators}}
    for kind in ("machine", "converter"):
        known[kind] = {each.id for each in case.devices if KINDS[each.model] == kind}
    for device in case.devices:
        owner = OWNERS.get(KINDS[device.model], "machine")
        check.known(f"{device.model} {device.id} belongs to", owner, device.of, known[owner])


class _Check:
    """Errors of one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def refuse(self, message: str, rule: str) -> None:
        raise InputError(message, path=self.path, rule=rule)

    def number(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            self.refuse(f"{what} is {value}, which is no finite number; correct it", "power.number")

    def positive(self, what: str, value: float) -> None:
        self.number(what, value)
        if not value > 0:
            self.refuse(f"{what} is {value:g}, and has to be positive; correct it", "power.base")

    def finite(self, what: str, record: Any) -> None:
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if isinstance(value, float):
                self.number(f"{field.name} of {what} {getattr(record, 'id', '')}".rstrip(), value)

    def unique(self, what: str, ids: Iterable[Any]) -> None:
        seen = set()
        for each in ids:
            if each in seen:
                self.refuse(f"{what} {each} is given twice; rename one", "power.duplicate")
            seen.add(each)

    def known(self, what: str, owner: str, id: Any, ids: set[Any]) -> None:
        if id not in ids:
            some = ", ".join(map(str, sorted(ids, key=str)[:10])) or "none"
            more = " …" if len(ids) > 10 else ""
            self.refuse(
                f"{what} {owner} {id!r}, which does not exist; there are: {some}{more}",
                f"power.{owner}",
            )

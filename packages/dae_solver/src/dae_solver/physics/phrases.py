"""Disturbances as text, for command lines: ``fault bus 7 t 1.0 clear 0.1 trip 5-7``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from dae_solver.physics import disturbances
from dae_solver.physics.disturbances import Disturbance
from scimind.errors import InputError

KINDS: dict[str, Callable[..., Disturbance]] = {
    name: getattr(disturbances, name)
    for name in (
        "fault",
        "line_trip",
        "trip_reclose",
        "unsuccessful_reclose",
        "load_step",
        "load_pulse",
        "vref_step",
        "pref_step",
        "generator_trip",
    )
}
_NAMES = ("bus", "line", "machine", "trip")


def parse(text: str) -> list[Disturbance]:
    """The disturbances of one scenario, several joined by `` + ``.

    Each is its kind followed by names and values in turn, the names being the arguments of the
    function of that kind: ``load_step bus 5 t 1 p 1.2``. In ``none`` nothing happens.

    Raises:
        InputError: A kind, name or value is wrong or missing.
    """
    if text.strip() == "none":
        return []
    return [_one(part) for part in text.split(" + ")]


def _one(text: str) -> Disturbance:
    words = text.replace("=", " ").split()
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind not in KINDS:
        raise InputError(
            f"disturbance {text!r} begins with {kind!r}; kinds are: {', '.join(KINDS)}",
            rule="power.event",
        )
    function = KINDS[kind]
    known = inspect.signature(function).parameters
    usage = " ".join(f"{name} …" for name in known)
    if len(rest) % 2:
        raise InputError(
            f"disturbance {text!r} has a name without a value; write: {kind} {usage}",
            rule="power.event",
        )
    given: dict[str, Any] = {}
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if name not in known:
            raise InputError(
                f"disturbance {text!r} has the unknown name {name!r}; write: {kind} {usage}",
                rule="power.event",
            )
        given[name] = _name(value) if name in _NAMES else _number(name, value, text)
    missing = [
        name
        for name, parameter in known.items()
        if parameter.default is inspect.Parameter.empty and name not in given
    ]
    if missing:
        raise InputError(
            f"disturbance {text!r} lacks {missing[0]}; write: {kind} {usage}", rule="power.event"
        )
    if "bus" in given:
        given["bus"] = int(given["bus"]) if given["bus"].isdigit() else given["bus"]
    return function(**given)


def _name(value: str) -> Any:
    """A name; several are joined by a semicolon."""
    return value.split(";") if ";" in value else value


def _number(name: str, value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"disturbance {text!r} has {name} = {value!r}, which is not a number",
            rule="power.event",
        ) from None

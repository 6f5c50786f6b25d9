"""Disturbances and relays as text, for command lines: ``fault bus 7 t 1.0 clear 0.1 trip 5-7``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dae_solver.physics import disturbances
from dae_solver.physics.disturbances import Disturbance
from dae_solver.physics.relays import under_frequency_shedding
from dae_solver.solver.events import StateEvent
from scimind.errors import InputError

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE

T = TypeVar("T")

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
# Of which there may be several, joined by a semicolon.
_SEVERAL = {"disturbance": "trip", "relay": "bus"}


def _shedding(
    grid: PowerDAE, *, below: float, share: float, delay: float = 0.1, bus: Any = None
) -> list[StateEvent]:
    buses = [bus] if isinstance(bus, str) else bus
    return under_frequency_shedding(grid, [(below, share)], delay=delay, buses=buses)


RELAYS: dict[str, Callable[..., list[StateEvent]]] = {"shedding": _shedding}


def parse(text: str) -> list[Disturbance]:
    """The disturbances of one scenario, several joined by `` + ``.

    Each is its kind followed by names and values in turn, the names being the arguments of the
    function of that kind: ``load_step bus 5 t 1 p 1.2``. In ``none`` nothing happens.

    Raises:
        InputError: A kind, name or value is wrong or missing.
    """
    if text.strip() == "none":
        return []
    return [_one("disturbance", part, KINDS)() for part in text.split(" + ")]


def parse_relay(grid: PowerDAE, text: str) -> list[StateEvent]:
    """What a relay does in every scenario, such as ``shedding below 59.5 share 0.1 delay 0.2``.

    A stage sheds a share of the loads, or of those at ``bus 5;6``, while the frequency is below a
    threshold in hertz; see :func:`dae_solver.physics.relays.under_frequency_shedding`.

    Raises:
        InputError: A kind, name or value is wrong or missing.
    """
    return _one("relay", text, RELAYS)(grid)


def _one(what: str, text: str, kinds: Mapping[str, Callable[..., T]]) -> Callable[..., T]:
    """The function of a kind with the arguments that follow its name."""
    words = text.replace("=", " ").split()
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind not in kinds:
        raise InputError(
            f"{what} {text!r} begins with {kind!r}; kinds are: {', '.join(kinds)}",
            rule="power.event",
        )
    function = kinds[kind]
    known = {k: v for k, v in inspect.signature(function).parameters.items() if k != "grid"}
    usage = " ".join(f"{name} …" for name in known)
    if len(rest) % 2:
        raise InputError(
            f"{what} {text!r} has a name without a value; write: {kind} {usage}",
            rule="power.event",
        )
    given: dict[str, Any] = {}
    for name, value in zip(rest[::2], rest[1::2], strict=True):
        if name not in known:
            raise InputError(
                f"{what} {text!r} has the unknown name {name!r}; write: {kind} {usage}",
                rule="power.event",
            )
        if name not in _NAMES:
            given[name] = _number(name, value, f"{what} {text!r}")
        elif ";" not in value:
            given[name] = value
        elif name == _SEVERAL[what]:
            given[name] = value.split(";")
        else:
            raise InputError(
                f"{what} {text!r} has several of {name}, {value!r}; give one, and join "
                "disturbances by ' + '",
                rule="power.event",
            )
    missing = [
        name
        for name, parameter in known.items()
        if parameter.default is inspect.Parameter.empty and name not in given
    ]
    if missing:
        raise InputError(
            f"{what} {text!r} lacks {missing[0]}; write: {kind} {usage}", rule="power.event"
        )
    return partial(function, **given)


def _number(name: str, value: str, where: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"{where} has {name} = {value!r}, which is not a number",
            rule="power.event",
        ) from None

"""Cases as JSON that mirrors the records one to one; numbers come back as they went."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

from dae_solver.physics.case import (
    Branch,
    Bus,
    BusId,
    Case,
    Device,
    Disturbance,
    Generator,
    Load,
    Shunt,
)
from dae_solver.physics.io.rules import check_case
from dae_solver.physics.io.values import number
from dae_solver.physics.models import MODELS
from scimind.errors import InputError
from scimind.reading import read_json

FORMAT = "scimind-power-1"
_RECORDS: dict[str, type] = {
    "buses": Bus,
    "branches": Branch,
    "shunts": Shunt,
    "loads": Load,
    "generators": Generator,
    "devices": Device,
    "disturbances": Disturbance,
}


def read_native(path: str | Path) -> Case:
    """A case in our own format.

    Raises:
        InputError: The file is no JSON, a key is unknown or missing, a value is of another type, or
            the case breaks a rule; the message names the place, as in ``devices[3].parameters.xd``.
    """
    path = Path(path)
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(
            f'the file has no "format": "{FORMAT}"; add it, or read it as what it is',
            path=path,
            rule="power.format",
        )
    del content["format"]
    case: Case = _record(Case, content, "", path)
    check_case(case, path)
    _check_parameters(case, path)
    return case


def write_native(case: Case, path: str | Path) -> None:
    """Write a case in our own format.

    Raises:
        InputError: The case breaks a rule.
    """
    path = Path(path)
    check_case(case, path)
    content = {"format": FORMAT} | {
        field.name: _plain(getattr(case, field.name)) for field in dataclasses.fields(case)
    }
    path.write_text(_text(content) + "\n", encoding="utf-8")


def _text(content: dict[str, Any]) -> str:
    """JSON with one record a line."""
    parts = []
    for key, value in content.items():
        text = json.dumps(value, allow_nan=False)
        if isinstance(value, list) and value:
            rows = ",\n".join(f"  {json.dumps(row, allow_nan=False)}" for row in value)
            text = f"[\n{rows}\n ]"
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}"


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not isinstance(value, bool):
        return float(value)  # of NumPy too
    return value


def _record(kind: type, content: Any, place: str, path: Path) -> Any:
    """A record from a JSON object."""
    if not isinstance(content, dict):
        _refuse(place, content, "an object", path)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    inside = f"{place}." if place else ""
    if unknown := sorted(set(content) - set(fields)):
        raise InputError(
            f"{inside}{unknown[0]:.80} is no known key; keys are: {', '.join(fields)}",
            path=path,
            rule="power.key",
        )
    types = get_type_hints(kind)
    values = {}
    for name, field in fields.items():
        if name in content:
            values[name] = _value(name, types[name], content[name], inside + name, path)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{inside}{name} is missing; add it", path=path, rule="power.key")
    return kind(**values)


def _value(name: str, kind: Any, value: Any, place: str, path: Path) -> Any:
    """A value of a record."""
    if name in _RECORDS:
        entries = _list(value, place, path)
        return [
            _record(_RECORDS[name], entry, f"{place}[{k}]", path) for k, entry in enumerate(entries)
        ]
    if get_origin(kind) is list:
        return [
            _value("", get_args(kind)[0], entry, f"{place}[{k}]", path)
            for k, entry in enumerate(_list(value, place, path))
        ]
    if get_origin(kind) is Mapping:
        if not isinstance(value, dict):
            _refuse(place, value, "an object of numbers", path)
        return {
            key: _value("", get_args(kind)[1], each, f"{place}.{key:.80}", path)
            for key, each in value.items()
        }
    if kind is Any:
        kind = BusId
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for choice in choices:
        if choice is float and isinstance(value, int | float) and not isinstance(value, bool):
            return number(value, place, path)
        if choice in (str, bool, NoneType) and isinstance(value, choice):
            return value
        if choice is int and isinstance(value, int) and not isinstance(value, bool):
            return value
    names = {float: "a number", int: "a whole number", str: "a text", bool: "true or false"}
    _refuse(place, value, " or ".join(names.get(choice, "null") for choice in choices), path)


def _check_parameters(case: Case, path: Path) -> None:
    for k, device in enumerate(case.devices):
        place = f"devices[{k}].parameters"
        known = MODELS[device.model].parameters
        for name in device.parameters:
            if name not in known:
                raise InputError(
                    f"{place}.{name:.80} is no parameter of {device.model}; its parameters are: "
                    f"{', '.join(known)}",
                    path=path,
                    rule="power.key",
                )
        for name, parameter in known.items():
            if parameter.default is None and name not in device.parameters:
                raise InputError(
                    f"{place}.{name} is missing ({parameter.help}); add it",
                    path=path,
                    rule="power.key",
                )


def _list(value: Any, place: str, path: Path) -> list[Any]:
    if not isinstance(value, list):
        _refuse(place, value, "a list", path)
    return list(value)


def _refuse(place: str, value: Any, wanted: str, path: Path) -> NoReturn:
    raise InputError(
        f"{place or 'the file'} is {json.dumps(value):.60}, not {wanted}; correct it",
        path=path,
        rule="power.type",
    )

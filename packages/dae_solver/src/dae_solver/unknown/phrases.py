"""Unknowns as text, for command lines: ``parameter TWOAXIS.D3 scale 300``, ``library torque``."""

from __future__ import annotations

from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem
from dae_solver.unknown.coefficients import Unknown
from dae_solver.unknown.library import LibraryTerm
from dae_solver.unknown.neural import NeuralTerm
from dae_solver.unknown.parametric import ParametricTerm, dead_band
from dae_solver.unknown.recovery import LoadRecovery
from scimind.errors import InputError

USAGE = {
    "parameter": "parameter NAME [each] [relative] [scale X] [low X] [high X] [tries X;Y;…]",
    "dead_band": "dead_band [MODEL]",
    "library": "library PLACE [functions NAME;NAME;…] [size X]",
    "neural": "neural PLACE inputs SIGNAL;SIGNAL;… [hidden N] [size X] [seed N]",
    "recovery": "recovery load.p",
}
_KINDS = {"parameter": ParametricTerm, "library": LibraryTerm, "neural": NeuralTerm}
_LISTS = {"tries": float, "functions": str, "inputs": str}
_NUMBERS = {"scale": float, "low": float, "high": float, "size": float, "hidden": int, "seed": int}
_ALLOWED = {
    "parameter": ("each", "relative", "scale", "low", "high", "tries"),
    "library": ("functions", "size"),
    "neural": ("inputs", "hidden", "size", "seed"),
}


def parse_unknown(text: str) -> Unknown:
    """An unknown; names of candidates have an underscore for a blank.

    Raises:
        InputError: A kind, name or value is wrong or missing; the message says how to write it.
    """
    words = text.split()
    kind, rest = (words[0], words[1:]) if words else ("", [])
    if kind not in USAGE:
        raise InputError(
            f"unknown {text!r} begins with {kind!r}; write one of: {'; '.join(USAGE.values())}",
            rule="unknown.phrase",
        )
    if kind == "dead_band" and len(rest) < 2:
        return dead_band(*rest)
    if kind == "recovery" and len(rest) == 1:
        return LoadRecovery(rest[0])
    if kind not in _KINDS or not rest:
        raise InputError(f"unknown {text!r}: write {USAGE[kind]}", rule="unknown.phrase")
    options = _options(kind, rest[1:], text)
    if kind == "neural" and "inputs" not in options:
        raise InputError(
            f"unknown {text!r} lacks inputs; write {USAGE[kind]}", rule="unknown.phrase"
        )
    maker: Any = _KINDS[kind]
    found: Unknown = maker(rest[0], **options)
    return found


def _options(kind: str, words: list[str], text: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    while words:
        name, *words = words
        if name not in _ALLOWED[kind]:
            raise InputError(
                f"unknown {text!r} has the unknown word {name!r}; write {USAGE[kind]}",
                rule="unknown.phrase",
            )
        if name in ("each", "relative"):
            options[name] = True
            continue
        if not words:
            raise InputError(
                f"unknown {text!r} has {name} without a value; write {USAGE[kind]}",
                rule="unknown.phrase",
            )
        value, *words = words
        try:
            if name in _LISTS:
                options[name] = [_LISTS[name](each.replace("_", " ")) for each in value.split(";")]
            else:
                options[name] = _NUMBERS[name](value)
        except ValueError:
            raise InputError(
                f"unknown {text!r} has {name} = {value!r}, which is no number",
                rule="unknown.phrase",
            ) from None
    return options


def parse_hidden(grid: PowerSystem, texts: list[str]) -> dict[str, np.ndarray]:
    """Values of parameters as ``TWOAXIS.D3=900``, one for all devices.

    Raises:
        InputError: A text is not of this form, or there is no such parameter.
    """
    found: dict[str, np.ndarray] = {}
    models = {group.model.name: group.model for group in grid.dae._every_group()}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        try:
            number = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(
                f"hidden {text!r} is not of the form NAME=NUMBER, as TWOAXIS.D3=900",
                rule="unknown.phrase",
            )
        model, _, own = name.partition(".")
        if name in ("alpha", "beta", "kpf", "kqf"):
            found[name] = np.full(len(grid.case.loads), number)
        elif model in models and own in models[model].parameters:
            found[name] = np.full(len(models[model].ids), number)
        else:
            raise InputError(
                f"hidden {text!r}: there is no parameter {name!r} in {grid.case.name}",
                rule="unknown.phrase",
            )
    if ("alpha" in found) != ("beta" in found):
        raise InputError(
            "hidden exponents are two, alpha and beta; give both", rule="unknown.phrase"
        )
    return found

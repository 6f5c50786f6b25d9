"""Which implementation of an operator runs, per device and dtype; chosen once and said once.

An operator has a plain formulation, which runs everywhere, and any number of specialised ones. The
choice is made while Python (or the graph compiler) reads the call, from constants only, so a
jitted graph contains the chosen implementation and nothing of the others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mindspore
from mindspore.ops import constexpr

from scimind.device import active_precision, capabilities, target

_log = logging.getLogger("scimind.ops")

FUNCTIONS: dict[str, tuple[Callable[..., Any], ...]] = {}
"""Operator name to its implementations; indexed by ``choose`` inside graphs."""


@dataclass(frozen=True, kw_only=True)
class Implementation:
    """One way to compute an operator.

    Args:
        op: Name of the operator, such as ``"attention"``.
        name: Where it runs and how, such as ``"cpu/kernel"``.
        device: ``"cpu"``, ``"ascend"`` or ``"any"``.
        dtypes: Names of the dtypes of the first argument; empty for all.
        priority: The highest available wins; the plain formulation has 0.
        requires: Capability that has to be present, see `scimind.device.capabilities`.
        verified: False marks an implementation that was never run on its device.
    """

    op: str
    name: str
    device: str = "any"
    dtypes: tuple[str, ...] = ()
    priority: int = 0
    requires: str | None = None
    verified: bool = True

    def available(self, device: str, dtype: str) -> bool:
        """Whether this implementation can be used for ``dtype`` on ``device``."""
        if self.device not in ("any", device) or (self.dtypes and dtype not in self.dtypes):
            return False
        return self.requires is None or self.requires in capabilities()


_implementations: dict[str, list[Implementation]] = {}
_choices: dict[tuple[str, str, str, bool], int] = {}
_announced: dict[tuple[str, str], str] = {}
_plain_only = False


def register(
    op: str,
    *,
    name: str,
    device: str = "any",
    dtypes: tuple[str, ...] = (),
    priority: int = 0,
    requires: str | None = None,
    verified: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as an implementation of ``op``, see `Implementation`.

    Raises:
        ValueError: ``op`` already has an implementation called ``name``.
    """
    entry = Implementation(
        op=op,
        name=name,
        device=device,
        dtypes=dtypes,
        priority=priority,
        requires=requires,
        verified=verified,
    )

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        known = _implementations.setdefault(op, [])
        if any(other.name == name for other in known):
            raise ValueError(f"operator {op} already has an implementation {name}; choose a name")
        known.append(entry)
        FUNCTIONS[op] = (*FUNCTIONS.get(op, ()), function)
        _choices.clear()
        return function

    return add


@constexpr  # type: ignore[untyped-decorator]
def choose(op: str, dtype: Any) -> int:
    """Index into ``FUNCTIONS[op]`` of the implementation for ``dtype`` on the current device."""
    key = (op, target(), str(dtype).lower(), _plain_only)
    index = _choices.get(key)
    if index is None:
        index = _choices[key] = _select(*key)
    return index


@constexpr  # type: ignore[untyped-decorator]
def compute_dtype(dtype: Any) -> Any:
    """Dtype in which an operator made of matrix products computes on inputs of ``dtype``.

    Single precision becomes that of `scimind.device.setup`; anything else was chosen by the caller
    and stays. Parameters, sums along the network and results keep single precision.
    """
    if dtype != mindspore.float32 or _plain_only:
        return dtype
    return active_precision().dtype("compute")


def _select(op: str, device: str, dtype: str, plain_only: bool) -> int:
    entries = _implementations[op]
    usable = [
        index
        for index, entry in enumerate(entries)
        if (entry.priority == 0 if plain_only else entry.available(device, dtype))
    ]
    best = max(usable, key=lambda index: entries[index].priority)
    if not plain_only:
        _say(entries[best], dtype)
    return best


def _say(entry: Implementation, dtype: str) -> None:
    if _announced.get((entry.op, dtype)) != entry.name:
        _announced[(entry.op, dtype)] = entry.name
        note = "" if entry.verified else " (never run on this device by its authors)"
        _log.info("scimind.ops: %s %s → %s%s", entry.op, dtype, entry.name, note)


def announce(choices: Mapping[str, str]) -> None:
    """Say and remember the choices of a graph that was compiled earlier; see `chosen`."""
    for key, name in choices.items():
        op, _, dtype = key.rpartition(" ")
        for entry in _implementations.get(op, ()):
            if entry.name == name:
                _say(entry, dtype)


def chosen() -> dict[str, str]:
    """What was chosen so far, such as ``{"attention float32": "cpu/kernel"}``, for result files."""
    return {f"{op} {dtype}": name for (op, dtype), name in sorted(_announced.items())}


def implementations(op: str | None = None) -> list[Implementation]:
    """Everything registered, for ``op`` or for all operators."""
    if op is not None:
        return list(_implementations[op])
    return [entry for entries in _implementations.values() for entry in entries]


def reset_choices() -> None:
    """Choose again at the next call; needed after the device or its capabilities changed."""
    _choices.clear()


@contextlib.contextmanager
def plain_formulations() -> Iterator[None]:
    """Use only plain formulations, which can be differentiated twice and vectorised by ``vmap``.

    Holds for what is traced inside the block; a graph compiled earlier keeps its choice.
    """
    global _plain_only
    before, _plain_only = _plain_only, True
    try:
        yield
    finally:
        _plain_only = before

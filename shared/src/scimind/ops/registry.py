"""Which implementation of an operator runs, per device and dtype; chosen once and said once.

An operator has a plain formulation, which runs everywhere, and any number of specialised ones. The
choice is made while Python (or the graph compiler) reads the call, from constants only, so a
jitted graph contains the chosen implementation and nothing of the others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mindspore
from mindspore.ops import constexpr

from scimind.device import active_precision, probe, target
from scimind.ops.rule import Rule, RuleError, Scalar
from scimind.ops.tracing import TRACE, Untraceable

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
        ready: Whether what it is made of is there; asked when it would be chosen.
        when: Whether it can do a call, from the sizes of its named axes and its scalars.
        compiled: Whether it is a kernel of ours, which can be part of a fused cell.
    """

    op: str
    name: str
    device: str = "any"
    dtypes: tuple[str, ...] = ()
    priority: int = 0
    requires: str | None = None
    verified: bool = True
    ready: Callable[[], bool] | None = None
    when: Callable[[Mapping[str, Any]], bool] | None = None
    compiled: bool = False

    def available(self, device: str, dtypes: tuple[str, ...], call: Mapping[str, Any]) -> bool:
        """Whether this implementation can do ``call`` with ``dtypes`` on ``device``."""
        if not self.fits(device, dtypes, call):
            return False
        if self.requires is not None and not probe(self.requires):
            return False
        return self.ready is None or self.ready()

    def fits(self, device: str, dtypes: tuple[str, ...], call: Mapping[str, Any]) -> bool:
        """Whether it could, where nothing is missing."""
        if self.device not in ("any", device):
            return False
        if self.dtypes and not all(dtype in self.dtypes for dtype in dtypes):
            return False
        return self.when is None or self.when(call)


_implementations: dict[str, list[Implementation]] = {}
_rules: dict[str, Rule] = {}
_choices: dict[tuple[Any, ...], int] = {}
_MOST_CHOICES = 1 << 14
_announced: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}  # what was chosen, for lack of
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
    ready: Callable[[], bool] | None = None,
    when: Callable[[Mapping[str, Any]], bool] | None = None,
    compiled: bool = False,
    rule: Rule | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as an implementation of ``op``, see `Implementation`.

    ``rule`` comes with the first implementation of an operator that has one.

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
        ready=ready,
        when=when,
        compiled=compiled,
    )
    if rule is not None:
        _rules[op] = rule

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
    if TRACE.get() is not None:
        raise RuleError(f"{op} is no declared operator")
    key = (op, target(), _plain_only, dtype)
    index = _choices.get(key)
    if index is None:
        index = _choices[key] = _select(op, (str(dtype).lower(),), {})
    return index


@constexpr  # type: ignore[untyped-decorator]
def choose_for(op: str, *arguments: Any) -> int:
    """Check a call against the rule of ``op`` and choose as `choose` does.

    Args:
        op: A declared operator.
        arguments: Shape and dtype of each tensor (None for an absent one), then the scalars.

    Raises:
        RuleError: The call breaks the rule.
    """
    # 2, 2.0 and True are equal, and not all of them keep the rule.
    key = (op, target(), _plain_only, arguments, tuple(map(type, arguments)))
    index = _choices.get(key)
    if index is None:
        index = _check_and_select(op, arguments)
        if len(_choices) >= _MOST_CHOICES:  # new shapes all the time, as in generation
            _choices.clear()
        _choices[key] = index
    if TRACE.get() is not None and not (entry := _implementations[op][index]).compiled:
        raise Untraceable(f"{op} is {entry.name} here")
    return index


@constexpr(check=False)  # type: ignore[untyped-decorator]
def refuse(op: str, name: str, value: object) -> None:
    """Refuse argument ``name`` of operator ``op``, which is no tensor.

    Raises:
        RuleError: Always.
    """
    raise _rules[op].no_tensor(name, value)


@constexpr  # type: ignore[untyped-decorator]
def scalar(op: str, name: str, value: object) -> Scalar:
    """``value`` of argument ``name`` of operator ``op`` as a scalar of Python.

    Raises:
        RuleError: It is none.
    """
    option = next(option for option in _rules[op].options if option.name == name)
    return option.checked(op, value)


def _check_and_select(op: str, arguments: tuple[Any, ...]) -> int:
    rule = _rules[op]
    count = len(rule.tensors)
    given = tuple(
        None if entry is None else (tuple(entry[0]), str(entry[1]).lower())
        for entry in arguments[:count]
    )
    sizes = rule.check(given, arguments[count:])
    call = {**sizes, **dict(zip((o.name for o in rule.options), arguments[count:], strict=True))}
    call |= {t.name: e is not None for t, e in zip(rule.tensors, given, strict=True) if t.optional}
    dtypes = tuple(
        entry[1]
        for tensor, entry in zip(rule.tensors, given, strict=True)
        if entry is not None and tensor.family == "float"
    )
    return _select(op, dtypes, call)


@constexpr  # type: ignore[untyped-decorator]
def compute_dtype(dtype: Any) -> Any:
    """Dtype in which an operator made of matrix products computes on inputs of ``dtype``.

    Single precision becomes that of `scimind.device.setup`; anything else was chosen by the caller
    and stays. Parameters, sums along the network and results keep single precision.
    """
    if dtype != mindspore.float32 or _plain_only:
        return dtype
    return active_precision().dtype("compute")


def _select(op: str, dtypes: tuple[str, ...], call: Mapping[str, Any]) -> int:
    entries = _implementations[op]
    device = target()
    order = sorted(range(len(entries)), key=lambda index: -entries[index].priority)
    missing = []
    for index in order:
        entry = entries[index]
        if entry.priority == 0 if _plain_only else entry.available(device, dtypes, call):
            break
        if entry.requires is not None and entry.fits(device, dtypes, call):
            missing.append(entry.requires)
    if not _plain_only:
        _say(entry, dtypes[0] if dtypes else "", missing)
    return index


def _say(entry: Implementation, dtype: str, missing: Sequence[str] = ()) -> None:
    known, lacking = _announced.get((entry.op, dtype), ("", ()))
    if known != entry.name or not set(missing) <= set(lacking):
        _announced[(entry.op, dtype)] = entry.name, tuple(missing)
        note = "" if entry.verified else " (never run on this device by its authors)"
        if missing:
            note = f" (this device has no {', no '.join(missing)}){note}"
        level = logging.WARNING if missing else logging.INFO
        _log.log(level, "scimind.ops: %s %s → %s%s", entry.op, dtype, entry.name, note)


def announce(choices: Mapping[str, str]) -> None:
    """Say, remember and load the choices of a graph that was compiled earlier; see `chosen`."""
    for key, name in choices.items():
        op, _, dtype = key.rpartition(" ")
        for entry in _implementations.get(op, ()):
            if entry.name == name:
                _say(entry, dtype)
                if entry.ready is not None:  # loads what a restored graph refers to
                    entry.ready()


def chosen() -> dict[str, str]:
    """What was chosen so far, such as ``{"attention float32": "cpu/kernel"}``, for result files."""
    return {f"{op} {dtype}": name for (op, dtype), (name, _) in sorted(_announced.items())}


def implementations(op: str | None = None) -> list[Implementation]:
    """Everything registered, for ``op`` or for all operators."""
    if op is not None:
        return list(_implementations[op])
    return [entry for entries in _implementations.values() for entry in entries]


def plain_only() -> bool:
    """Whether this is inside `plain_formulations`."""
    return _plain_only


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

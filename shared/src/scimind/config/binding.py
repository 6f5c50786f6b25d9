"""From a plain tree of values to a dataclass, with every mismatch named by its full key."""

from __future__ import annotations

import difflib
import enum
import math
import re
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from scimind.config.schema import (
    REQUIRED,
    alternatives,
    choices,
    in_words,
    is_schema,
    plain_text,
    schema_types,
    walk,
)
from scimind.errors import ConfigError

T = TypeVar("T")

MAX_PROBLEMS = 12
# YAML 1.1 reads 1e-3 as text because it has no dot; nobody who writes it means text.
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")


class _Invalid(enum.Enum):
    """Stands for a value that could not be bound."""

    INVALID = enum.auto()


def bind(tree: Mapping[Any, Any], schema: type[T], *, source: str = "configuration") -> T:
    """Build ``schema`` from a plain tree, refusing anything the schema does not say.

    Args:
        tree: Mappings, lists and scalars, as YAML gives them.
        schema: A keyword-only dataclass; its ``__post_init__`` may raise ``ValueError`` to refuse a
            combination or a range.
        source: What to call the tree in messages.

    Returns:
        An instance of ``schema``; fields that are absent take their defaults.

    Raises:
        ConfigError: One line for each unknown key, wrong type, disallowed choice, missing value or
            broken range.
    """
    binding = _Binding(schema)
    value = binding.schema_value(tree, schema, "")
    if value is _Invalid.INVALID:
        shown = binding.problems[:MAX_PROBLEMS]
        hidden = len(binding.problems) - len(shown)
        more = [f"and {hidden} more"] if hidden else []
        raise ConfigError("\n  ".join([f"{source} does not fit:", *shown, *more]))
    return value  # type: ignore[no-any-return]


def did_you_mean(found: str, candidates: Iterable[str]) -> str:
    """`` did you mean …?`` for the nearest spellings, or nothing."""
    names = list(candidates)
    last = found.rsplit(".", 1)[-1]
    near = difflib.get_close_matches(found, names, n=3, cutoff=0.75)
    near += [name for name in names if name.rsplit(".", 1)[-1] == last and name not in near]
    if not near:
        tails = {name.rsplit(".", 1)[-1]: name for name in reversed(names)}
        near = [tails[tail] for tail in difflib.get_close_matches(last, tails, n=2, cutoff=0.75)]
    near = [name for name in near if name != found][:3]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def unknown_key(path: str, root: type, siblings: Iterable[str]) -> str:
    """Message for a key that the schema does not have."""
    hint = did_you_mean(path, [field.path for field in walk(root)])
    parent = path.rpartition(".")[0]
    where = f"keys of {parent}" if parent else "keys"
    return f"unknown key {path}{hint} ({where}: {', '.join(siblings)})"


class _Binding:
    def __init__(self, root: type) -> None:
        self.root = root
        self.problems: list[str] = []

    def refuse(self, message: str) -> _Invalid:
        self.problems.append(message)
        return _Invalid.INVALID

    def schema_value(self, tree: Any, schema: type, path: str) -> Any:
        if not isinstance(tree, Mapping):
            return self.refuse(f"{path or 'top level'}={_shown(tree)}: must be {in_words(schema)}")
        kinds = schema_types(schema)
        before = len(self.problems)
        values: dict[str, Any] = {}
        for key, item in tree.items():
            inner = _join(path, key)
            if key not in kinds:
                self.refuse(unknown_key(inner, self.root, kinds))
            elif isinstance(item, str) and item == REQUIRED:
                self.refuse(f"{inner} is required: set {inner}=… ({in_words(kinds[key])})")
            else:
                values[key] = self.value(item, kinds[key], inner)
        if len(self.problems) > before:
            return _Invalid.INVALID
        try:
            return schema(**values)
        except TypeError as error:
            names = [name for name in kinds if f"'{name}'" in str(error)]
            if "missing" not in str(error) or not names:
                raise
            for name in names:
                inner = _join(path, name)
                self.refuse(f"{inner} is required: set {inner}=… ({in_words(kinds[name])})")
            return _Invalid.INVALID
        except (ValueError, ConfigError) as error:
            return self.refuse(_with_full_keys(str(error), kinds, path))

    def value(self, item: Any, kind: Any, path: str) -> Any:
        members = alternatives(kind)
        if len(members) > 1:
            return self._union(item, kind, members, path)
        if kind is Any:
            return item
        if is_schema(kind):
            return self.schema_value(item, kind, path)
        origin = get_origin(kind) or kind
        if origin in (list, tuple):
            return self._sequence(item, kind, origin, path)
        if origin is dict:
            return self._mapping(item, kind, path)
        return self._scalar(item, kind, path)

    def _union(self, item: Any, kind: Any, members: tuple[Any, ...], path: str) -> Any:
        if item is None and types.NoneType in members:
            return None
        members = tuple(member for member in members if member is not types.NoneType)
        if len(members) == 1:
            attempt = _Binding(self.root)
            value = attempt.value(item, members[0], path)
            self.problems += attempt.problems
            return value
        # The exact type wins over one that the value could be converted to.
        for member in sorted(members, key=lambda member: type(item) is not member):
            attempt = _Binding(self.root)
            value = attempt.value(item, member, path)
            if not attempt.problems:
                return value
        return self.refuse(self._mismatch(item, kind, path))

    def _sequence(self, item: Any, kind: Any, origin: Any, path: str) -> Any:
        if not isinstance(item, list | tuple):
            return self.refuse(self._mismatch(item, kind, path) + f"; write {path}=[…]")
        arguments = get_args(kind) or (Any, ...)
        if origin is tuple and arguments[-1] is not Ellipsis:
            if len(item) != len(arguments):
                return self.refuse(self._mismatch(item, kind, path))
            member_kinds = list(arguments)
        else:
            member_kinds = [arguments[0]] * len(item)
        values = [
            self.value(member, member_kind, f"{path}[{index}]")
            for index, (member, member_kind) in enumerate(zip(item, member_kinds, strict=True))
        ]
        return _Invalid.INVALID if _Invalid.INVALID in values else origin(values)

    def _mapping(self, item: Any, kind: Any, path: str) -> Any:
        if not isinstance(item, Mapping):
            return self.refuse(self._mismatch(item, kind, path))
        value_kind = get_args(kind)[1] if get_args(kind) else Any
        values = {}
        for key, member in item.items():
            if not isinstance(key, str):
                return self.refuse(f"{path} has the key {_shown(key)}: keys must be text, quote it")
            values[key] = self.value(member, value_kind, _join(path, key))
        return _Invalid.INVALID if _Invalid.INVALID in values.values() else values

    def _scalar(self, item: Any, kind: Any, path: str) -> Any:
        if get_origin(kind) is Literal:
            for allowed in get_args(kind):
                if type(allowed) is type(item) and allowed == item:
                    return allowed
            return self.refuse(self._disallowed(item, kind, path))
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            for allowed in kind:
                if item in (allowed.value, allowed.name):
                    return allowed
            return self.refuse(self._disallowed(item, kind, path))
        if kind is bool and isinstance(item, bool):
            return item
        if kind is int:
            whole = _as_whole(item)
            if whole is not None:
                return whole
        if kind is float:
            number = _as_number(item)
            if number is not None:
                return number
        if kind is str and isinstance(item, str):
            return item
        # A folder may be called 2024; a float or a bool as text would lose its spelling.
        if kind is str and type(item) is int:
            return str(item)
        if kind is Path and isinstance(item, str) and item:
            return Path(item)
        if kind is types.NoneType and item is None:
            return None
        quoting = f"; to pass it as text write {path}=\"'{item}'\"" if kind is str else ""
        return self.refuse(self._mismatch(item, kind, path) + quoting)

    def _mismatch(self, item: Any, kind: Any, path: str) -> str:
        return f"{path}={_shown(item)}: must be {in_words(kind)}, found {_type_name(item)}"

    def _disallowed(self, item: Any, kind: Any, path: str) -> str:
        allowed = choices(kind)
        hint = did_you_mean(plain_text(item), allowed)
        return f"{path}={_shown(item)}: must be one of {', '.join(allowed)}{hint}"


def _with_full_keys(message: str, names: Iterable[str], path: str) -> str:
    """``width=3 must …`` of the schema at ``model`` becomes ``model.width=3 must …``."""
    if not path or f"{path}." in message:
        return message
    named = re.sub(rf"(?<![\w.])({'|'.join(names)})=", rf"{path}.\1=", message)
    return named if named != message else f"{path}: {message}"


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _as_whole(item: Any) -> int | None:
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    number = _as_number(item)
    return int(number) if number is not None and number.is_integer() else None


def _as_number(item: Any) -> float | None:
    if isinstance(item, bool):
        return None
    if isinstance(item, str) and _EXPONENT.fullmatch(item):
        return float(item)
    if isinstance(item, int | float):
        try:
            number = float(item)
        except OverflowError:
            return None
        return None if math.isnan(number) else number
    return None


def _shown(item: Any) -> str:
    text = plain_text(item) if not isinstance(item, str) else repr(item)
    return text if len(text) <= 60 else text[:57] + "…"


def _type_name(item: Any) -> str:
    if isinstance(item, float) and math.isnan(item):
        return "not-a-number"
    names = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    if item is None:
        return "null"
    if isinstance(item, Mapping):
        return "a mapping"
    if isinstance(item, list | tuple):
        return f"a list of {len(item)} items"
    return names.get(type(item), type(item).__name__)

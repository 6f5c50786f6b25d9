"""What a dataclass schema says: fields, types in words, defaults and texts."""

from __future__ import annotations

import dataclasses
import enum
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

REQUIRED = "???"
"""Marks a value that has no default; OmegaConf's own spelling of a missing value."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SchemaField:
    """One field of a schema.

    Attributes:
        path: Dotted key, such as ``model.num_heads``.
        kind: Its resolved type.
        text: Its line in the ``Attributes`` section of the dataclass.
    """

    path: str
    kind: Any
    text: str


def schema_types(schema: type) -> dict[str, Any]:
    """Resolved type of each field of a dataclass, in order of declaration."""
    hints = get_type_hints(schema)
    return {item.name: hints[item.name] for item in dataclasses.fields(schema) if item.init}


def is_schema(kind: Any) -> bool:
    """Whether a type is a dataclass, that is, a nested schema."""
    return isinstance(kind, type) and dataclasses.is_dataclass(kind)


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Members of a union, or the type itself."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def nested_schema(kind: Any) -> type | None:
    """The dataclass in ``Schema`` or ``Schema | None``."""
    found = [member for member in alternatives(kind) if is_schema(member)]
    return found[0] if len(found) == 1 else None


def mapping_value(kind: Any) -> Any | None:
    """The type ``T`` in ``dict[str, T]`` or ``dict[str, T] | None``."""
    for member in alternatives(kind):
        if get_origin(member) is dict:
            return get_args(member)[1]
        if member is dict:
            return Any
    return None


def choices(kind: Any) -> list[str]:
    """The values a ``Literal`` or an ``Enum`` allows, as they are written in YAML."""
    allowed: list[str] = []
    for member in alternatives(kind):
        if get_origin(member) is Literal:
            allowed += [plain_text(value) for value in get_args(member)]
        elif isinstance(member, type) and issubclass(member, enum.Enum):
            allowed += [plain_text(item.value) for item in member]
        elif member is types.NoneType:
            allowed.append("null")
        else:
            return []
    return allowed


def plain_text(value: Any) -> str:
    """A value as YAML and the command line spell it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    Path: "a path",
    types.NoneType: "null",
    Any: "any value",
}


def in_words(kind: Any) -> str:
    """A type as a user reads it, for example ``an integer or null``."""
    if allowed := choices(kind):
        return "one of " + ", ".join(allowed)
    members = alternatives(kind)
    if len(members) > 1:
        return " or ".join(in_words(member) for member in members)
    if kind in _WORDS:
        return _WORDS[kind]
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is list:
        return f"a list, each item {in_words(arguments[0])}" if arguments else "a list"
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return f"a list, each item {in_words(arguments[0])}"
        return f"a list of {len(arguments)} items: " + ", ".join(map(in_words, arguments))
    if origin is dict:
        return f"a mapping, each value {in_words(arguments[1])}" if arguments else "a mapping"
    if is_schema(kind):
        return "a mapping with the keys " + ", ".join(schema_types(kind))
    return getattr(kind, "__name__", str(kind))


def default_tree(schema: type) -> dict[str, Any]:
    """Plain tree of a schema's defaults, ``???`` where a value is required."""
    kinds = schema_types(schema)
    tree: dict[str, Any] = {}
    for item in dataclasses.fields(schema):
        if not item.init:
            continue
        if item.default is not dataclasses.MISSING:
            tree[item.name] = to_plain(item.default)
        elif item.default_factory is not dataclasses.MISSING:
            tree[item.name] = _factory_tree(item.default_factory, kinds[item.name])
        elif is_schema(kinds[item.name]):
            tree[item.name] = default_tree(kinds[item.name])
        else:
            tree[item.name] = REQUIRED
    return tree


def _factory_tree(factory: Any, kind: Any) -> Any:
    # A schema named as its own factory may have required fields: it cannot be built without them.
    return default_tree(kind) if factory is kind and is_schema(kind) else to_plain(factory())


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples, enumerations and paths as what YAML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            item.name: to_plain(getattr(value, item.name))
            for item in dataclasses.fields(value)
            if item.init
        }
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def walk(schema: type, prefix: str = "") -> Iterator[SchemaField]:
    """Every field of a schema and of the schemas inside it, parents before children."""
    texts = attribute_texts(schema)
    for name, kind in schema_types(schema).items():
        path = f"{prefix}{name}"
        yield SchemaField(path=path, kind=kind, text=texts.get(name, ""))
        if inner := nested_schema(kind):
            yield from walk(inner, f"{path}.")


def attribute_texts(schema: type) -> dict[str, str]:
    """The ``Attributes`` sections of a dataclass and its bases, by field name."""
    texts: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        doc = base.__doc__ or ""
        if "Attributes:" not in doc:
            continue
        section = re.split(r"^\s*Attributes:\s*$", doc, flags=re.MULTILINE)[-1]
        name = ""
        indent = 0
        for line in section.strip("\n").splitlines():
            depth = len(line) - len(line.lstrip())
            if not line.strip():
                break
            indent = indent or depth
            if depth == indent and (head := re.match(r"\s*(\w+)(?: \(.*?\))?:\s*(.*)", line)):
                name = head.group(1)
                texts[name] = head.group(2).strip()
            elif name:
                texts[name] = f"{texts[name]} {line.strip()}".strip()
    return texts

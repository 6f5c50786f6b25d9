"""The ``--help`` page, made from the schema and the YAML groups."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scimind.cli.arguments import OPTIONS
from scimind.config import Composition, walk
from scimind.config.schema import REQUIRED, in_words, nested_schema, plain_text

WIDTH = 100
COLUMN = 34


def help_page(
    verb: Callable[..., Any],
    schema: type,
    composition: Composition,
    prog: str,
    examples: Sequence[tuple[str, str]],
) -> str:
    """Text of the help page.

    Args:
        verb: The function behind the command; its docstring opens the page.
        schema: Dataclass of its configuration.
        composition: The configuration whose values are shown.
        prog: How the command is called, such as ``python -m biomol.train``.
        examples: Pairs of arguments and what they do.
    """
    lines = [f"usage: {prog} [options] [group=option …] [key=value …]", ""]
    lines += _paragraph((inspect.getdoc(verb) or "").split("\n\nArgs:")[0], indent=0)
    lines += ["", "Options:"]
    lines += [row for name, text in OPTIONS for row in _entry(name, text)]
    if composition.chosen:
        lines += ["", "Groups, each option a YAML file:"]
        for group, taken in composition.chosen.items():
            name = group if taken is None else f"{group}={taken}"
            lines += _entry(name, "one of " + ", ".join(composition.options[group]))
    lines += ["", "Fields, with the values of this configuration:"]
    lines += list(_fields(schema, composition.tree))
    if examples:
        lines += ["", "Examples:"]
        for arguments, text in examples:
            lines += [f"  {prog} {arguments}".rstrip(), *_paragraph(text, indent=6)]
    lines += ["", "Exit codes: 0 done, 1 our fault, 2 input or configuration, 3 NaN or infinite"]
    lines += [
        "values, 4 environment, 143 stopped by a signal. SCIMIND_TRACEBACK=1 shows tracebacks."
    ]
    return "\n".join(lines)


def _fields(schema: type, tree: Mapping[str, Any]) -> Iterator[str]:
    for field in walk(schema):
        if nested_schema(field.kind) is not None:
            yield from _paragraph(f"{field.path}: {field.text}", indent=2)
            continue
        value = _lookup(tree, field.path.split("."))
        shown = "(required)" if value == REQUIRED else _shown(value)
        text = f"{field.text.rstrip('.')} ({in_words(field.kind)})"
        yield from _entry(f"{field.path}={shown}", text, indent=4 if "." in field.path else 2)


def _lookup(tree: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_shown(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_shown(item)}" for key, item in value.items()) + "}"
    return plain_text(value)


def _entry(name: str, text: str, indent: int = 2) -> list[str]:
    start = " " * indent + name
    first, *rest = _paragraph(text, indent=COLUMN)
    if len(start) >= COLUMN - 1:
        return [start, first, *rest]
    return [start.ljust(COLUMN) + first.lstrip(), *rest]


def _paragraph(text: str, *, indent: int) -> list[str]:
    pad = " " * indent
    lines: list[str] = []
    for block in text.split("\n\n"):
        words = " ".join(block.split())
        lines += textwrap.wrap(words, WIDTH, initial_indent=pad, subsequent_indent=pad)
    return lines or [pad]

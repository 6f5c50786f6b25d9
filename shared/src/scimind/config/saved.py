"""The resolved configuration beside each run: written once, read back equal."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from scimind.config.binding import bind
from scimind.config.composition import override_values
from scimind.config.schema import to_plain
from scimind.errors import ConfigError

T = TypeVar("T")

MAX_BYTES = 1 << 20
MAX_DEPTH = 64


def save_resolved(config: Any, path: str | Path) -> None:
    """Write a configuration dataclass as plain YAML.

    Args:
        config: Instance of a schema.
        path: File to write; its folder is created.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding="utf-8")


def load_resolved(path: str | Path, schema: type[T], overrides: Sequence[str] = ()) -> T:
    """Read what `save_resolved` wrote, and change single fields of it.

    Args:
        path: The YAML file.
        schema: The dataclass it was made from.
        overrides: ``key=value`` for fields; groups are no longer known in a resolved file.

    Returns:
        A configuration equal to the saved one, but for the overrides.

    Raises:
        ConfigError: The file is missing, too large, not plain YAML, or does not fit the schema.
    """
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no mapping of keys; a saved configuration does")
    for keys, value in override_values(overrides, schema):
        node = tree
        for key in keys[:-1]:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[keys[-1]] = value
    return bind(tree, schema, source=str(path))


def read_yaml(path: str | Path) -> Any:
    """Parse one YAML file of mappings, lists and scalars.

    Tags that build objects, anchors and aliases (which can grow without bound), repeated keys,
    more than 64 levels and files over 1 MiB are refused.

    Raises:
        ConfigError: With the file and, where known, the line.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    if size > MAX_BYTES:
        raise ConfigError(f"{path} has {size} bytes; a configuration has at most {MAX_BYTES}")
    try:
        loader = _PlainLoader(data.decode("utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: not plain YAML: {error.problem}") from error
    except (yaml.YAMLError, ValueError, TypeError, KeyError, OverflowError) as error:
        # SafeLoader lets these escape from scalars such as "0b" and from keys that are lists.
        raise ConfigError(f"{path}: not plain YAML: {error}") from error


class _PlainLoader(yaml.SafeLoader):
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not accepted", event.start_mark
            )
        if self.depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAX_DEPTH} levels", event.start_mark
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# Dates stay text: no schema has a date, and a folder may be called 2026-01-01.
_PlainLoader.yaml_implicit_resolvers = {
    first: [entry for entry in entries if entry[0] != "tag:yaml.org,2002:timestamp"]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

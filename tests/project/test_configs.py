from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from product import PACKAGES, commands
from scimind.cli import Command
from scimind.config import ConfigSource, bind, compose_tree, walk
from scimind.config.schema import REQUIRED, alternatives
from scimind.errors import ConfigError

COMMANDS = commands()
# Options of groups that several verbs share are composed with each of them.
OPTIONS = [
    (module, group, option)
    for module, command in COMMANDS.items()
    for group, options in compose_tree(
        ConfigSource(package=command.config_package, name=command.config_name), [], command.schema
    ).options.items()
    for option in options
]


def composed(command: Command, overrides: list[str]) -> Any:
    """The checked configuration, with any value where one is required."""
    source = ConfigSource(package=command.config_package, name=command.config_name)
    tree = compose_tree(source, overrides, command.schema).tree
    for field in walk(command.schema):
        *parents, last = field.path.split(".")
        node: Any = tree
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if isinstance(node, dict) and node.get(last) == REQUIRED:
            assert str in alternatives(field.kind), f"{field.path} is required but is no text"
            node[last] = "given by the user"
    return bind(tree, command.schema)


@pytest.mark.parametrize("module", COMMANDS)
def test_the_primary_file_of_a_verb_composes(module: str) -> None:
    assert isinstance(composed(COMMANDS[module], []), COMMANDS[module].schema)


@pytest.mark.parametrize(("module", "group", "option"), OPTIONS)
def test_every_option_of_every_group_composes(module: str, group: str, option: str) -> None:
    command = COMMANDS[module]
    keys = {field.path for field in walk(command.schema)} | {"experiment", "hydra"}
    if group.partition("/")[0] not in keys:
        pytest.skip(f"{module} has no {group}")
    try:
        composed(command, [f"{group}={option}"])
    except ConfigError as error:
        # An experiment of another verb names a group that this one does not list.
        if group == "experiment" and "In 'experiment" in str(error):
            pytest.skip(f"experiment {option} belongs to another verb")
        raise


def test_no_option_is_out_of_reach_of_every_verb() -> None:
    for package in PACKAGES:
        verbs = [command for module, command in COMMANDS.items() if module.startswith(package)]
        keys = {field.path for command in verbs for field in walk(command.schema)}
        options = {
            (group, option) for module, group, option in OPTIONS if module.startswith(package)
        }
        groups = {group for group, _ in options if "/" not in group}
        assert groups <= keys | {"experiment"}, groups - keys


@pytest.mark.parametrize("package", PACKAGES)
def test_every_yaml_file_is_a_verb_or_an_option(root: Path, package: str) -> None:
    tree = root / "configs" / package
    verbs = {
        command.config_name for module, command in COMMANDS.items() if module.startswith(package)
    }
    primary = {path.stem for path in tree.glob("*.yaml")}
    assert primary == verbs
    assert not list((root / "configs").rglob("*.yml")), "Hydra reads .yaml only"


@pytest.mark.parametrize("module", COMMANDS)
def test_every_field_is_explained(module: str) -> None:
    silent = [field.path for field in walk(COMMANDS[module].schema) if not field.text]
    assert silent == []

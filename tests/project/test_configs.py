from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from product import FINISHED, PACKAGES, commands
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


@pytest.mark.parametrize(
    ("package", "group", "option"),
    sorted(
        {
            (package, group, option)
            for module, group, option in OPTIONS
            # one without training has no verb for the shared groups of training
            if (package := module.partition(".")[0]) in FINISHED
        }
    ),
)
def test_every_option_composes_with_a_verb_that_has_its_group(
    package: str, group: str, option: str
) -> None:
    refusals = []
    for module, command in COMMANDS.items():
        if module.startswith(package):
            try:
                composed(command, [f"{group}={option}"])
            except ConfigError as error:
                refusals.append(f"{module}: {error}")
            else:
                return
    pytest.fail("\n".join(refusals))


@pytest.mark.parametrize("module", COMMANDS)
def test_every_listed_option_composes(module: str) -> None:
    command = COMMANDS[module]
    source = ConfigSource(package=command.config_package, name=command.config_name)
    composition = compose_tree(source, [], command.schema)
    for group in composition.chosen:
        for option in composition.options[group]:
            composed(command, [f"{group}={option}"])


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

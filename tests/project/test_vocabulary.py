from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from product import FINISHED, UNFINISHED, VERBS, commands

MODULES = ("config", "data", "model", "losses", "metrics", "tasks", *VERBS)
SIZES = {"tiny", "small", "base", "large"}
FIELDS = {"seed", "output", "device", "precision", "deterministic", "threads", "log"}


@pytest.mark.parametrize("package", FINISHED)
@pytest.mark.parametrize("module", MODULES)
def test_every_package_has_the_modules_of_the_common_vocabulary(package: str, module: str) -> None:
    assert importlib.util.find_spec(f"{package}.{module}") is not None


@pytest.mark.parametrize("package", FINISHED)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_command_line_and_is_called_what_it_is(package: str, verb: str) -> None:
    command = commands()[f"{package}.{verb}"]
    assert command.config_name == verb
    assert command.config_package == f"{package}.configs"
    assert command.prog == f"python -m {package}.{verb}"
    assert set(FIELDS) <= set(command.schema.__dataclass_fields__)


@pytest.mark.parametrize("package", FINISHED)
def test_presets_have_the_same_names_everywhere(root: Path, package: str) -> None:
    tree = root / "configs" / package
    assert {path.stem for path in (tree / "model").glob("*.yaml")} >= SIZES
    assert (tree / "experiment" / "smoke.yaml").is_file()


@pytest.mark.parametrize("package", sorted(UNFINISHED))
def test_what_is_unfinished_is_said_to_be(root: Path, package: str) -> None:
    assert importlib.util.find_spec(f"{package}.train") is None, "then it is finished"
    lines = (root / "README.md").read_text(encoding="utf-8").splitlines()
    assert any(f"`{package}`" in line and "not here yet" in line for line in lines)


def test_no_module_is_named_after_nothing(root: Path) -> None:
    empty = {"utils", "util", "helper", "helpers", "misc", "common", "tools"}
    sources = [*root.glob("packages/*/src/**/*.py"), *root.glob("shared/src/**/*.py")]
    assert sources
    assert [path for path in sources if path.stem in empty or path.parent.name in empty] == []


def test_tests_do_not_shadow_packages(root: Path) -> None:
    inits = [path for path in (root / "tests").rglob("__init__.py") if "support" not in path.parts]
    assert inits == []

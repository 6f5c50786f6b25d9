"""Tests that the documentation names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows() -> dict[str, list[str]]:
    """Names of the tests in each row of the table of checks."""
    text = (ROOT / "docs" / "dae_solver.md").read_text(encoding="utf-8")
    _, _, section = text.partition("## Checks\n")
    table = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in table[2:]]
    return {what: re.findall(r"`([^`]+)`", tests) for what, tests in cells}


def test_every_kind_of_mistake_has_a_test() -> None:
    assert len(rows()) == 21
    assert all(rows().values())


@pytest.mark.parametrize("what", rows())
def test_every_test_that_is_named_exists(what: str) -> None:
    for name in rows()[what]:
        path, _, function = name.partition("::")
        tree = ast.parse((Path(__file__).parent / path).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert function in defined, name

"""The benchmark of operators covers what is declared, on both sides."""

from __future__ import annotations

import ast
import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scimind.ops import OPERATORS

KERNELS = [name for name, entry in OPERATORS.items() if entry.kernels]


@pytest.fixture(scope="module")
def parts(root: Path) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "benchmarks"))
        names = ("cases", "declared", "values", "work")
        return {name: importlib.import_module(f"operator_workers.{name}") for name in names}


def measured(parts: dict[str, Any]) -> set[str]:
    return {case.operator for case in parts["declared"].all_cases([], quick=True)}


def module(root: Path, name: str) -> ast.Module:
    """A module of a worker, read but not imported."""
    path = root / "benchmarks" / "operator_workers" / name
    return ast.parse(path.read_text(encoding="utf-8"))


def keys(tree: ast.Module, name: str) -> set[str]:
    """The keys of a dictionary of a module."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return set(ast.literal_eval(ast.List(elts=node.value.keys, ctx=ast.Load())))
    raise AssertionError(f"no {name}")


@pytest.mark.parametrize("name", KERNELS)
def test_every_operator_with_a_kernel_is_measured_at_its_sizes(
    parts: dict[str, Any], name: str
) -> None:
    entry = OPERATORS[name]
    cases = parts["declared"].cases_of(entry, quick=False)
    assert len(cases) >= len(entry.sizes) >= 3
    for case in cases:
        given = tuple(
            tensor and (tensor.shape, {"float": "float32", "int": "int32", "bool": "bool"}[family])
            for tensor, family in (
                (case.tensors[rule.name], rule.family) for rule in entry.rule.tensors
            )
        )
        entry.rule.check(given, tuple(case.options.values()))
        assert 1 <= case.calls <= parts["work"].MOST_CALLS
        assert 1 <= parts["work"].few_calls(case) <= case.calls
        for least in parts["work"].least_work(case).values():
            assert least.bytes > 0
            assert least.flops >= 0


def test_values_have_the_shapes_of_the_case_and_survive_the_way_to_a_worker(
    parts: dict[str, Any],
) -> None:
    for case in parts["declared"].all_cases([], quick=True):
        again = type(case).of(json.loads(json.dumps(case.message())))
        assert parts["work"].least_work(again) == parts["work"].least_work(case)
        for name, value in parts["values"].values(again, 1).items():
            tensor = case.tensors[name]
            assert (value is None) == (tensor is None)
            if tensor is not None:
                assert value.shape == tensor.shape, f"{case}: {name}"
                assert value.dtype == {"float": np.float32, "int": np.int32}.get(
                    tensor.family, np.bool_
                )


def test_work_is_that_of_the_textbook(parts: dict[str, Any]) -> None:
    size = {"batch": (3,), "in": 5, "out": 7}
    entry = OPERATORS["linear"]
    case = parts["declared"].case_of(entry, parts["cases"].Variant(), size)
    least = parts["work"].least_work(case)["forward"]
    assert least.flops == 3 * 7 * (2 * 5 + 1)
    assert least.bytes == 4 * (3 * 5 + 7 * 5 + 7 + 3 * 7)


def test_every_measured_operator_has_a_call_in_pytorch(parts: dict[str, Any], root: Path) -> None:
    tree = module(root, "torch_calls.py")
    written = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert measured(parts) - written == set()


def test_it_is_said_of_every_operator_what_mindspore_has(parts: dict[str, Any], root: Path) -> None:
    tree = module(root, "mindspore_own.py")
    own, none = keys(tree, "OWN"), keys(tree, "NONE")
    assert own & none == set()
    assert measured(parts) == own | none


def test_the_results_cover_every_operator_and_name_no_folder(
    parts: dict[str, Any], root: Path
) -> None:
    text = (root / "benchmarks" / "operators.json").read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.:/~-])/(?:work|tmp|root|opt|home|mnt|Users)/", text)
    found = {(row["operator"], row["variant"], row["sizes"]) for row in json.loads(text)["results"]}
    cases = parts["declared"].all_cases([], quick=False)
    wanted = {(case.operator, case.variant, parts["cases"].size_text(case.sizes)) for case in cases}
    assert wanted == found

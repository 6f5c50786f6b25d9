"""What must not be in the product, and why; each rule is tried on a line that breaks it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from product import SOURCES, source_files

UNSAFE_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "torch",
}
UNSAFE_YAML = {"load", "load_all", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"}
Rule = Callable[[ast.AST], bool]


def dotted(node: ast.AST) -> str:
    """``a.b.c`` of a chain of names, or nothing."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else f"?.{node.attr}"
    return ""


def called(node: ast.AST) -> str:
    return dotted(node.func) if isinstance(node, ast.Call) else ""


def keyword(node: ast.AST, name: str) -> object:
    """Value of a constant keyword argument."""
    for argument in node.keywords if isinstance(node, ast.Call) else ():
        if argument.arg == name and isinstance(argument.value, ast.Constant):
            return argument.value.value
    return None


def imports(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in names for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return str(node.module).partition(".")[0] in names
    return False


RULES: dict[str, tuple[Rule, list[str]]] = {
    "unpickling runs whatever the file says": (
        lambda node: imports(node, UNSAFE_MODULES),
        ["import pickle", "from pickle import load", "import torch.nn", "import joblib"],
    ),
    "numpy may unpickle": (
        lambda node: called(node).endswith("load") and keyword(node, "allow_pickle") is True,
        ["import numpy as np; np.load(f, allow_pickle=True)"],
    ),
    "yaml may build any object": (
        lambda node: called(node).startswith("yaml.") and called(node)[5:] in UNSAFE_YAML,
        ["import yaml; yaml.load(f, Loader=L)", "from yaml import full_load; full_load(f)"],
    ),
    "an archive may write outside its folder": (
        lambda node: called(node).endswith((".extractall", ".unpack_archive")),
        ["archive.extractall(p)", "shutil.unpack_archive(a)", "tarfile.open(f).extractall()"],
    ),
    "text is not code": (
        lambda node: called(node) in ("eval", "exec", "compile", "__import__"),
        ["eval(x)", "exec(x)", "__import__(x)"],
    ),
    "a shell reads names of files as commands": (
        lambda node: called(node) in ("os.system", "os.popen") or keyword(node, "shell") is True,
        ["import os; os.system(x)", "subprocess.run(x, shell=True)"],
    ),
    "MindSpore's own save deletes the last good file and its load accepts flipped bits": (
        lambda node: called(node) in ("mindspore.save_checkpoint", "mindspore.load_checkpoint"),
        ["import mindspore as ms; ms.save_checkpoint(net, p)"],
    ),
    "MindSpore's dropout hides its random state: no exact resume": (
        lambda node: dotted(node) in ("mindspore.nn.Dropout", "mindspore.ops.dropout"),
        [
            "from mindspore import nn; nn.Dropout(p=0.1)",
            "from mindspore import ops; ops.dropout(x)",
        ],
    ),
    "capture_mode='trace' freezes parameters": (
        lambda node: keyword(node, "capture_mode") == "trace",
        ["ms.jit(f, capture_mode='trace')"],
    ),
}
# Allowed in scimind.ops, which knows what each backend has.
RULES_OUTSIDE_OPS: dict[str, tuple[Rule, list[str]]] = {
    "many mindspore.mint operators are missing on CPU": (
        lambda node: dotted(node) == "mindspore.mint",
        [
            "from mindspore import mint; mint.add(x, y)",
            "import mindspore.mint as m; m.add(x, y)",
            "import mindspore as ms; ms.mint.add(x, y)",
        ],
    ),
    "einsum is missing on CPU": (
        lambda node: dotted(node) == "mindspore.ops.einsum",
        ["from mindspore import ops; ops.einsum('ij->ji', x)"],
    ),
}
ALL = RULES | RULES_OUTSIDE_OPS
HARMLESS = [
    "import yaml; yaml.safe_load(f)",
    "import numpy as np; np.load(f, allow_pickle=False)",
    "import numpy as np; np.einsum('ij->ji', x)",
    "from scimind import ops; ops.dropout(x, key, rate)",
    "import re; re.compile(p)",
    "import mindspore as ms; ms.jit(f)",
    "subprocess.run(['ls'])",
]


def with_full_names(tree: ast.AST) -> ast.AST:
    """The tree with ``ms`` as ``mindspore`` where that is how it was imported."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return tree


def breaches(tree: ast.AST, rules: dict[str, tuple[Rule, list[str]]]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(with_full_names(tree)):
        for reason, (broken, _) in rules.items():
            if broken(node):
                yield getattr(node, "lineno", 0), reason


@pytest.mark.parametrize(
    ("reason", "line"), [(reason, line) for reason, (_, lines) in ALL.items() for line in lines]
)
def test_each_rule_finds_what_it_forbids(reason: str, line: str) -> None:
    assert reason in {found for _, found in breaches(ast.parse(line), ALL)}


@pytest.mark.parametrize("line", HARMLESS)
def test_no_rule_forbids_the_safe_way(line: str) -> None:
    assert list(breaches(ast.parse(line), ALL)) == []


@pytest.mark.parametrize("package", SOURCES)
def test_the_product_keeps_the_rules(package: str) -> None:
    found = []
    for path in source_files(package):
        rules = RULES if path.is_relative_to(SOURCES["scimind"] / "ops") else ALL
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{path}:{line}: {reason}" for line, reason in breaches(tree, rules)]
    assert found == []


def test_benchmarks_and_examples_read_files_safely_too(root: Path) -> None:
    rules = {
        reason: RULES[reason] for reason in ("numpy may unpickle", "yaml may build any object")
    }
    found = []
    for folder in ("benchmarks", "examples"):
        for path in (root / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found += [f"{path}:{line}: {reason}" for line, reason in breaches(tree, rules)]
    assert found == []

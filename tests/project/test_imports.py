from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from product import PACKAGES, SOURCES, commands, source_files

HELP_CPU_SECONDS = 1.5


def imported_names(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at any depth of nesting."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def roots(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_names(path)}


@pytest.mark.parametrize("package", SOURCES)
def test_a_package_imports_the_shared_library_and_no_other_package(package: str) -> None:
    others = set(PACKAGES) - {package}
    for path in source_files(package):
        assert not roots(path) & others, path


@pytest.mark.parametrize("package", SOURCES)
def test_product_code_imports_no_torch_and_nothing_that_is_only_for_tests(package: str) -> None:
    banned = {"torch", "torchvision", "tensorflow", "jax", "pytest", "hypothesis", "beartype"}
    banned |= {"andes", "kvxopt"}  # of another licence
    for path in source_files(package):
        assert not roots(path) & banned, path


@pytest.mark.parametrize("package", SOURCES)
def test_only_one_module_imports_jaxtyping(package: str) -> None:
    users = [path for path in source_files(package) if "jaxtyping" in roots(path)]
    assert users == ([SOURCES["scimind"] / "typing.py"] if package == "scimind" else [])


def test_the_layers_of_pyproject_hold(root: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([linter], cwd=root, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


def loaded_after(code: str) -> tuple[list[str], float]:
    """Heavy modules that a fresh interpreter has loaded after ``code``, and its CPU seconds."""
    heavy = (
        "('mindspore', 'pandas', 'rdkit', 'biotite', 'Bio', 'gemmi', 'matplotlib', 'sklearn', "
        "'scipy', 'sympy')"
    )
    report = (
        f"import sys, time; print(); print([m for m in {heavy} if m in sys.modules]); "
        "print(time.process_time())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stderr
    *_, modules, seconds = answer.stdout.splitlines()
    return ast.literal_eval(modules), float(seconds)


@pytest.mark.parametrize("package", SOURCES)
def test_importing_a_package_is_light(package: str) -> None:
    modules, seconds = loaded_after(f"import {package}")
    assert modules == []
    assert seconds < 1.0


@pytest.mark.parametrize("module", commands())
def test_help_is_light(module: str) -> None:
    code = f"from {module} import main; assert main(['--help']) == 0"
    modules, seconds = loaded_after(code)
    assert modules == []
    assert seconds < HELP_CPU_SECONDS

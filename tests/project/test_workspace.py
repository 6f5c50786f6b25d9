from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from product import PACKAGES

MEMBERS = ["shared", *(f"packages/{name}" for name in PACKAGES)]


def metadata(root: Path, member: str) -> dict[str, Any]:
    project = tomllib.loads((root / member / "pyproject.toml").read_text(encoding="utf-8"))
    return dict(project["project"])


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_can_be_published_alone(root: Path, member: str) -> None:
    folder = root / member
    assert not (folder / "LICENSE").is_symlink(), "a link to a file breaks the source distribution"
    assert (folder / "LICENSE").read_bytes() == (root / "LICENSE").read_bytes()
    project = metadata(root, member)
    assert f"[{project['version']}]" in (folder / "CHANGELOG.md").read_text(encoding="utf-8")
    assert len((folder / "README.md").read_text(encoding="utf-8")) > 200


@pytest.mark.parametrize("member", MEMBERS)
def test_no_member_asks_for_what_no_index_has(root: Path, member: str) -> None:
    wanted = " ".join(metadata(root, member)["dependencies"])
    assert not re.search(r"\b(mindsponge|torch)\b", wanted)
    assert " @ " not in wanted


def test_every_member_is_built_for_the_same_pythons(root: Path) -> None:
    assert len({metadata(root, member)["requires-python"] for member in MEMBERS}) == 1


def test_versions_and_titles_agree_with_the_citation(root: Path) -> None:
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {metadata(root, 'shared')['version']}" in citation


@pytest.mark.parametrize("script", [".ci/run", "scripts/setup", "scripts/train", "scripts/test"])
def test_scripts_are_executable_and_parse(root: Path, script: str) -> None:
    path = root / script
    assert path.stat().st_mode & 0o111
    shell = path.read_text(encoding="utf-8").splitlines()[0].rsplit("/", 1)[-1].split()[-1]
    subprocess.run([shell, "-n", str(path)], check=True)


def test_an_unknown_stage_is_refused(root: Path) -> None:
    answer = subprocess.run(
        [root / "scripts/test", "nonsense"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert "unknown stage nonsense" in answer.stderr


def test_the_readme_commands_are_the_scripts(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    assert re.search(r"^scripts/train$", text, re.MULTILINE)
    assert re.search(r"^scripts/test$", text, re.MULTILINE)
    assert "exec scripts/test" in (root / ".ci/run").read_text(encoding="utf-8")

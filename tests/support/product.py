"""The product's sources and commands, as the tests of tests/project look at them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from scimind.cli import Command
from scimind.config import RunConfig

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    "scimind": ROOT / "shared" / "src" / "scimind",
    **{path.name: path for path in sorted(ROOT.glob("packages/*/src/*")) if path.is_dir()},
}
PACKAGES = [name for name in SOURCES if name != "scimind"]
# Packages that lack verbs of the common vocabulary; README.md says so.
UNFINISHED: set[str] = set()
FINISHED = [name for name in PACKAGES if name not in UNFINISHED]
VERBS = ("train", "evaluate", "predict")


def source_files(package: str) -> list[Path]:
    """Python files of one import name, without the YAML tree that is linked into it."""
    folder = SOURCES[package]
    return sorted(path for path in folder.rglob("*.py") if "configs" not in path.parts)


def commands() -> dict[str, Command[RunConfig]]:
    """Module name of every verb with a command line, and its ``main``."""
    found = {}
    for package in PACKAGES:
        for path in sorted(SOURCES[package].glob("*.py")):
            # Read before it is imported: only verbs promise to be light.
            if re.search(r"^main = command\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                name = f"{package}.{path.stem}"
                found[name] = importlib.import_module(name).main
    return found

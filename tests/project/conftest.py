from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tracked(root: Path) -> list[Path]:
    """The files that are published: those git knows, and new ones that it does not ignore."""
    if not (root / ".git").exists():
        pytest.skip("not a git checkout: which files are published is unknown")
    answer = subprocess.run(
        ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in answer.stdout.split("\0") if name]
    return [root / name for name in names if (root / name).is_file()]

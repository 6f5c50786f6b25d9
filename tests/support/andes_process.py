"""ANDES in a process of its own: it is GPL and no dependency of ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest


def andes_python() -> str:
    """The Python that has ANDES; skips the test without one."""
    python = os.environ.get("SCIMIND_ANDES_PYTHON", "")
    if not python:
        pytest.skip("SCIMIND_ANDES_PYTHON is unset: it names a Python with ANDES")
    return python


def andes(*arguments: Any) -> None:
    """Run ``andes_runs.py``, which says what the arguments are."""
    script = Path(__file__).with_name("andes_runs.py")
    subprocess.run([andes_python(), str(script), *map(str, arguments)], check=True)

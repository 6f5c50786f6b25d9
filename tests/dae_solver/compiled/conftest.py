"""The grid of most of these tests."""

from __future__ import annotations

import os
import shutil

import pytest

from dae_solver.physics import PowerSystem
from scimind.device.compiler import enabled


@pytest.fixture(scope="session", autouse=True)
def _compiler() -> None:
    if not enabled() or shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("equations are compiled by g++, unless SCIMIND_KERNELS=plain")


@pytest.fixture(scope="module")
def wscc() -> PowerSystem:
    return PowerSystem.load("wscc9")

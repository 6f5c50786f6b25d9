"""The grid of most of these tests."""

from __future__ import annotations

import pytest

from dae_solver.physics import PowerSystem


@pytest.fixture(scope="module")
def wscc() -> PowerSystem:
    return PowerSystem.load("wscc9")

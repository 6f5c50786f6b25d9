"""MindSpore as these tests use it."""

from __future__ import annotations

import pytest

from scimind.device.setup import setup


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    setup(threads=1)

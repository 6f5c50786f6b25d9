"""Settings of the tests that run the network."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def runtime() -> None:
    """MindSpore on one thread, eager: small networks need no compilation."""
    from scimind import device

    device.setup("cpu", threads=1)

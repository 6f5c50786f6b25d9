"""The device is set before anything runs on it."""

import pytest

from scimind import device


@pytest.fixture(scope="session", autouse=True)
def _runtime():
    device.setup("cpu", threads=1)

"""One configured device for the in-process training tests."""

import pytest

from scimind.device import setup


@pytest.fixture(scope="session", autouse=True)
def cpu():
    setup("cpu", threads=1)

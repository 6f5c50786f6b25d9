"""Settings that every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

import sampled_checks

sampled_checks.install()

# A shared machine may be several times slower at bad moments: time limits belong to pytest-timeout.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("exploring", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that processes that share the files end together."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets, laid out as README.md says; skips the test without it."""
    folder = os.environ.get("SCIMIND_DATA", "")
    if not folder:
        pytest.skip("SCIMIND_DATA is unset: it names the folder of the real data sets")
    path = Path(folder)
    assert path.is_dir(), f"SCIMIND_DATA={folder} is not a folder"
    return path

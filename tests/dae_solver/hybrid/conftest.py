"""A small operator, trained once for the tests of the hybrid solver."""

from __future__ import annotations

import pytest

from trained_operator import Trained, train_small


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An operator with its certificate, and scenarios on a line that it never saw."""
    return train_small(tmp_path_factory.mktemp("operator"))

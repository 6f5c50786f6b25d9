"""A small operator, trained once for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_once import folder_of_run, made_once
from trained_operator import Trained, load_small, small_config, train_small


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training, as ``python -m dae_solver.train`` leaves it."""
    return made_once(
        folder_of_run(tmp_path_factory) / "trained_operator",
        lambda folder: train_small(folder, small_config(400)),
    )


@pytest.fixture(scope="session")
def trained(trained_run: Path) -> Trained:
    """An operator with its certificate, and scenarios on lines that it never saw."""
    return load_small(trained_run)

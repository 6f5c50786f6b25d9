"""A small operator, trained once for all tests that need one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scimind.config import save_resolved
from trained_operator import Trained, train_small


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """An operator with its certificate, and scenarios on a line that it never saw."""
    return train_small(tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="session")
def trained_run(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a run folder of ``python -m dae_solver.train``."""
    folder = tmp_path_factory.mktemp("training")
    trained.operator.save(folder / "operator.safetensors")
    save_resolved(trained.config, folder / "config.yaml")
    spent = {"cpu_seconds": {"simulation": 5.0, "training": 10.0, "calibration": 1.5}}
    (folder / "results.json").write_text(json.dumps(spent))
    return folder

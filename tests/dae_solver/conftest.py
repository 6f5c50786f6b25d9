"""An operator that is trained once for all tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a small training: poor networks, and a certificate that knows it."""
    from dae_solver.train import main

    folder = tmp_path_factory.mktemp("training") / "run"
    settings = [
        "experiment=smoke",
        f"output={folder}",
        "steps=60",
        "evaluate_every=60",
        "pool=200",
        "batch=64",
        "alpha=0.1",
        "model.modes=30",
        "model.width=32",
        "data.scenarios=60",
        "data.calibration=30",
        "data.test=8",
        "log.tensorboard=false",
    ]
    assert main(settings) == 0
    return folder

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = '''
"""A verb with a command line, as the packages have them."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from dataclasses import dataclass, field

from scimind import provenance
from scimind.cli import command
from scimind.config import RunConfig
from scimind.errors import InputError, NumericsError


@dataclass(kw_only=True)
class ModelConfig:
    """Size of the network.

    Attributes:
        width: Channels of every layer, a number with quite a long description so that
            it needs a second line.
    """

    width: int = 16


@dataclass(kw_only=True)
class WorkConfig(RunConfig):
    """What to do.

    Attributes:
        steps: Number of updates.
        fail: How to fail.
        model: The network.
    """

    steps: int = 3
    fail: str = ""
    model: ModelConfig = field(default_factory=ModelConfig)


def work(config: WorkConfig) -> int | None:
    """Work for a while.

    Args:
        config: What to do.
    """
    logging.getLogger("scimind.work").info("seed %d", config.seed)
    logging.getLogger("scimind.work").debug("details")
    logging.getLogger("other").info("chatter")
    provenance.write(config.output, config)
    if config.fail == "input":
        raise InputError("no such residue", path="a.cif", line=3, rule="cif.residue")
    if config.fail == "numerics":
        raise NumericsError("loss is NaN at step 3; lower the learning rate")
    if config.fail == "bug":
        return {}["missing"]
    if config.fail == "memory":
        raise MemoryError
    if config.fail == "code":
        return 7
    if config.fail == "warn":
        warnings.warn("look out")
    if config.fail == "sleep":
        print("asleep", flush=True)
        time.sleep(60)
    provenance.finish(config.output)


main = command(
    work,
    schema=WorkConfig,
    config_package="toy.configs",
    config_name="work",
    prog="python -m toy.work",
    examples=[("model=wide", "a wider network")],
)

if __name__ == "__main__":
    sys.exit(main())
'''

Runner = Callable[..., subprocess.CompletedProcess[str]]


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without variables that change what a command prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SCIMIND_")}
    return {**kept, **extra}


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that holds the package ``toy``."""
    root = tmp_path_factory.mktemp("package")
    groups = root / "toy" / "configs" / "model"
    groups.mkdir(parents=True)
    (root / "toy" / "__init__.py").touch()
    (root / "toy" / "work.py").write_text(PROGRAM, encoding="utf-8")
    (groups.parent / "__init__.py").touch()
    (groups.parent / "work.yaml").write_text("defaults: [_self_, {model: narrow}]\n")
    (groups / "narrow.yaml").write_text("width: 8\n")
    (groups / "wide.yaml").write_text("width: 64\n")
    return root


@pytest.fixture
def run(toy: Path, tmp_path: Path) -> Runner:
    """Runs ``python -m toy.work`` in an empty folder."""

    def call(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "toy.work", *arguments],
            cwd=tmp_path,
            env=clean_environment(PYTHONPATH=str(toy), **extra),
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    return call

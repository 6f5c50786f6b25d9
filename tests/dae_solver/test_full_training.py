"""The trainings that the documentation speaks of, against the gates of the solver. Nightly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dae_solver.compiled.dae import IN_TILES
from dae_solver.physics.io.native import write_native
from every_line import on_every_line
from outcomes import RESULTS, keep
from power_cases import reference_case

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(6 * 3600)]

NEW_ENGLAND = ("load=zip 0.4 0.3 0.3", "model=small", "data.scenarios=7000", "steps=36000")


def trained(folder: Path, *settings: str) -> dict[str, Any]:
    """Train as the command does; its results."""
    command = [sys.executable, "-m", "dae_solver.train", f"output={folder}", "log.progress=false"]
    done = subprocess.run([*command, *settings], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return {**found, "every_line": on_every_line(folder, each=200)}


def check_gates(results: dict[str, Any]) -> None:
    """Right within what was asked for, and cheaper than the classical engine where that pays."""
    fast, tight = results["scores"]
    assert (fast["bound"], tight["bound"]) == (3.0, 0.1)
    for score in results["scores"]:
        assert score["scenarios"] == 1000
        assert score["above_bound"] <= promised(score["scenarios"])
    for found in results["every_line"]:
        assert found["above_certificate"] <= promised(found["scenarios"])
        assert found["without_bound"] <= 1e-3 * found["scenarios"]
    assert fast["flagged"] <= 0.2
    # Against the same engine in NumPy, which anybody has, and as it is compiled here.
    assert fast["faster"] >= 10.0
    assert fast["faster_than_compiled"] >= (2.0 if results["networks"] == IN_TILES else 1.2)


def promised(scenarios: int) -> float:
    """Of so many a thousandth, and three standard deviations of the sample."""
    share = 1e-3 * scenarios
    return share + 3.0 * share**0.5


# What was chosen while the solver was made was chosen with the lines of the first three seeds in
# sight.
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_nine_bus_system(seed: int, tmp_path: Path) -> None:
    settings = (f"seed={seed}",) if seed else ()
    results = trained(tmp_path / "run", *settings)
    kept("wscc9", seed, results, *settings)
    check_gates(results)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_new_england_system(seed: int, tmp_path: Path, real_data: Path) -> None:
    case = tmp_path / "ieee39.json"
    write_native(reference_case(real_data / "dae_solver" / "ieee39.json"), case)
    settings = (*NEW_ENGLAND, *((f"seed={seed}",) if seed else ()))
    results = trained(tmp_path / "run", f"case={case}", *settings)
    kept("ieee39", seed, results, "case=ieee39.json", *settings)
    check_gates(results)


def kept(grid: str, seed: int, results: dict[str, Any], *settings: str) -> None:
    """Write the outcome to its place among the results."""
    shown = [each if " " not in each else repr(each) for each in settings]
    command = " ".join(["python -m dae_solver.train", *shown])
    name = f"{grid}, seed {seed}" if seed else grid
    keep(RESULTS / "dae_training.json", name, {**results, "seed": seed}, command=command)

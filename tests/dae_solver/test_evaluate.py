"""Benchmarks: their scenarios, baselines, result files, and what they refuse."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dae_solver.evaluate import main as evaluate
from dae_solver.evaluate import table
from dae_solver.physics import PowerSystem
from dae_solver.physics.phrases import KINDS
from dae_solver.tasks.catalogue import make_task
from dae_solver.tasks.drawn import kinds
from dae_solver.tasks.solvers import RungeKutta
from dae_solver.tasks.stored import StoredIeee39, StoredWscc9
from dae_solver.tasks.transients import Settings
from dae_solver.trained import Trained
from scimind.errors import ConfigError, InputError
from scimind.eval import ModelFacts, Result, run


@pytest.fixture(scope="module")
def settings(trained_run: Path) -> Settings:
    return Settings(
        trained=Trained.load(trained_run), scenarios=12, seed=0, certify=3.0, nearest=30
    )


def test_the_command_writes_results_with_all_baselines(trained_run: Path, tmp_path: Path) -> None:
    code = evaluate(
        [
            f"operator={trained_run}",
            f"output={tmp_path}",
            "task=[unseen_lines,every_kind]",
            "scenarios=12",
            "nearest=30",
            "resamples=100",
        ]
    )
    assert code == 0
    for name in ("unseen_lines", "every_kind"):
        result = Result.load(tmp_path / "results" / f"{name}.json")
        assert (result.items, result.excluded, result.rejected) == (12, 0, [])
        rows = {row.name: row for row in result.baselines}
        assert [row.kind for row in result.baselines].count("trivial") == 1
        fine, coarse = rows["RK4, 1/30 s"], rows["RK4, 1/15 s"]
        nearest = rows["nearest of 30 training trajectories (operator: 300)"]
        errors = [row.metrics["angle_p90"].value for row in (fine, coarse, nearest)]
        assert errors == sorted(errors)
        assert errors[0] < 0.1 < errors[2]
        assert result.metrics["coverage"].value is not None
        assert fine.metrics["coverage"].value is None, "Runge-Kutta gives no certificate"
        interval = result.metrics["angle_p90"]
        assert interval.ci_low <= interval.value <= interval.ci_high
        assert "0 scenarios excluded" in table(result)
    assert "never saw: 6-9; wscc9: 12 scenarios" in (tmp_path / "table.txt").read_text()
    assert (tmp_path / "report.html").is_file()


def test_tight_trajectories_have_no_error(settings: Settings) -> None:
    task = make_task("seen_lines", settings)
    task.t_end = 2.0  # the last event is before
    solver = RungeKutta(grid=task.grid, step=1 / 240, tolerance=1e-10)
    facts = ModelFacts(model="reference", parameters=0)
    result = run(task, solver, Path(), facts, resamples=100).result
    for name in ("angle_max", "voltage_max", "separation_max", "separation_wrong", "above_bound"):
        assert result.metrics[name].value == 0.0


def test_scenarios_follow_from_the_seed_alone(settings: Settings) -> None:
    def digest(**changed: object) -> str:
        task = make_task("seen_lines", replace(settings, **changed))
        task.t_end = 0.1  # scenarios do not depend on how long they are watched
        return task.load(Path()).digest

    assert digest() == digest(certify=0.1, nearest=10)
    assert len({digest(), digest(seed=1), digest(scenarios=11)}) == 3


def test_groups_hold_what_they_say(settings: Settings) -> None:
    trained = settings.trained
    lines = {trained.grid.case.branches[k].id for k in trained.untouched}
    low, high = trained.known_settings().data.load_level
    assert lines
    assert lines.isdisjoint(trained.grid.case.branches[k].id for k in trained.lines.trained)
    apart = 1.0 + trained.known_settings().data.load_apart
    unseen = make_task("unseen_loads", settings)
    drawn = unseen.draw(trained.known_settings().data, np.random.default_rng(0), 40)
    level = drawn.load_factor
    assert (level[:, :20] <= low * apart).all()
    assert (level[:, 20:] >= high / apart).all()
    drawn = make_task("unseen_lines", settings).draw(
        trained.known_settings().data, np.random.default_rng(0), 30
    )
    opened = {name for text in drawn.texts if "line" in text for name in [text.split()[1]]}
    assert opened == lines


def test_every_kind_of_disturbance_occurs(settings: Settings) -> None:
    grid, data = settings.trained.grid, settings.trained.known_settings().data
    rng = np.random.default_rng(0)
    drawn = [kinds(grid, settings.trained.lines.every, data, rng, k) for k in range(24)]
    found = Counter(each.kind for one in drawn for each in one)
    wanted = {"fault_trip", *KINDS} - {"unsuccessful_reclose"}
    assert wanted <= set(found)
    assert any("reclosed after" in each.text for one in drawn for each in one)
    assert sum(len(one) == 2 for one in drawn) == 4


def test_stored_trajectories_are_those_of_the_built_in_system(
    settings: Settings, real_data: Path
) -> None:
    task = StoredWscc9(settings)
    solver = RungeKutta(grid=task.grid, step=1 / 120, tolerance=1e-8)
    facts = ModelFacts(model="tight", parameters=0)
    result = run(task, solver, real_data, facts, resamples=100).result
    assert result.items == 24
    assert result.metrics["angle_max"].value < 1e-3
    assert result.metrics["voltage_max"].value < 1e-3
    assert result.metrics["separation_max"].value < 1e-9


def test_stored_trajectories_of_another_system_are_refused(
    settings: Settings, real_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="10 machines and 39 buses") as refused:
        StoredIeee39(settings).load(real_data)
    assert refused.value.rule == "evaluate.grid"
    case = PowerSystem.load("wscc9").case
    for generator in case.generators:
        generator.p *= 1.1
    other = replace(settings.trained, grid=PowerSystem(case, "zip 1 0 0"))
    with pytest.raises(InputError, match="its angles at rest are others"):
        StoredWscc9(replace(settings, trained=other)).load(real_data)
    with pytest.raises(InputError, match=r"wscc9_constz_dev\.json"):
        StoredWscc9(settings).load(tmp_path)


def test_what_cannot_be_evaluated_is_said(
    trained_run: Path, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="choose of seen_lines"):
        make_task("guesswork", settings)
    alone = tmp_path / "operator.safetensors"
    shutil.copy(trained_run / "operator.safetensors", alone)
    for arguments, message in (
        ([f"operator={alone}"], "no config.yaml"),
        ([f"operator={tmp_path}/nothing"], "there is no operator"),
        ([f"operator={trained_run}", "resamples=3"], "resamples=3 must be at least 100"),
        ([f"operator={trained_run}", "task=guesswork"], "choose of seen_lines"),
    ):
        assert evaluate([f"output={tmp_path}/out", *arguments]) == 2
        assert message in capfd.readouterr().err

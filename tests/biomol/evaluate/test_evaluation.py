from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from biomol.config.evaluate import EvaluateConfig, EvaluateDataConfig
from biomol.evaluate import evaluate_engine
from biomol.io.ligand import from_smiles
from biomol.tasks.baselines.engine import AverageEngine
from biomol.tasks.catalogue import make_task
from scimind.errors import ConfigError, InputError
from scimind.eval import Result


@pytest.fixture
def table(tmp_path: Path) -> Path:
    smiles = ["C" * n for n in range(1, 25)] + [f"c1ccccc1{'C' * n}" for n in range(24)]
    path = tmp_path / "chains.csv"
    path.write_text("smiles,carbons\n" + "".join(f"{text},{len(text)}.0\n" for text in smiles))
    return path


@pytest.fixture
def engine() -> AverageEngine:
    return AverageEngine.fit(
        [replace(from_smiles("CCO", "x"), properties={"chains/carbons": 12.0, "esol": -2.0})]
    )


def _config(output: Path, **fields: object) -> EvaluateConfig:
    return EvaluateConfig(checkpoint="", output=str(output), resamples=100, **fields)  # type: ignore[arg-type]


def test_a_table_is_scored_beside_its_baselines(
    tmp_path: Path, table: Path, engine: AverageEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    config = _config(tmp_path / "out", task="table", data=EvaluateDataConfig(path=str(table)))
    done, code = evaluate_engine(engine, config)
    assert code == 0
    result = Result.load(tmp_path / "out" / "results" / "table-chains.json")
    targets = np.array([float(item.target[0]) for item in done[0].items])
    expected = np.sqrt(np.mean((12.0 - targets) ** 2))
    assert result.metrics["rmse"].value == pytest.approx(expected)
    names = [row.name for row in result.baselines]
    assert names[0] == "training mean"
    assert any(name.startswith("ridge") for name in names)
    printed = capsys.readouterr().out
    assert f"{expected:.3f} [" in printed
    assert "training mean (trivial)" in printed
    page = (tmp_path / "out" / "report.html").read_text()
    assert "training mean" in page
    assert "no network" in page, "the notes of the engine are shown"


def test_a_task_without_data_or_output_fails_and_the_others_go_on(
    tmp_path: Path, table: Path, engine: AverageEngine
) -> None:
    (tmp_path / "data").mkdir()
    data = EvaluateDataConfig(path=str(table), root=str(tmp_path / "data"))
    config = _config(tmp_path / "out", task=["esol", "tox21", "table"], data=data)
    done, code = evaluate_engine(engine, config)
    assert code == 2
    assert [evaluation.result.task for evaluation in done] == ["table-chains"]
    with pytest.raises(InputError, match="none of the tasks"):
        evaluate_engine(engine, _config(tmp_path / "o2", task="esol", data=data))


def test_all_takes_what_the_model_has_outputs_for(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from biomol.tasks import catalogue

    # The structure tasks read every file of the data set and have their own tests.
    kept = {name: catalogue.FIXED[name] for name in ("freesolv", "flip_gb1", "bbbp")}
    monkeypatch.setattr(catalogue, "FIXED", kept)
    record = replace(from_smiles("CCO", "x"), properties={"freesolv": -4.0})
    config = _config(tmp_path / "out", data=EvaluateDataConfig(root=str(real_data)))
    done, code = evaluate_engine(AverageEngine.fit([record]), config)
    assert [evaluation.result.task for evaluation in done] == ["freesolv"]
    assert code == 0, "what the model was not trained for is no failure of 'all'"


def test_an_unknown_task_names_the_known_ones(tmp_path: Path, engine: AverageEngine) -> None:
    data = EvaluateDataConfig(root=str(tmp_path))
    with pytest.raises(ConfigError, match="esol, freesolv"):
        evaluate_engine(engine, _config(tmp_path / "out", task="esool", data=data))
    with pytest.raises(ConfigError, match=r"data\.path"):
        evaluate_engine(engine, _config(tmp_path / "out", task="table", data=data))


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_help_does_not_import_mindspore(verb: str) -> None:
    code = (
        "import sys; from importlib import import_module; "
        f"main = import_module('biomol.{verb}').main; code = main(['--help']); "
        "sys.exit(code or 100 * any(name in sys.modules for name in "
        "('mindspore', 'rdkit', 'pandas', 'sklearn')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "checkpoint=" in done.stdout


@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_a_missing_checkpoint_argument_is_a_configuration_error(verb: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"biomol.{verb}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "checkpoint" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["structure", "side_chains"])
def test_structure_tasks_take_the_sampler_of_the_user_and_have_one_of_their_own(name: str) -> None:
    task: Any = make_task(name)
    assert (task.num_steps, task.noise) == (1, 0.0)
    task = make_task(name, num_steps=5, noise=0.5, seed=3)
    assert (task.num_steps, task.noise, task.seed) == (5, 0.5, 3)
    with pytest.raises(ValueError, match=r"noise=-1\.0 must be 0"):
        EvaluateConfig(checkpoint="", output="unused", noise=-1.0)

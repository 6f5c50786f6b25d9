"""Running tasks: baselines, failures, blinding, result files."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scimind.errors import InputError
from scimind.eval import (
    Baseline,
    BaselineRow,
    Failure,
    Item,
    MetricValue,
    ModelFacts,
    Result,
    Task,
    TaskData,
    file_digest,
    run,
)
from scimind.eval import metrics as scores
from scimind.eval.task import Metric


def training_mean(data: TaskData) -> list[float]:
    return [float(np.mean([item.target for item in data.training]))] * len(data.items)


class Line(Task):
    """y = 2 x with noise, read from a CSV file."""

    name, version, split, primary = "line", "1.0", "last 30 points", "rmse"

    def load(self, data_root: Path) -> TaskData:
        path = data_root / "line.csv"
        rows = [line.split(",") for line in path.read_text(encoding="utf-8").split()]
        items = [
            Item(name=f"point {k}", inputs=float(x), target=float(y), cluster=str(k // 3))
            for k, (x, y) in enumerate(rows)
        ]
        return TaskData(
            items=items[20:], training=items[:20], digest=file_digest([path], data_root)
        )

    def metrics(self) -> Sequence[Metric]:
        return (scores.rmse("kelvin"), scores.spearman())

    def baselines(self) -> Sequence[Baseline]:
        return (Baseline(name="training mean", kind="trivial", predict=training_mean),)

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        return [model(item) for item in items]

    def references(self) -> Sequence[BaselineRow]:
        value = MetricValue(
            value=0.5, ci_low=None, ci_high=None, n=30, method="published", direction="lower"
        )
        return (
            BaselineRow(
                name="paper", kind="published", metrics={"rmse": value}, source="Doe 2020, table 1"
            ),
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    lines = [f"{x},{2 * x + generator.normal(scale=0.1):.6f}" for x in range(50)]
    (tmp_path / "line.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


FACTS = ModelFacts(model="slope", parameters=1, seed=3, command="python -m x", notes=("no kernel",))


def test_scores_equal_a_direct_computation_and_beat_the_baseline(root: Path) -> None:
    evaluation = run(Line(), lambda item: 2.0 * item.inputs, root, FACTS)
    result = evaluation.result
    targets = np.array([item.target for item in evaluation.items])
    inputs = np.array([item.inputs for item in evaluation.items])
    rmse = result.metrics["rmse"]
    assert rmse.value == pytest.approx(np.sqrt(np.mean((2 * inputs - targets) ** 2)))
    assert rmse.ci_low < rmse.value < rmse.ci_high
    assert (rmse.n, rmse.unit) == (30, "kelvin")
    assert "11 clusters" in rmse.method
    baseline = next(row for row in result.baselines if row.name == "training mean")
    assert baseline.metrics["rmse"].value > 100 * rmse.value
    assert baseline.metrics["spearman"].value is None
    assert result.baselines[-1].source == "Doe 2020, table 1"
    assert result.seconds_cpu >= 0.0
    assert result.notes == ["no kernel"]


def test_neither_model_nor_baseline_sees_the_targets(root: Path) -> None:
    seen: list[Any] = []

    class Watching(Line):
        def baselines(self) -> Sequence[Baseline]:
            def watch(data: TaskData) -> list[float]:
                seen.extend(item.target for item in data.items)
                return training_mean(data)

            return (Baseline(name="watch", kind="trivial", predict=watch),)

    run(Watching(), lambda item: seen.append(item.target) or 0.0, root, FACTS)
    assert seen == [None] * 60


def test_a_failed_item_is_recorded_left_out_and_marked(root: Path) -> None:
    def model(item: Item) -> Any:
        if item.name in ("point 30", "point 31"):
            return Failure(item="", reason="no conformer", rule="smiles.embed")
        return 2.0 * item.inputs

    result = run(Line(), model, root, FACTS).result
    assert [failure.item for failure in result.failures] == ["point 30", "point 31"]
    assert (result.items, result.excluded, result.metrics["rmse"].n) == (30, 2, 28)

    class Penalised(Line):
        def failed_prediction(self, item: Item) -> float:
            return 0.0

    penalised = run(Penalised(), model, root, FACTS).result
    assert (penalised.excluded, penalised.metrics["rmse"].n) == (0, 30)
    assert len(penalised.failures) == 2
    assert penalised.metrics["rmse"].value > 10 * result.metrics["rmse"].value


def test_an_evaluation_without_any_prediction_is_an_error_with_the_first_reason(root: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 30 items.*too large"):
        run(Line(), lambda item: Failure(item="", reason="too large"), root, FACTS)


def test_a_task_that_breaks_its_contract_is_named(root: Path) -> None:
    class NoBaseline(Line):
        def baselines(self) -> Sequence[Baseline]:
            return ()

    class Leaking(Line):
        def load(self, data_root: Path) -> TaskData:
            data = super().load(data_root)
            return dataclasses.replace(data, training=[*data.training, data.items[0]])

    class Short(Line):
        def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
            return [0.0] * (len(items) - 1)

    class Misnamed(Line):
        primary = "mae"

    for task, problem in (
        (NoBaseline(), "no trivial baseline"),
        (Leaking(), "point 20.*training items too"),
        (Short(), "29 predictions for 30 items"),
        (Misnamed(), "'mae' is none of rmse, spearman"),
    ):
        with pytest.raises(ValueError, match=problem):
            run(task, lambda item: 0.0, root, FACTS)


def test_a_quick_look_at_the_first_items_is_another_split(root: Path) -> None:
    result = run(Line(), lambda item: item.inputs, root, FACTS, limit=5).result
    assert (result.items, result.split) == (5, "last 30 points (first 5)")


def test_the_digest_depends_on_contents_and_names_but_not_on_order_or_place(root: Path) -> None:
    other = root / "b" / "x.txt"
    other.parent.mkdir()
    other.write_text("1", encoding="utf-8")
    first = root / "line.csv"
    digest = file_digest([first, other], root)
    assert digest == file_digest([other, first], root)
    moved = root / "copy"
    (moved / "b").mkdir(parents=True)
    (moved / "line.csv").write_bytes(first.read_bytes())
    (moved / "b" / "x.txt").write_text("1", encoding="utf-8")
    assert file_digest([moved / "line.csv", moved / "b" / "x.txt"], moved) == digest
    other.write_text("2", encoding="utf-8")
    assert file_digest([first, other], root) != digest
    with pytest.raises(InputError, match="not below the data folder"):
        file_digest([Path("/etc/hostname")], root)
    with pytest.raises(InputError, match="cannot be read"):
        file_digest([root / "absent"], root)


def test_a_result_file_holds_the_result_and_nothing_partial(root: Path) -> None:
    result = run(Line(), lambda item: 2 * item.inputs, root, FACTS).result
    path = root / "results" / "line.json"
    result.save(path)
    assert Result.load(path) == result
    assert [entry.name for entry in path.parent.iterdir()] == ["line.json"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: c.pop("seed"), "result.fields"),
        (lambda c: c.update(extra=1), "result.fields"),
        (lambda c: c.update(seed="3"), "result.field"),
        (lambda c: c.update(seed=True), "result.field"),
        (lambda c: c.update(schema="other/1"), "result.schema"),
        (lambda c: c.update(baselines=[]), "result.baselines"),
        (lambda c: c.update(primary="auc"), "result.primary"),
        (lambda c: c["metrics"]["rmse"].update(direction="up"), "result.field"),
        (lambda c: c["metrics"]["rmse"].update(value=[1]), "result.field"),
        (lambda c: c.update(metrics=[]), "result.field"),
        (lambda c: c.update(failures=[{"item": "a"}]), "result.fields"),
    ],
)
def test_a_damaged_result_file_is_refused(root: Path, change: Any, rule: str) -> None:
    path = root / "line.json"
    run(Line(), lambda item: 2 * item.inputs, root, FACTS).result.save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Result.load(path)
    assert caught.value.rule == rule
    assert caught.value.path == str(path)

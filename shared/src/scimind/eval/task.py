"""What a benchmark task is: items, metrics, baselines, and a digest of its data."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from scimind.errors import InputError
from scimind.eval.result import BaselineKind, BaselineRow, Failure
from scimind.typing import Float

Direction = Literal["higher", "lower"]
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Item:
    """One unit of evaluation.

    Attributes:
        name: Unique within the task; names the item in reports of failures.
        inputs: What the model may see.
        target: What the prediction is compared with; hidden while the model predicts.
        cluster: Items of one cluster (scaffold, sequence family) are not independent, so the
            bootstrap draws whole clusters. ``None``: the item is its own cluster.
    """

    name: str
    inputs: Any
    target: Any
    cluster: str | None = None

    def blind(self) -> Item:
        """The item without its target."""
        return replace(self, target=None)


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """The data of a task as one folder holds it.

    Attributes:
        items: The evaluated items.
        training: What baselines may fit on, targets included.
        validation: For choices among models; never part of the score.
        digest: ``file_digest`` of every file that was read.
        rejected: Records of the files that could not become items, with the reason.
    """

    items: Sequence[Item]
    digest: str
    training: Sequence[Item] = ()
    validation: Sequence[Item] = ()
    rejected: Sequence[Failure] = ()


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score in two steps, so that resampling items costs no new predictions.

    ``statistics`` turns the prediction and target of one item into a row of k numbers, and
    ``aggregate`` turns the rows of all items into the score. RMSE: the row is (prediction,
    target). Recovery over residues: the row is (correct residues, residues), the score the
    quotient of the sums.

    Attributes:
        name: Key in the result file.
        direction: Which way is better.
        statistics: ``(prediction, target) -> row of k numbers``.
        aggregate: ``(item, k) array -> score``; NaN where the score is undefined.
        unit: Physical unit, "" for a pure number.
        bounds: Smallest and largest possible score, for plots and sanity checks.
    """

    name: str
    direction: Direction
    statistics: Callable[[Any, Any], Sequence[float] | np.ndarray]
    aggregate: Callable[[Float[np.ndarray, "item statistic"]], float]
    unit: str = ""
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def rows(
        self, predictions: Sequence[Any], targets: Sequence[Any]
    ) -> Float[np.ndarray, "item statistic"]:
        """Statistics of every item, one row each."""
        pairs = zip(predictions, targets, strict=True)
        return np.asarray([self.statistics(p, t) for p, t in pairs], dtype=np.float64).reshape(
            len(predictions), -1
        )


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A reference every model must be compared with.

    Attributes:
        name: Name in tables, such as ``"training mean"`` or ``"random forest on ECFP4"``.
        kind: ``"trivial"`` uses no input, ``"classical"`` is fitted on the training items.
        predict: ``(data with blinded items) -> one prediction (or Failure) per item``.
    """

    name: str
    kind: Literal["trivial", "classical"]
    predict: Callable[[TaskData], Iterable[Any]]


class Task(ABC):
    """A public benchmark: its data, its split, its scores and the baselines to beat.

    Subclasses set the class attributes and implement the four abstract methods::

        class Esol(Task):
            name, version, split, primary = "esol", "1.0", "scaffold-test", "rmse"

            def load(self, data_root): ...
            def metrics(self): return (rmse(unit="log mol/L"), mae(unit="log mol/L"))
            def baselines(self): return (training_mean(), Baseline(...))
            def predict(self, model, items): return model.properties([i.inputs for i in items])

    Attributes:
        name: Identifier, as in ``task=esol``.
        version: Changes whenever items, split or metrics change; versions are never compared.
        split: Which split is scored and how it was made.
        primary: Name of the metric that ranks models.
        description: One sentence for reports, with the source of the data.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    split: ClassVar[str]
    primary: ClassVar[str]
    description: ClassVar[str] = ""

    @abstractmethod
    def load(self, data_root: Path) -> TaskData:
        """Reads the benchmark's own files below ``data_root``.

        Raises:
            InputError: A file is missing or breaks its format.
        """

    @abstractmethod
    def metrics(self) -> Sequence[Metric]:
        """The scores, the primary one among them."""

    @abstractmethod
    def baselines(self) -> Sequence[Baseline]:
        """At least one trivial baseline, and the classical ones that exist."""

    @abstractmethod
    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """One prediction per item, in order; a ``Failure`` for an item that cannot be done.

        The items are blinded: their ``target`` is ``None``.
        """

    def references(self) -> Sequence[BaselineRow]:
        """Published numbers on the same split, with their source. They carry no interval."""
        return ()

    def failed_prediction(self, item: Item) -> Any | None:
        """Prediction that a failed item counts as.

        ``None`` leaves the item out of the score; the result then says so and is not ranked.
        """
        return None

    def primary_metric(self) -> Metric:
        """The metric that ranks models."""
        for metric in self.metrics():
            if metric.name == self.primary:
                return metric
        names = ", ".join(metric.name for metric in self.metrics())
        raise ValueError(f"task {self.name}: primary metric {self.primary!r} is none of {names}")


def file_digest(paths: Iterable[Path], root: Path) -> str:
    """SHA-256 over the names (relative to ``root``) and contents of the files.

    The order of ``paths`` does not matter; moving ``root`` does not change the digest.

    Raises:
        InputError: A file is missing, unreadable or outside ``root``.
    """
    total = hashlib.sha256()
    by_name: dict[str, Path] = {}
    for path in paths:
        try:
            by_name[path.relative_to(root).as_posix()] = path
        except ValueError:
            raise InputError(
                f"the data file is not below the data folder {root}; a digest needs relative names",
                path=path,
                rule="data.outside",
            ) from None
    for name in sorted(by_name):
        content = hashlib.sha256()
        try:
            with by_name[name].open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    content.update(chunk)
        except OSError as error:
            raise InputError(
                f"the data file cannot be read ({error.strerror}); check the data folder",
                path=by_name[name],
                rule="data.unreadable",
            ) from error
        total.update(f"{name}\0{content.hexdigest()}\n".encode())
    return total.hexdigest()


@dataclass(frozen=True)
class _Registry:
    tasks: dict[str, type[Task]] = field(default_factory=dict)


_REGISTRY = _Registry()


def register(task: type[Task]) -> type[Task]:
    """Class decorator: makes the task known to ``find`` under its name.

    Raises:
        ValueError: Another task has this name.
    """
    known = _REGISTRY.tasks.setdefault(task.name, task)
    if known is not task:
        raise ValueError(f"two tasks are called {task.name!r}: {known!r} and {task!r}")
    return task


def registered() -> Mapping[str, type[Task]]:
    """The registered tasks by name."""
    return dict(sorted(_REGISTRY.tasks.items()))


__all__ = [
    "Baseline",
    "BaselineKind",
    "Direction",
    "Item",
    "Metric",
    "Task",
    "TaskData",
    "file_digest",
    "register",
    "registered",
]

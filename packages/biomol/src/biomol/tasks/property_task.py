"""What all tasks of scalar labels share: one record in, one or several numbers out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from biomol.data.complex import Complex
from biomol.data.datasets.dataset import Dataset
from biomol.io.tables import Property
from biomol.tasks.baselines.constant import training_mean
from biomol.tasks.baselines.fingerprints import morgan_features, with_descriptors
from biomol.tasks.baselines.forest import is_available, random_forest
from biomol.tasks.baselines.ridge import ridge_on
from biomol.tasks.records import RecordHandle, answers, data_folder, failures
from scimind.eval import Baseline, Item, Metric, Task, TaskData
from scimind.eval.metrics import mae, pearson, pr_auc, r2, rmse, roc_auc, spearman
from scimind.typing import Int


class PropertyTask(Task):
    """Labels of whole records, predicted without coordinates.

    Subclasses give the data set, the labels and the metrics.
    """

    properties: ClassVar[tuple[str, ...]] = ()
    """Names of the labels, as the data set and the engine call them."""

    def dataset(self, folder: Path) -> Dataset:
        """The data set in the data folder."""
        raise NotImplementedError

    def property_names(self) -> Sequence[str]:
        """Names of the labels that the engine is asked for."""
        return self.properties

    def requires(self) -> frozenset[str]:
        """Names that an engine must know."""
        return frozenset(self.property_names())

    def load(self, data_root: Path) -> TaskData:
        """See the base class."""
        return property_data(self.dataset(data_folder(data_root)), self.property_names())

    def prepare(self, record: Complex) -> Complex:
        """What the model sees of a record; all of it by default."""
        return record

    def predict(self, model: Any, items: Sequence[Item]) -> Iterable[Any]:
        """See the base class; ``model`` is an ``Engine``."""
        names = list(self.property_names())

        def ask(handles: Sequence[RecordHandle]) -> list[Any]:
            records = [self.prepare(handle.load()) for handle in handles]
            return list(model.properties(records, names))

        return answers([item.inputs for item in items], ask)


class MoleculeTask(PropertyTask):
    """Labels of molecules under a scaffold split."""

    version = "1.0"
    split = "scaffold test (80/10/10, most frequent scaffolds to training)"
    kind: ClassVar[str] = "regression"
    unit: ClassVar[str] = ""

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return label_metrics(self.kind, self.unit)

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return molecule_baselines(self.kind, single=len(self.property_names()) == 1)


def property_data(dataset: Dataset, names: Sequence[str]) -> TaskData:
    """Items of a data set with scalar labels.

    Args:
        dataset: The data set.
        names: Labels; a record without any of them is no item.

    Returns:
        Test items, training and validation items; targets are arrays of one value per name, NaN
        where unknown.
    """
    values = np.stack([dataset.values(name) for name in names], axis=1)
    split = dataset.split

    def items(indices: Int[np.ndarray, " record"]) -> tuple[Item, ...]:
        return tuple(
            Item(
                name=f"{dataset.name}:{index}",
                inputs=RecordHandle(dataset.records, int(index), dataset.keys[index]),
                target=values[index],
                # Acyclic molecules share an empty scaffold and nothing else.
                cluster=(split.groups[index] or None) if split.groups else None,
            )
            for index in indices
            if not np.isnan(values[index]).all()
        )

    return TaskData(
        items=items(split.test),
        training=items(split.train),
        validation=items(split.valid),
        digest=dataset.digest,
        rejected=failures(dataset.rejected),
    )


def label_metrics(kind: str, unit: str) -> tuple[Metric, ...]:
    """The usual scores of a kind of label.

    Args:
        kind: ``"regression"`` or ``"binary"``.
        unit: Unit of the values.
    """
    if kind == "binary":
        return (roc_auc(), pr_auc())
    return (rmse(unit), mae(unit), r2(), pearson(), spearman())


def molecule_baselines(kind: str, *, single: bool) -> tuple[Baseline, ...]:
    """Baselines for labels of molecules; the forest only where scikit-learn is installed.

    Args:
        kind: ``"regression"`` or ``"binary"``.
        single: There is one label.
    """
    found = [training_mean()]
    if kind == "regression" and single:
        found.append(ridge_on("Morgan fingerprints (1024 bits)", morgan_features, alpha=10.0))
    if is_available():
        for count in (60, None) if single else (None,):
            name = f"Morgan fingerprints and {'all' if count is None else count} RDKit descriptors"
            found.append(random_forest(with_descriptors(count), binary=kind == "binary", name=name))
    return tuple(found)


def kind_of(properties: Sequence[Property]) -> str:
    """The common kind of some labels; ``"regression"`` unless all are binary."""
    return "binary" if all(entry.kind == "binary" for entry in properties) else "regression"

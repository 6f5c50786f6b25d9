"""Any table of molecules or sequences with measured values, as a task of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.table import load_table
from biomol.tasks.baselines.constant import training_mean
from biomol.tasks.baselines.ridge import one_hot, ridge_on
from biomol.tasks.property_task import (
    PropertyTask,
    kind_of,
    label_metrics,
    molecule_baselines,
    property_data,
)
from scimind.errors import InputError
from scimind.eval import Baseline, Metric, TaskData


class TableTask(PropertyTask):
    """The numeric columns of a table, under its own split or one made here.

    Rows marked train, valid and test by a column ``set`` or ``split`` are used as marked;
    otherwise molecules are split by scaffold and sequences at random.

    Args:
        path: CSV, TSV or Parquet with a column of SMILES or sequences.
        names: Properties to score, as the model calls them (``table/column``); all by default.
        prefix: First part of the property names; the stem of the file by default.
    """

    name, version, split, primary = "table", "1.0", "test", "rmse"

    def __init__(self, path: Path, names: Sequence[str] = (), prefix: str = "") -> None:
        self._dataset = load_table(path, name=prefix or None)
        known = {entry.name: entry for entry in self._dataset.properties}
        unknown = set(names) - set(known)
        if unknown or not known:
            raise InputError(
                f"the table has no values for {sorted(unknown) or 'any property'}; it has "
                f"{', '.join(known) or 'no numeric column'}",
                path=path,
                rule="table.property",
            )
        self._names = tuple(names) or tuple(known)
        chosen = [known[name] for name in self._names]
        self._kind = kind_of(chosen)
        if self._kind == "regression" and len(chosen) > 1 and len({p.unit for p in chosen}) > 1:
            raise InputError(
                f"{', '.join(self._names)} have different units; score one at a time (names=)",
                path=path,
                rule="table.units",
            )
        self._unit = chosen[0].unit
        self.name = f"table-{self._dataset.name}"  # type: ignore[misc]
        self.split = f"test ({self._dataset.split.method})"  # type: ignore[misc]
        self.primary = "roc_auc" if self._kind == "binary" else "rmse"  # type: ignore[misc]

    def property_names(self) -> Sequence[str]:
        """See the base class."""
        return self._names

    def load(self, data_root: Path) -> TaskData:
        """See the base class; ``data_root`` is not used, the table has its own path."""
        del data_root
        return property_data(self._dataset, self._names)

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        del folder
        return self._dataset

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return label_metrics(self._kind, self._unit)

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        if self._dataset.split.method == "scaffold":
            return molecule_baselines(self._kind, single=len(self._names) == 1)
        if self._kind == "regression" and len(self._names) == 1:
            return (training_mean(), ridge_on("one-hot sequences", one_hot))
        return (training_mean(),)

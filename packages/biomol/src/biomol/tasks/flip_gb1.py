"""FLIP GB1: fitness of the four-site library of protein G's domain B1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from biomol.data.complex import Complex
from biomol.data.crop import variable_window, window_crop
from biomol.data.datasets.dataset import Dataset
from biomol.data.datasets.flip import load_flip_values
from biomol.data.features import BUCKETS
from biomol.tasks.baselines.constant import training_mean
from biomol.tasks.baselines.ridge import one_hot, ridge_on
from biomol.tasks.property_task import PropertyTask
from scimind.errors import InputError
from scimind.eval import Baseline, Metric, TaskData
from scimind.eval.metrics import mae, rmse, spearman
from scimind.eval.task import register

SPLITS = ("one_vs_rest", "two_vs_rest", "three_vs_rest", "low_vs_high", "sampled")


@register
class FlipGb1(PropertyTask):
    """Rank correlation with measured fitness on the split of the source.

    The construct has 265 residues of which four vary: the model sees the window around the
    positions that vary among the training sequences.

    Args:
        split: One of ``SPLITS``, by number of mutations or by fitness.

    Source: Dallago et al., FLIP, NeurIPS Datasets and Benchmarks (2021); data of Wu et al., eLife
    5, e16965 (2016).
    """

    name, version, primary, split = "flip_gb1", "1.0", "spearman", "two_vs_rest"
    properties = ("gb1",)
    description = "Fitness of four-site variants of protein G domain B1, FLIP's own splits."

    def __init__(self, split: str = "two_vs_rest") -> None:
        if split not in SPLITS:
            raise InputError(
                f"FLIP GB1 has no split {split!r}; choose one of {', '.join(SPLITS)}",
                rule="flip.split",
            )
        self.split = split  # type: ignore[misc]
        self._window: tuple[int, int] | None = None

    def dataset(self, folder: Path) -> Dataset:
        """See the base class."""
        for ending in (".csv.gz", ".csv"):
            path = folder / "property" / "flip_gb1" / f"{self.split}{ending}"
            if path.is_file():
                return load_flip_values(path, "gb1")
        raise InputError(
            f"there is no {self.split}.csv(.gz); take it from the FLIP repository",
            path=folder / "property" / "flip_gb1",
            rule="flip.missing",
        )

    def load(self, data_root: Path) -> TaskData:
        """See the base class; also finds the window that the training sequences vary in."""
        data = super().load(data_root)
        self._window = variable_window([item.inputs.key for item in data.training], BUCKETS)
        return data

    def prepare(self, record: Complex) -> Complex:
        """The window of the record."""
        assert self._window is not None, "load comes before predict"
        return window_crop(record, self._window)

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return (spearman(), rmse(), mae())

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        return (training_mean(), ridge_on("one-hot sequences", one_hot, use_validation=True))

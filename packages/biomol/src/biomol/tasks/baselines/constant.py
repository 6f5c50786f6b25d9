"""The trivial prediction of labels: the mean of the training part."""

from __future__ import annotations

import numpy as np

from scimind.eval import Baseline, TaskData
from scimind.typing import Float


def training_mean() -> Baseline:
    """Mean of each label over the training records that have it; the positive share of 0/1 ones."""

    def predict(data: TaskData) -> list[Float[np.ndarray, " endpoint"]]:
        targets = np.array([np.atleast_1d(item.target) for item in data.training], np.float64)
        return [np.nanmean(targets, axis=0)] * len(data.items)

    return Baseline(name="training mean", kind="trivial", predict=predict)

"""Random forests of scikit-learn, which the extra ``eval`` installs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np

from biomol.tasks.baselines.ridge import Features
from scimind.eval import Baseline, TaskData

NUM_TREES = 200

MISSING_NOTE = (
    "the random-forest baseline was left out: scikit-learn is not installed; "
    "pip install 'scimind-biomol[eval]'"
)


def is_available() -> bool:
    """Whether scikit-learn is installed."""
    return importlib.util.find_spec("sklearn") is not None


def random_forest(features: Features, *, binary: bool, name: str) -> Baseline:
    """A forest of 200 trees per label, fitted on the training records that have the label.

    Args:
        features: Computes the features.
        binary: The labels are 0/1: predict probabilities.
        name: What the features are, for tables.

    Source: Breiman, Machine Learning 45, 5 (2001).
    """
    return Baseline(
        name=f"random forest on {name}", kind="classical", predict=_predictor(features, binary)
    )


def _predictor(features: Features, binary: bool) -> Callable[[TaskData], list[np.ndarray]]:
    def predict(data: TaskData) -> list[np.ndarray]:
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        train, test = features(data.training, data.items)
        targets = np.array([np.atleast_1d(item.target) for item in data.training], np.float64)
        columns = []
        for label in range(targets.shape[1]):
            known = ~np.isnan(targets[:, label])
            y = targets[known, label]
            if binary and len(np.unique(y)) < 2:
                columns.append(np.full(len(test), y.mean() if len(y) else 0.5))
                continue
            if binary:
                forest = RandomForestClassifier(NUM_TREES, random_state=0, n_jobs=1)
                forest.fit(train[known], y.astype(int))
                columns.append(forest.predict_proba(test)[:, 1])
            else:
                # A third of the features per split, Breiman's advice for regression.
                forest = RandomForestRegressor(
                    NUM_TREES, max_features=0.33, random_state=0, n_jobs=1
                )
                columns.append(forest.fit(train[known], y).predict(test))
        return list(np.stack(columns, axis=1))

    return predict

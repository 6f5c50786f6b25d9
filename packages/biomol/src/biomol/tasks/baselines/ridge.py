"""Ridge regression on fixed features, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scimind.eval import Baseline, Item, TaskData
from scimind.typing import Float

Features = Callable[[Sequence[Item], Sequence[Item]], tuple[np.ndarray, np.ndarray]]
"""(training items, evaluated items) to two feature matrices."""


@dataclass(frozen=True, eq=False)
class Ridge:
    """Linear model with the squared norm of its weights penalised, not that of the intercept.

    Attributes:
        weight: Weight of each feature.
        intercept: Constant term.
    """

    weight: Float[np.ndarray, " feature"]
    intercept: float

    @classmethod
    def fit(
        cls,
        features: Float[np.ndarray, "record feature"],
        target: Float[np.ndarray, " record"],
        alpha: float = 1.0,
    ) -> Ridge:
        """Minimises ``|y - X w - b|² + alpha |w|²``.

        Source: Hoerl and Kennard, Technometrics 12, 55 (1970).
        """
        centre = features.mean(axis=0)
        x, y = features - centre, target - target.mean()
        if x.shape[0] < x.shape[1]:
            # Fewer records than features: the dual form solves the smaller system.
            gram = x @ x.T + alpha * np.eye(len(x))
            weight = x.T @ np.linalg.solve(gram, y)
        else:
            weight = np.linalg.solve(x.T @ x + alpha * np.eye(x.shape[1]), x.T @ y)
        return cls(weight, float(target.mean() - centre @ weight))

    def predict(
        self, features: Float[np.ndarray, "record feature"]
    ) -> Float[np.ndarray, " record"]:
        """Predicted target of each record."""
        return np.asarray(features @ self.weight + self.intercept)


def ridge_on(
    name: str, features: Features, alpha: float = 1.0, *, use_validation: bool = False
) -> Baseline:
    """Ridge regression as a baseline of a task with one label.

    Args:
        name: What the features are, for tables.
        features: Computes them.
        alpha: Strength of the penalty.
        use_validation: Fit on the validation part too, as nothing is selected on it.
    """

    def predict(data: TaskData) -> list[float]:
        training = [*data.training, *(data.validation if use_validation else ())]
        train, test = features(training, data.items)
        target = np.array([float(np.squeeze(item.target)) for item in training])
        model = Ridge.fit(train.astype(np.float64), target, alpha)
        return [float(value) for value in model.predict(test.astype(np.float64))]

    return Baseline(name=f"ridge on {name}", kind="classical", predict=predict)


def one_hot(
    training: Sequence[Item], items: Sequence[Item]
) -> tuple[Float[np.ndarray, "train feature"], Float[np.ndarray, "test feature"]]:
    """One indicator per position and letter that the training sequences show.

    Positions that never vary in the training part say nothing there and are left out.
    Sequences of another length have all indicators 0 beyond their end.
    """
    texts = [item.inputs.key for item in training]
    length = max(len(text) for text in texts)
    train, test = (
        np.array([list(text[:length].ljust(length)) for text in group])
        for group in (texts, [item.inputs.key for item in items])
    )
    columns = [
        (position, letter)
        for position in range(length)
        if len(letters := np.unique(train[:, position])) > 1
        for letter in letters
    ]
    if not columns:
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    return (
        np.stack([train[:, p] == letter for p, letter in columns], axis=1).astype(np.float64),
        np.stack([test[:, p] == letter for p, letter in columns], axis=1).astype(np.float64),
    )

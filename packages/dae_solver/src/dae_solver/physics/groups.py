"""The devices of one model among all states, and how parts of several models become one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from dae_solver.physics.models.base import Model

M = TypeVar("M", bound=Model)


class Group(Generic[M]):
    """The devices of one model, and where their states and what they belong to are.

    Attributes:
        model: With the parameters of all its devices.
        rows: Rows of the states, by name.
        of: Position of each device's machine among all machines, or of its converter among those.
        at: The same, as a slice where they follow one another.
    """

    def __init__(self, model: M, first: int, of: np.ndarray) -> None:
        number = len(model.ids)
        self.model, self.of, self.at = model, of, rows_of(of)
        self.rows = {
            name: slice(first + k * number, first + (k + 1) * number)
            for k, name in enumerate(model.states)
        }
        self.end = first + number * len(model.states)

    def view(self, x: Any) -> dict[str, Any]:
        """The states by name, ``[device, scenario]``."""
        return {name: x[rows] for name, rows in self.rows.items()}

    def set(self, x: np.ndarray, values: Sequence[Any]) -> None:
        """Write the states."""
        for place, row in zip(self.rows.values(), values, strict=True):
            x[place] = row


def rows_of(index: np.ndarray) -> Any:
    """Rows as a slice, of which the view is no copy, where they follow one another."""
    if len(index) and np.array_equal(index, np.arange(index[0], index[0] + len(index))):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def placement(groups: Sequence[Group[Any]], number: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Which of ``number`` have no device of these groups, and what sorts those with one first.

    The order is None where they are sorted already.
    """
    of = [group.of for group in groups]
    rest = np.setdiff1d(np.arange(number), np.concatenate([np.zeros(0, int), *of]))
    every = np.concatenate([*of, rest])
    return rest, None if np.array_equal(every, np.arange(number)) else np.argsort(every)


def placed(
    m: Any, base: Any, placement: tuple[np.ndarray, np.ndarray | None], parts: Sequence[Any]
) -> Any:
    """``base`` with the rows of some replaced by ``parts``; see :func:`placement`."""
    rest, order = placement
    if not parts:
        return base
    found = [*parts, m.rows(base, rest)] if len(rest) else list(parts)
    joined = found[0] if len(found) == 1 else m.concat(found)
    return joined if order is None else m.rows(joined, order)

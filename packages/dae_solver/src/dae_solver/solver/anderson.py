"""Acceleration of fixed-point iterations."""

from __future__ import annotations

import numpy as np


class Anderson:
    """Anderson's method of depth 2 for ``y = function(y)``, for each column on its own.

    Source: Anderson, J. ACM 12, 547 (1965); Walker and Ni, SIAM J. Numer. Anal. 49, 1715 (2011).
    """

    def __init__(self) -> None:
        # The round before, and differences between the two before it, of changes and of results.
        self.before: list[np.ndarray] = []
        self.steps: list[np.ndarray] = []

    def take(self, columns: np.ndarray) -> None:
        """Some columns go on."""
        self.before = [each.take(columns, 1) for each in self.before]
        self.steps = [each.take(columns, 1) for each in self.steps]

    def next(self, new: np.ndarray, change: np.ndarray, *, plain: bool) -> np.ndarray:
        """Where to go on.

        Args:
            new: What a round led to, ``[row, column]``.
            change: From where it started.
            plain: Go on from ``new`` itself.
        """
        before, steps = self.before, self.steps
        self.before = [change, new]
        if not before:
            return new
        d1, e1 = change - before[0], new - before[1]
        self.steps = [d1, e1]
        if plain:
            return new
        along, least = _dot(change, d1), 1e-300
        one = _dot(d1, d1)
        if not steps:
            out: np.ndarray = new - along / np.maximum(one, least) * e1
            return out
        d2, e2 = steps
        both, two, across = _dot(d1, d2), _dot(d2, d2), _dot(change, d2)
        # The last term keeps parallel differences apart, of which one would do.
        size = one * two * (1.0 + 1e-12) - both * both + least
        out = new - (two * along - both * across) / size * e1
        out -= (one * across - both * along) / size * e2
        return out


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.einsum("ij,ij->j", one, other)
    return found

"""States at the output times that windows pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dae_solver.model.collocation import RadauWindow
from scimind.typing import Float, Int

# Later than a boundary by no more than rounding belongs to it.
ROUNDING = 1e-12


class Outputs:
    """The array of results, and where each scenario stands in it.

    Args:
        times: Output times, seconds.
        scenarios: How many.
        states: How many.
    """

    def __init__(self, times: Float[np.ndarray, " time"], scenarios: int, states: int) -> None:
        self.times = times
        self.x = np.full((scenarios, len(times), states), np.nan)

    def between(
        self, begin: Float[np.ndarray, " window"], end: Float[np.ndarray, " window"]
    ) -> tuple[Int[np.ndarray, "window most"], np.ndarray]:
        """Numbers of the output times in ``(begin, end]``, and which entries count."""
        slack = ROUNDING * np.maximum(1.0, np.abs(end))
        first = np.searchsorted(self.times, begin + slack, side="right")
        last = np.searchsorted(self.times, end + slack, side="right")
        number = first[:, None] + np.arange(max(int((last - first).max(initial=0)), 0))
        return np.minimum(number, len(self.times) - 1), number < last[:, None]

    def polynomial(
        self,
        window: RadauWindow,
        scenarios: Int[np.ndarray, " window"],
        begin: Float[np.ndarray, " window"],
        end: Float[np.ndarray, " window"],
        x: Float[np.ndarray, "state window"],
        deviation: Float[np.ndarray, "state node window"],
    ) -> None:
        """Write windows given by their deviations at the nodes."""
        number, valid = self.between(begin, end)
        if not valid.any():
            return
        basis = window.polynomials(self.times[number] - begin[:, None])  # [window, time, degree]
        spectrum = np.tensordot(window.spectrum, deviation, (1, 1))  # [degree, state, window]
        values = basis @ spectrum.transpose(2, 0, 1) + x.T[:, None, :]
        rows = np.broadcast_to(scenarios[:, None], number.shape)
        self.x[rows[valid], number[valid]] = values[valid]

    def dense(
        self,
        scenarios: Int[np.ndarray, " window"],
        begin: Float[np.ndarray, " window"],
        end: Float[np.ndarray, " window"],
        dense: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """Write steps given by ``dense(share of the step) -> [state, window], …``."""
        number, valid = self.between(begin, end)
        for k in range(number.shape[1]):
            inside = valid[:, k]
            share = np.clip((self.times[number[:, k]] - begin) / (end - begin), 0.0, 1.0)
            self.x[scenarios[inside], number[inside, k]] = dense(share)[0][:, inside].T

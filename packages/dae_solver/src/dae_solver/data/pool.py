"""Wrong trajectories and their residuals, from which the corrector learns.

They are the network's own: its predictions, its predictions after a correction, and mixtures of
both with the errors of others, made anew with the parameters of the moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.data.windows import Windows
from dae_solver.hybrid.residual import residual
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.dae import PowerDAE
from scimind.typing import Float, Int

TOLERANCE = 1e-6
# Shares of predictions, of corrected predictions, and (the rest) of errors of other windows.
PREDICTED, CORRECTED = 0.4, 0.35
# Largest factor by which errors on training windows are enlarged, as a power of e: those on other
# windows are larger.
ENLARGED = 2.5
# Residuals above this size teach nothing: there the trajectory is refused.
LARGEST = 30.0


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Iterates with their residuals.

    Attributes:
        windows: Number of the window of each.
        iterate: Coefficients of the wrong trajectory.
        residual: Of it.
        change: What leads from it to the right one.
    """

    windows: Int[np.ndarray, " entry"]
    iterate: Float[np.ndarray, "mode entry"]
    residual: Float[np.ndarray, "mode entry"]
    change: Float[np.ndarray, "mode entry"]


def first_pool(
    grid: PowerDAE,
    operator: TrajectoryOperator,
    windows: Windows,
    target: Float[np.ndarray, "mode window"],
    rng: np.random.Generator,
    entries: int,
) -> Pool:
    """Before there is a network: each trajectory mixed with a little of others."""
    chosen = _chosen(rng, target.shape[1], entries)
    truth = target[:, chosen]
    others = target[:, rng.integers(target.shape[1], size=(2, len(chosen)))]
    share = np.exp(rng.normal(np.log(0.03), 1.0, len(chosen)))
    error = (share * (others[:, 0] - others[:, 1])).astype(np.float32)
    return _pool(grid, operator, windows, chosen, truth, truth + error)


def next_pool(
    grid: PowerDAE,
    operator: TrajectoryOperator,
    windows: Windows,
    scaled: Float[np.ndarray, "feature window"],
    target: Float[np.ndarray, "mode window"],
    rng: np.random.Generator,
    entries: int,
) -> Pool:
    """Errors that the networks of ``operator`` make now."""
    chosen = _chosen(rng, target.shape[1], entries)
    truth, seen = target[:, chosen], scaled[:, chosen]
    number = len(chosen)
    error = operator.predict(seen) - truth
    large = np.exp(rng.uniform(0.0, ENLARGED, number)).astype(np.float32)
    kind = rng.random(number)
    mixed = kind >= PREDICTED + CORRECTED
    shuffled = error[:, rng.permutation(number)]
    iterate = truth + large * np.where(mixed, 0.5 * (error + shuffled), error)
    again = np.flatnonzero((kind >= PREDICTED) & ~mixed)
    part = windows.start.take(chosen[again])
    left = residual(grid, operator, part, iterate[:, again], TOLERANCE)
    good = left.solved & (left.size < LARGEST)
    again = again[good]
    change = operator.correction(seen[:, again], iterate[:, again], left.coefficients[:, good])
    some = np.exp(rng.uniform(0.0, 1.0, len(again))).astype(np.float32)
    iterate[:, again] = truth[:, again] + some * (iterate[:, again] + change - truth[:, again])
    return _pool(grid, operator, windows, chosen, truth, iterate)


def _chosen(rng: np.random.Generator, windows: int, entries: int) -> np.ndarray:
    return np.sort(rng.permutation(windows)[:entries])


def _pool(
    grid: PowerDAE,
    operator: TrajectoryOperator,
    windows: Windows,
    chosen: np.ndarray,
    truth: np.ndarray,
    iterate: np.ndarray,
) -> Pool:
    left = residual(grid, operator, windows.start.take(chosen), iterate, TOLERANCE)
    good = left.solved & (left.size < LARGEST)
    return Pool(
        windows=chosen[good],
        iterate=iterate[:, good],
        residual=left.coefficients[:, good],
        change=(truth - iterate)[:, good],
    )

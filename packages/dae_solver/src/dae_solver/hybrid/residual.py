"""How far a predicted window is from solving the equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.model.collocation import Quadrature
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.voltages import rotated
from dae_solver.solver.parameters import Parameters
from scimind.typing import Bool, Float

# Windows whose equations are evaluated together: their arrays stay in the cache.
BLOCK = 128


@dataclass(frozen=True, kw_only=True)
class Start:
    """Starts of windows, in the frame of their centre of inertia.

    Attributes:
        x: States, ``[state, window]``.
        y: Voltages, ``[algebraic, window]``.
        p: Parameters with the window as their last axis.
    """

    x: Float[np.ndarray, "state window"]
    y: Float[np.ndarray, "algebraic window"]
    p: Parameters

    def take(self, windows: np.ndarray) -> Start:
        """Some of the windows."""
        p = {name: value[..., windows] for name, value in self.p.items()}
        return Start(x=self.x[:, windows], y=self.y[:, windows], p=p)


@dataclass(frozen=True, kw_only=True)
class Residual:
    """What is left of the collocation equations ``x(t) - x(0) = integral of f``.

    Attributes:
        coefficients: In the modes of the operator, ``[mode, window]``.
        size: Root mean square over states and nodes of all of it, scaled as the modes are: also of
            what no mode can express; infinite where the voltages have no solution.
        solved: Whether they have one.
        y: Voltages at the last point of the quadrature, at or near the end of the windows.
    """

    coefficients: Float[np.ndarray, "mode window"]
    size: Float[np.ndarray, " window"]
    solved: Bool[np.ndarray, " window"]
    y: Float[np.ndarray, "algebraic window"]


def residual(
    grid: PowerDAE,
    operator: TrajectoryOperator,
    start: Start,
    coefficients: Float[np.ndarray, "mode window"],
    tolerance: float,
    quadrature: Quadrature | None = None,
) -> Residual:
    """The residual of predicted windows; voltages solve the network equations at every point.

    Args:
        grid: The equations.
        operator: Whose modes and nodes they are.
        start: Of the windows.
        coefficients: What is predicted.
        tolerance: Of the voltages, per unit.
        quadrature: One of the operator's window; by default that at the nodes.
    """
    quadrature = quadrature or operator.window.quadratures[0]
    windows = coefficients.shape[1]
    parts = [
        _block(grid, operator, start.take(some), coefficients[:, some], tolerance, quadrature)
        for some in np.array_split(np.arange(windows), max(1, -(-windows // BLOCK)))
    ]
    if len(parts) == 1:
        return parts[0]
    return Residual(
        coefficients=np.concatenate([each.coefficients for each in parts], axis=1),
        size=np.concatenate([each.size for each in parts]),
        solved=np.concatenate([each.solved for each in parts]),
        y=np.concatenate([each.y for each in parts], axis=1),
    )


def _block(
    grid: PowerDAE,
    operator: TrajectoryOperator,
    start: Start,
    coefficients: np.ndarray,
    tolerance: float,
    quadrature: Quadrature,
) -> Residual:
    modes = operator.modes
    rows = modes.rows(coefficients)  # [state + 1, node, window]
    there = rows if quadrature.at is None else quadrature.at.astype(np.float32) @ rows
    deviation = there[:-1].copy()
    deviation[modes.angles] += there[-1]
    with np.errstate(all="ignore"):
        f, y, solved = slopes(grid, start, deviation, there[-1], tolerance)
        moved = quadrature.integrate.astype(np.float32) @ f.astype(np.float32)
        center = np.tensordot(modes.inertia.astype(np.float32), moved[modes.angles], 1)
        moved[modes.angles] -= center
        rows = np.concatenate([moved, center[None]]) - rows
        values = modes.weighted(rows)
        size = np.sqrt((values**2).mean(0))
        good = solved & np.isfinite(size)
        values[:, ~good] = 0.0
    return Residual(
        coefficients=modes.basis @ values,
        size=np.where(good, size, np.inf),
        solved=good,
        y=y[:, -size.size :],
    )


def slopes(
    grid: PowerDAE,
    start: Start,
    deviation: Float[np.ndarray, "state node window"],
    center: Float[np.ndarray, "node window"],
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, Bool[np.ndarray, " window"]]:
    """``f [state, point, window]``, ``y [algebraic, point window]``, and whether all ``y`` exist.

    Voltages turn with the ``center`` of inertia, so they are guessed to be those of the start,
    turned as far as it has.
    """
    states, nodes, windows = deviation.shape
    p = {name: np.tile(value, nodes) for name, value in start.p.items()}
    x = (start.x[:, None, :] + deviation).reshape(states, nodes * windows)
    x = grid.limit(0.0, x, p)
    turn = center.reshape(-1)
    guess = rotated(np.tile(start.y, nodes), np.cos(turn), np.sin(turn))
    y, solved = grid.solve(0.0, x, guess, p, tolerance)
    f = np.asarray(grid.f(0.0, x, y, p)).reshape(states, nodes, windows)
    return f, y, solved.reshape(nodes, windows).all(0)

"""Eigenvalues of a grid at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.physics.scenarios import Scenarios
from dae_solver.solver.parameters import Parameters
from dae_solver.solver.system import DAESystem
from scimind.typing import Float, Shaped

if TYPE_CHECKING:
    import pandas

# Modes are at the origin to rounding of the difference quotients: of the largest eigenvalue.
ORIGIN = 1e-8


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Eigenvalues of a batch of operating points.

    Attributes:
        states: Names of the states.
        values: Eigenvalues, 1/s, ``[scenario, mode]``; the least damped first.
        participation: Share of each state in each mode, ``[scenario, state, mode]``; the shares of
            a mode add up to 1 in magnitude.
    """

    states: tuple[str, ...]
    values: Shaped[np.ndarray, "scenario mode"]
    participation: Float[np.ndarray, "scenario state mode"]

    @property
    def frequency(self) -> Float[np.ndarray, "scenario mode"]:
        """Oscillation frequency of each mode, hertz."""
        found: np.ndarray = np.abs(self.values.imag) / (2 * np.pi)
        return found

    @property
    def damping(self) -> Float[np.ndarray, "scenario mode"]:
        """Damping ratio of each mode; 1 for a mode at the origin."""
        size = np.abs(self.values)
        moves = size > ORIGIN * size.max(1, keepdims=True)
        return np.where(moves, -self.values.real / np.where(moves, size, 1.0), 1.0)

    def to_pandas(self, scenario: int = 0) -> pandas.DataFrame:
        """One row for each mode with its two most important states."""
        import pandas

        share = self.participation[scenario]
        order = np.argsort(-share, axis=0)
        return pandas.DataFrame(
            {
                "real": self.values[scenario].real,
                "imag": self.values[scenario].imag,
                "frequency_hz": self.frequency[scenario],
                "damping": self.damping[scenario],
                "states": [
                    ", ".join(self.states[k] for k in order[:2, mode])
                    for mode in range(share.shape[1])
                ],
            }
        )


def state_matrix(
    system: DAESystem,
    x: Float[np.ndarray, "state scenario"],
    y: Float[np.ndarray, "algebraic scenario"],
    p: Parameters,
) -> Float[np.ndarray, "scenario row column"]:
    """``f_x - f_y g_y^-1 g_x``: the states alone, the algebraic variables following them."""
    nx = len(system.states)
    jacobian = system.jacobian(np.zeros(x.shape[-1]), x, y, p, central=True)
    by_state = np.linalg.solve(jacobian[:, nx:, nx:], jacobian[:, nx:, :nx])
    return jacobian[:, :nx, :nx] - jacobian[:, :nx, nx:] @ by_state


def modes(system: DAESystem, scenarios: Scenarios) -> Modes:
    """Eigenvalues and participation factors at the operating point of each scenario.

    Source: Kundur, Power System Stability and Control, 12.2.
    """
    matrix = state_matrix(system, scenarios.x0, scenarios.y0, scenarios.parameters)
    values, right = np.linalg.eig(matrix)
    order = np.argsort(-values.real, axis=1, kind="stable")
    values = np.take_along_axis(values, order, 1)
    right = np.take_along_axis(right, order[:, None, :], 2)
    # A defective pair at the origin (angles without a reference) has no left eigenvectors.
    left = np.linalg.pinv(right).transpose(0, 2, 1)
    share = np.abs(right * left)
    share = share / np.maximum(share.sum(1, keepdims=True), 1e-300)
    return Modes(states=tuple(system.states), values=values, participation=share)

"""What the networks are told about the start of a window."""

from __future__ import annotations

import numpy as np

from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.voltages import rotated
from dae_solver.solver.parameters import Parameters
from scimind.typing import Float, Int

# Slopes enter as what the state would move in this time, seconds.
MOVE = 0.2
PARAMETERS = ("p0", "q0", "v0", "vref", "pref")


class Features:
    """Makes the features of windows of one grid.

    They are the states, their slopes, the voltages, loads and set-points, which machines are on,
    and the impedances between the machines' buses in the network of the window: all in the frame
    of the centre of inertia, see :func:`turned`.
    """

    def __init__(self, grid: PowerDAE) -> None:
        self.grid = grid
        self._upper = np.triu_indices(len(grid.machine_at))
        self._impedances = np.zeros((0, 2 * len(self._upper[0])), np.float32)
        self._made = np.zeros(0, bool)

    def __call__(
        self,
        x: Float[np.ndarray, "state batch"],
        y: Float[np.ndarray, "algebraic batch"],
        f: Float[np.ndarray, "state batch"],
        p: Parameters,
    ) -> Float[np.ndarray, "feature batch"]:
        """Features of states with their voltages and slopes."""
        online = p.get("online")
        every = np.ones((len(self.grid.machine_ids), x.shape[1]))
        return np.concatenate(
            [
                x,
                MOVE * f,
                y,
                *[p[name] for name in PARAMETERS],
                every if online is None else online,
                self.impedances(p["network"]),
            ],
            dtype=np.float32,
        )

    def impedances(self, network: Int[np.ndarray, " batch"]) -> Float[np.ndarray, "feature batch"]:
        """Between the machines' buses; devices are their admittances at the operating point."""
        found: np.ndarray = self.table(network)[network].T
        return found

    def table(self, network: Int[np.ndarray, " batch"]) -> Float[np.ndarray, "network feature"]:
        """Those of all networks; without meaning but for the given ones, and ones given before."""
        more = len(self.grid.topologies) - len(self._made)
        if more:
            self._made = np.concatenate([self._made, np.zeros(more, bool)])
            self._impedances = np.pad(self._impedances, ((0, more), (0, 0)))
        if not self._made[network].all():
            at = np.ix_(self.grid.machine_at, self.grid.machine_at)
            for number in np.unique(network[~self._made[network]]).tolist():
                z = self.grid.impedances(number)[at]
                self._impedances[number] = [*z.real[self._upper], *z.imag[self._upper]]
                self._made[number] = True
        return self._impedances


def turned(
    grid: PowerDAE, x: Float[np.ndarray, "state batch"], y: Float[np.ndarray, "algebraic batch"]
) -> tuple[np.ndarray, np.ndarray, Float[np.ndarray, " batch"]]:
    """States and voltages in the frame of the centre of inertia, and its angle.

    The equations know angles by their differences only, so trajectories turn with their start.
    """
    rows = grid.rows("delta")
    angle = (grid.inertia / grid.inertia.sum()) @ x[rows]
    x = x.copy()
    x[rows] -= angle
    return x, rotated(y, np.cos(angle), -np.sin(angle)), angle

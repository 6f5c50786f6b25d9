"""What the networks are told about the start of a window."""

from __future__ import annotations

import numpy as np

from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.voltages import rotated
from dae_solver.solver.parameters import Parameters
from scimind.typing import Float

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
        impedances = self.grid.machine_impedances.table(p["network"])[p["network"]]
        return np.concatenate(
            [
                x,
                MOVE * f,
                y,
                *[p[name] for name in PARAMETERS],
                every if online is None else online,
                impedances.T,
            ],
            dtype=np.float32,
        )


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

"""When no more is to be seen of a scenario that has lost synchronism."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.solver.events import Condition

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE

# Beyond this spread nothing is asked any more, radians; synchronism is lost at 180 degrees.
GONE = 1.25 * np.pi


def gone(grid: PowerDAE) -> Condition:
    """True where two angles of connected machines are more than 225 degrees apart."""
    rows = grid.rows("delta")

    def condition(t: Any, x: Any, y: Any, p: Any) -> Any:
        delta = x[rows]
        if "online" not in p:
            return np.ptp(delta, axis=0) > GONE
        connected = np.broadcast_to(p["online"] > 0, delta.shape)
        largest = np.where(connected, delta, -np.inf).max(0)
        return largest - np.where(connected, delta, np.inf).min(0) > GONE

    return condition

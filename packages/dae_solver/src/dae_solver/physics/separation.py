"""How far machines are apart, and when no more is to be seen of a scenario."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.solver.events import Condition
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE

# Beyond this spread nothing is asked any more, radians; synchronism is lost at 180 degrees.
GONE = 1.25 * np.pi


def angle_spread(
    delta: Float[np.ndarray, "*shape"], online: Any = None, axis: int = 0
) -> Float[np.ndarray, "*rest"]:
    """Largest distance of two angles, radians.

    Args:
        delta: Of the machines, which are on one axis.
        online: Positive where a machine is connected, broadcast to ``delta``; a tripped one rests
            and is apart from nobody. None where all are connected.
        axis: That of the machines.
    """
    if online is None:
        spread: np.ndarray = np.ptp(delta, axis=axis)
        return spread
    connected = np.asarray(online) > 0
    largest = np.where(connected, delta, -np.inf).max(axis)
    found: np.ndarray = largest - np.where(connected, delta, np.inf).min(axis)
    return found


def gone(grid: PowerDAE) -> Condition:
    """True where two angles of connected machines are more than 225 degrees apart."""
    rows = grid.rows("delta")

    def condition(t: Any, x: Any, y: Any, p: Any) -> Any:
        return angle_spread(x[rows], p.get("online")) > GONE

    return condition

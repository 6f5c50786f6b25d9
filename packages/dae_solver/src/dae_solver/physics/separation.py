"""How far machines are apart, and when no more is to be seen of a scenario."""

from __future__ import annotations

from functools import reduce
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
    largest = smallest = delta
    connected = None if online is None else np.asarray(online) > 0
    if connected is not None and not connected.all():
        largest, smallest = (np.where(connected, delta, beyond) for beyond in (-np.inf, np.inf))
    # Machine by machine: NumPy takes several times as long along a short last axis.
    found: np.ndarray = reduce(np.maximum, np.moveaxis(largest, axis, 0))
    found = found - reduce(np.minimum, np.moveaxis(smallest, axis, 0))
    return found


def gone(grid: PowerDAE) -> Condition:
    """True where two angles of connected machines are more than 225 degrees apart."""
    rows = grid.rows("delta")

    def condition(t: Any, x: Any, y: Any, p: Any) -> Any:
        return angle_spread(x[rows], p.get("online")) > GONE

    return condition

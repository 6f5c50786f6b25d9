"""What a grid with hidden values has at the place of a term, to draw beside what was found."""

from __future__ import annotations

from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem
from dae_solver.physics.terms import LOADS, SET_POINTS
from scimind.typing import Float

# Of a set-point, pu: equations are linear in them.
MOVE = 1e-3


def true_term(
    hidden: PowerSystem, nominal: PowerSystem, where: str, signal: str, u: Float[np.ndarray, " u"]
) -> Float[np.ndarray, " u"] | None:
    """What a term would have to add by one signal, all others at rest.

    Args:
        hidden: The grid that was measured.
        nominal: The one without the term.
        where: Place of the term, see :class:`dae_solver.physics.terms.Term`.
        signal: What the term sees.
        u: Values of the signal.

    Returns:
        That of the load that differs most, or of the machine with the largest gain; None where
        the grids do not differ there, or the signal is a voltage at a machine.
    """
    grids = [_Rest(grid, len(u)) for grid in (hidden, nominal)]
    if where in LOADS:
        one, other = (grid.load(where, signal, u) for grid in grids)
        found = (one - other)[np.abs(one - other).max(1).argmax()]
    elif signal == "speed":
        one, other = (grid.slopes(u) for grid in grids)
        found = grids[1].at_machine(where, one - other)
    else:
        return None
    return found if np.abs(found).max() > 1e-9 else None


class _Rest:
    """A grid at rest, as often as there are values of a signal."""

    def __init__(self, grid: PowerSystem, number: int) -> None:
        self.dae, self.number = grid.dae.in_numpy(), number
        start = grid.scenarios([])
        self.x, self.y = (np.repeat(part, number, 1) for part in (start.x0, start.y0))
        self.p = {name: np.repeat(value, number, -1) for name, value in start.parameters.items()}

    def load(self, where: str, signal: str, u: np.ndarray) -> Float[np.ndarray, "load u"]:
        """Power of each load as a share of that at rest."""
        x, rest = self._turning(u if signal == "frequency" else 0.0), self.p["v0"]
        size = rest * (u if signal == "v" else 1.0)
        g, b = self.dae._admittances(size, self.dae._seen(x, self.p))
        power, own = (g, self.p["p0"]) if where == "load.p" else (-b, self.p["q0"])
        return np.asarray(power * size**2 / own)

    def slopes(self, u: np.ndarray) -> Float[np.ndarray, "state u"]:
        """Of all states, while all machines turn at one speed."""
        return np.asarray(self.dae.f(0.0, self._turning(u), self.y, self.p))

    def at_machine(self, where: str, slopes: Float[np.ndarray, "state u"]) -> Any:
        """What at a place has the effect of these slopes."""
        machine = int(self.dae.terms.gain.argmax())
        if where == "torque":
            return slopes[self.dae.rows("omega")[machine]] * self.dae.inertia[machine]
        if where not in SET_POINTS:
            return slopes[self.dae.rows(where)[machine]]
        moved = self.p[where].copy()
        moved[machine] += MOVE
        by = self.dae.f(0.0, self.x, self.y, self.p | {where: moved}) / MOVE
        by = by - self.dae.f(0.0, self.x, self.y, self.p) / MOVE
        row = np.abs(by[:, 0]).argmax()
        return slopes[row] / by[row] if by[row, 0] else np.zeros(self.number)

    def _turning(self, u: Any) -> np.ndarray:
        x = self.x.copy()
        x[self.dae.rows("omega")] += u
        return x

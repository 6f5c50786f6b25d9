"""Loads that recover after a change of voltage, with a time constant and a steady exponent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.terms import LOADS
from dae_solver.unknown.coefficients import Coefficient, TermUnknown
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE


class LoadRecovery(TermUnknown):
    """Exponential recovery: impedances at once, another exponent in the long run.

    ``T z' = v^a - v^2 - z``, and the power is that of the impedance plus ``P0 z``.

    Source: Karlsson and Hill, IEEE Trans. Power Syst. 9, 157 (1994), with ``P0 z`` for their
    ``P_r`` and the transient exponent 2.

    Args:
        where: ``load.p`` or ``load.q``.

    Raises:
        InputError: It is elsewhere.
    """

    states = ("recovery",)

    def __init__(self, where: str = "load.p") -> None:
        if where not in LOADS:
            raise InputError(
                f"a load recovers at {' or '.join(LOADS)}, not at {where!r}", rule="unknown.place"
            )
        self.where, self.name = where, f"{where} recovery"

    def prepare(self, grid: PowerDAE) -> None:
        """Check that loads are impedances at once.

        Raises:
            InputError: They are not.
        """
        if not grid.load_model.linear:
            raise InputError(
                "loads that recover are impedances at once; begin with load 'zip 1 0 0'",
                rule="unknown.load",
            )

    def coefficients(self) -> list[Coefficient]:
        """Steady exponent and time constant."""
        return [
            Coefficient(
                name=f"{self.name}: steady exponent",
                nominal=2.0,
                scale=0.5,
                low=-2.0,
                high=5.0,
                tries=(0.0, 1.0, 1.8, 3.0),
            ),
            Coefficient(
                name=f"{self.name}: time constant, s",
                nominal=1.0,
                scale=0.3,
                low=0.05,
                high=200.0,
                tries=(0.3, 1.0, 3.0, 10.0),
            ),
        ]

    def add(self, seen: Mapping[str, Any], values: Any) -> Any:
        """The state, as at the voltage of the load: an impedance below the switch of the model."""
        return seen["recovery"]

    def slopes(self, seen: Mapping[str, Any], values: Any) -> list[Any]:
        """Towards the steady power."""
        v = seen["v"]
        return [(v ** values[0] - v * v - seen["recovery"]) / values[1]]

    def formula(self, values: Float[np.ndarray, " coefficient"]) -> str:
        """The equations with numbers."""
        place = "P / P0" if self.where == "load.p" else "Q / Q0"
        return f"{place} += z, {values[1]:.4g} s z' = v^{values[0]:.4g} - v^2 - z"

"""Impedances between the machines' buses, as numbers side by side: how a network connects them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scimind.typing import Float, Int

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE


class MachineImpedances:
    """Those of a grid's networks, worked out when they are first asked for.

    Devices are their admittances at the operating point. Impedances are those of all pairs of
    machines, real parts then imaginary parts.
    """

    def __init__(self, grid: PowerDAE) -> None:
        self.grid = grid
        self._upper = np.triu_indices(len(grid.machine_at))
        self._at = np.ix_(grid.machine_at, grid.machine_at)
        self._table = np.zeros((0, 2 * len(self._upper[0])), np.float32)
        self._made = np.zeros(0, bool)

    def table(self, network: Int[np.ndarray, " batch"]) -> Float[np.ndarray, "network value"]:
        """Those of all networks; without meaning but for the given ones, and ones given before."""
        more = len(self.grid.topologies) - len(self._made)
        if more:
            self._made = np.concatenate([self._made, np.zeros(more, bool)])
            self._table = np.pad(self._table, ((0, more), (0, 0)))
        if not self._made[network].all():
            for number in np.unique(network[~self._made[network]]).tolist():
                z = self.grid.impedances(number)[self._at]
                self._table[number] = [*z.real[self._upper], *z.imag[self._upper]]
                self._made[number] = True
        return self._table

"""Trajectories of a window as few coefficients: scaled deviations in orthogonal modes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from dae_solver.physics.dae import PowerDAE
from scimind.typing import Float

# Angles count so much more than their spread says, for they are what is certified.
ANGLES = 3.0
SMALLEST_SPREAD = 1e-6
# What is smaller in a mode, whose values have a norm of 1, is none: products with numbers that are
# not normal take a hundred times as long.
SMALLEST_VALUE = 1e-20


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Proper orthogonal modes of deviations from the start of a window.

    Angles are taken against their centre of inertia, whose own angle is one more row.

    Attributes:
        weight: Of each row, ``[state + 1]``.
        basis: ``[mode, (state + 1) node]``.
        spread: Standard deviation of each coefficient, ``[mode]``.
        angles: Rows of the rotor angles.
        inertia: Their shares of the inertia.
    """

    weight: Float[np.ndarray, " row"]
    basis: Float[np.ndarray, "mode value"]
    spread: Float[np.ndarray, " mode"]
    angles: np.ndarray
    inertia: Float[np.ndarray, " machine"]

    def __post_init__(self) -> None:
        none = np.abs(self.basis) < SMALLEST_VALUE
        if self.basis[none].any():
            object.__setattr__(self, "basis", np.where(none, np.float32(0.0), self.basis))

    @classmethod
    def fit(
        cls, grid: PowerDAE, deviations: Float[np.ndarray, "state node window"], modes: int
    ) -> Modes:
        """Modes of a sample of windows, by the singular value decomposition.

        Source: Sirovich, Quarterly of Applied Mathematics 45, 561 (1987).
        """
        angles, inertia = grid.rows("delta"), grid.inertia / grid.inertia.sum()
        rows = relative(deviations, angles, inertia)
        weight = 1.0 / (np.sqrt((rows**2).mean((1, 2))) + SMALLEST_SPREAD)
        weight[angles] *= ANGLES
        scaled = (rows * weight[:, None, None]).reshape(-1, rows.shape[2])  # [value, window]
        _, vectors = np.linalg.eigh(scaled @ scaled.T)
        basis = vectors[:, ::-1][:, :modes].T
        return cls(
            weight=weight.astype(np.float32),
            basis=np.ascontiguousarray(basis, np.float32),
            spread=np.asarray((basis @ scaled).std(1), np.float32) + np.float32(SMALLEST_SPREAD),
            angles=angles,
            inertia=inertia,
        )

    def encode(
        self, deviations: Float[np.ndarray, "state node window"]
    ) -> Float[np.ndarray, "mode window"]:
        """Coefficients of deviations."""
        rows = relative(deviations, self.angles, self.inertia)
        found: np.ndarray = self.basis @ self.weighted(rows)
        return found

    def weighted(
        self, rows: Float[np.ndarray, "row node window"]
    ) -> Float[np.ndarray, "value window"]:
        """Rows from :func:`relative` as scaled values."""
        scaled: np.ndarray = np.asarray(rows, np.float32) * self.weight[:, None, None]
        return scaled.reshape(-1, rows.shape[2])

    def rows(self, coefficients: Float[np.ndarray, "mode window"]) -> np.ndarray:
        """Deviations with angles against their centre, ``[state + 1, node, window]``."""
        values: np.ndarray = self.basis.T @ coefficients
        rows = values.reshape(len(self.weight), -1, values.shape[1])
        rows /= self.weight[:, None, None]
        return rows

    def angles_of(
        self, coefficients: Float[np.ndarray, "mode window"]
    ) -> Float[np.ndarray, "machine node window"]:
        """Deviations of the angles against their centre, radians."""
        nodes = self.basis.shape[1] // len(self.weight)
        part = self.basis.reshape(len(self.basis), -1, nodes)[:, self.angles]
        scaled = part / self.weight[self.angles][:, None]
        values: np.ndarray = scaled.reshape(len(self.basis), -1).T @ coefficients
        return values.reshape(len(self.angles), nodes, -1)

    def decode(
        self, coefficients: Float[np.ndarray, "mode window"], states: Any = slice(None)
    ) -> Float[np.ndarray, "state node window"]:
        """Deviations of all states, or of some."""
        values: np.ndarray = self.of_states(states).T @ coefficients
        return values.reshape(-1, self._absolute.shape[2], values.shape[1])

    def of_states(self, states: Any = slice(None)) -> Float[np.ndarray, "mode value"]:
        """Modes of all states, or of some, ``[mode, state node]``."""
        key = bytes(states) if isinstance(states, np.ndarray) else str(states)
        if key not in self._known:
            found: np.ndarray = self._absolute[:, states]
            self._known[key] = found.reshape(len(found), -1)
        return self._known[key]

    def spectra(
        self, spectrum: Float[np.ndarray, "degree node"], states: np.ndarray
    ) -> Float[np.ndarray, "mode value"]:
        """Polynomials of some states in each mode, ``[mode, degree state]``.

        Args:
            spectrum: Of the window, see :class:`dae_solver.model.collocation.RadauWindow`.
            states: Their rows.
        """
        key = bytes(spectrum) + bytes(states)
        if key not in self._known:
            found = np.einsum("dn,msn->mds", spectrum, self._absolute[:, states])
            self._known[key] = found.reshape(len(found), -1).astype(np.float32)
        return self._known[key]

    @cached_property
    def _known(self) -> dict[bytes | str, np.ndarray]:
        """Of states that were asked for before."""
        return {}

    def at_end(
        self, coefficients: Float[np.ndarray, "mode window"]
    ) -> Float[np.ndarray, "state window"]:
        """Deviations of all states at the last node."""
        found: np.ndarray = self.last @ coefficients
        return found

    @cached_property
    def last(self) -> Float[np.ndarray, "state mode"]:
        """Modes of the states themselves at the last node."""
        return np.ascontiguousarray(self._absolute[:, :, -1].T)

    @cached_property
    def _absolute(self) -> Float[np.ndarray, "mode state node"]:
        """Modes of the states themselves: not scaled, angles not against their centre."""
        nodes = self.basis.shape[1] // len(self.weight)
        rows = self.basis.reshape(len(self.basis), -1, nodes) / self.weight[:, None]
        rows[:, self.angles] += rows[:, -1:]
        found: np.ndarray = rows[:, :-1]
        return found


def relative(
    deviations: Float[np.ndarray, "state node window"],
    angles: np.ndarray,
    inertia: Float[np.ndarray, " machine"],
) -> Float[np.ndarray, "row node window"]:
    """Deviations with the angles less that of their centre, which becomes the last row."""
    center = np.tensordot(inertia.astype(deviations.dtype), deviations[angles], 1)
    rows: np.ndarray = np.concatenate([deviations, center[None]])
    rows[angles] -= center
    return rows

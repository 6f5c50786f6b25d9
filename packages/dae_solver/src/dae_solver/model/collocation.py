"""Radau collocation on one window of time: nodes, integrals, and values between the nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.special

from scimind.typing import Float


@dataclass(frozen=True, kw_only=True)
class Quadrature:
    """Where derivatives are taken, and their integrals from there.

    Attributes:
        at: From deviations at the nodes of a window to those at the points; None at the nodes.
        integrate: From derivatives at the points to integrals up to each node.
    """

    at: Float[np.ndarray, "point node"] | None
    integrate: Float[np.ndarray, "node point"]


class RadauWindow:
    """The nodes of a window ``[0, horizon]``, the last of which is its end.

    A trajectory is its deviation from the start at the nodes; between them it is the polynomial
    through start and nodes. Its derivative at the nodes equals ``f`` there where it solves the
    collocation equations, whose end values are those of Radau IIA, of order ``2 nodes - 1``.

    :attr:`quadratures` are that at the nodes and that at as many Gauss points: what a trajectory
    that satisfies the first leaves in the second is an estimate of the error of both. Those are at
    :attr:`points`, seconds.

    Args:
        nodes: How many.
        horizon: Length, seconds.

    Source: Hairer and Wanner, Solving Ordinary Differential Equations II, IV.5.
    """

    def __init__(self, nodes: int, horizon: float) -> None:
        self.horizon = horizon
        self.nodes = _radau(nodes)
        every = np.concatenate([[0.0], self.nodes])
        # Legendre coefficients of the polynomial through a start of 0 and the nodes.
        self.spectrum = np.ascontiguousarray(np.linalg.inv(_legendre(every, nodes))[:, 1:])
        # The integral of P_n is (P_{n+1} - P_{n-1}) / (2 n + 1), that of P_0 is P_1 + P_0.
        values = _legendre(self.nodes, nodes)
        below = np.concatenate([-values[:, :1], values[:, :-2]], axis=1)
        integrals = 0.5 * horizon * (values[:, 1:] - below) / (2.0 * np.arange(nodes) + 1.0)
        inverse = np.linalg.inv(values[:, :-1])
        self.integrate: Float[np.ndarray, "node node"] = integrals @ inverse
        points = (scipy.special.roots_legendre(nodes)[0] + 1.0) / 2.0
        inverse = np.linalg.inv(_legendre(points, nodes - 1))
        self.points: Float[np.ndarray, " node"] = horizon * points
        self.quadratures = (
            Quadrature(at=None, integrate=self.integrate),
            Quadrature(at=self.between(self.points), integrate=integrals @ inverse),
        )

    def polynomials(self, t: Float[np.ndarray, "*time"]) -> Float[np.ndarray, "*time degree"]:
        """Legendre polynomials at times from the start, seconds; see :attr:`spectrum`."""
        return _legendre(t / self.horizon, len(self.nodes))

    @property
    def times(self) -> Float[np.ndarray, " node"]:
        """Times of the nodes from the start, seconds."""
        return self.horizon * self.nodes

    def between(self, t: Float[np.ndarray, " time"]) -> Float[np.ndarray, "time node"]:
        """Matrix from deviations at the nodes to deviations at other times, seconds."""
        found: np.ndarray = self.polynomials(t) @ self.spectrum
        return found


def _legendre(share: np.ndarray, degree: int) -> np.ndarray:
    """Legendre polynomials up to a degree, shifted to ``[0, 1]``, on a last axis."""
    s = 2.0 * share - 1.0
    found = [np.ones_like(s), s]
    for n in range(1, degree):
        found.append(((2 * n + 1) * s * found[n] - n * found[n - 1]) / (n + 1))
    return np.stack(found, axis=-1)


def _radau(nodes: int) -> np.ndarray:
    """Right Radau nodes on ``(0, 1]``: those of the Jacobi polynomial of (1, 0), and the end."""
    inner, _ = scipy.special.roots_jacobi(nodes - 1, 1.0, 0.0)
    return np.concatenate([(inner + 1.0) / 2.0, [1.0]])

"""Static loads: power as a function of voltage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scimind.errors import InputError


@dataclass(frozen=True, kw_only=True)
class LoadModel:
    """How loads depend on their voltage ``v = |V| / |V0|``.

    ``P = P0 (z v^2 + i v + p)`` and ``Q`` alike; or ``P = P0 v^alpha``, ``Q = Q0 v^beta``. Below
    ``switch`` pu a load turns into the impedance that takes the same power there, because a
    constant power has no solution near a fault.

    Attributes:
        z: Share of constant impedance.
        i: Share of constant current.
        p: Share of constant power.
        alpha: Exponent of the active power; replaces the shares where given.
        beta: Exponent of the reactive power.
        switch: Voltage below which every load is an impedance, pu.
    """

    z: float = 1.0
    i: float = 0.0
    p: float = 0.0
    alpha: float | None = None
    beta: float | None = None
    switch: float = 0.7

    def __post_init__(self) -> None:
        if (self.alpha is None) != (self.beta is None):
            raise InputError(
                f"a load has alpha={self.alpha} and beta={self.beta}; give both or neither",
                rule="power.load",
            )
        if self.alpha is None and abs(self.z + self.i + self.p - 1.0) > 1e-9:
            raise InputError(
                f"the shares of a load add up to {self.z + self.i + self.p:g}, not 1 "
                f"(z={self.z}, i={self.i}, p={self.p})",
                rule="power.load",
            )
        if not 0 <= self.switch < 1:
            raise InputError(
                f"loads turn into impedances below switch={self.switch} pu; give 0 to 1",
                rule="power.load",
            )

    @classmethod
    def parse(cls, text: str) -> LoadModel:
        """From ``zip 0.4 0.3 0.3`` or ``exponential 1.35 2.6``, as on the command line.

        Raises:
            InputError: The text is neither.
        """
        kind, *numbers = text.replace(",", " ").split()
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = []
        if kind == "zip" and len(values) == 3:
            return cls(z=values[0], i=values[1], p=values[2])
        if kind == "exponential" and len(values) == 2:
            return cls(alpha=values[0], beta=values[1])
        raise InputError(
            f"load model {text!r} is neither 'zip Z I P' nor 'exponential ALPHA BETA'",
            rule="power.load",
        )

    @property
    def linear(self) -> bool:
        """Whether it is an impedance at all voltages."""
        return self.alpha is None and self.z == 1.0

    def admittances(
        self,
        m: Any,
        size: Any,
        v0: Any,
        p0: Any,
        q0: Any,
        alpha: Any = None,
        beta: Any = None,
    ) -> tuple[Any, Any]:
        """Conductance and susceptance ``(P, -Q) / |V|^2`` at the voltage magnitude ``size``.

        Args:
            m: Functions of the arrays.
            size: Voltage magnitude, ``[load, scenario]``.
            v0: Initial magnitude.
            p0: Active power at ``v0``.
            q0: Reactive power at ``v0``.
            alpha: Exponent of the active power of each load, instead of that of the model.
            beta: The same of the reactive power.
        """
        active, reactive = self.factors(m, size, v0, alpha, beta)
        base = 1.0 / (v0 * v0)
        return p0 * base * active, -q0 * base * reactive

    def factors(
        self, m: Any, size: Any, v0: Any, alpha: Any = None, beta: Any = None
    ) -> tuple[Any, Any]:
        """Admittances by those at the initial voltage: of the active and of the reactive power.

        The arguments are those of :meth:`admittances`.
        """
        alpha = self.alpha if alpha is None else alpha
        beta = self.beta if beta is None else beta
        if alpha is None and self.linear:
            return 1.0, 1.0
        # Below the switch everything is as at the switch.
        v = m.maximum(size, self.switch)
        if alpha is None:
            by = v0 / v
            share = self.z + by * (self.i + by * self.p)
            return share, share
        log = m.log(v / v0)
        return m.exp((alpha - 2.0) * log), m.exp((beta - 2.0) * log)

    def exponents(
        self, m: Any, size: Any, v0: Any, alpha: Any = None, beta: Any = None
    ) -> tuple[Any, Any]:
        """``d ln P / d ln |V|`` and the same of ``Q``.

        The arguments are those of :meth:`admittances`.
        """
        alpha = self.alpha if alpha is None else alpha
        beta = self.beta if beta is None else beta
        if alpha is None and self.linear:
            return 2.0, 2.0
        below = size < self.switch
        if alpha is None:
            by = v0 / m.maximum(size, self.switch)
            found = (2 * self.z + self.i * by) / (self.z + by * (self.i + by * self.p))
            found = m.where(below, 2.0, found)
            return found, found
        return m.where(below, 2.0, alpha), m.where(below, 2.0, beta)

    def slopes(
        self, real: Any, imag: Any, v0: Any, p0: Any, q0: Any, alpha: Any = None, beta: Any = None
    ) -> np.ndarray:
        """Derivatives of the currents into the network by the voltages, ``[2, 2, load, ...]``.

        Args:
            real: Voltages, real parts, ``[load, ...]``.
            imag: Imaginary parts.
            v0: As for :meth:`admittances`, and so on.
            p0: Active power.
            q0: Reactive power.
            alpha: Exponent of the active power.
            beta: The same of the reactive power.
        """
        square = real * real + imag * imag
        size = np.sqrt(square)
        g, b = self.admittances(np, size, v0, p0, q0, alpha, beta)
        of_p, of_q = self.exponents(np, size, v0, alpha, beta)
        square = np.maximum(square, 1e-300)
        return _slopes(real, imag, g, b, g * (of_p - 2.0) / square, b * (of_q - 2.0) / square)


def slopes_of(admittances: Callable[[Any], tuple[Any, Any]], real: Any, imag: Any) -> np.ndarray:
    """The same as :meth:`LoadModel.slopes`, by difference quotients of any admittances.

    Args:
        admittances: Conductance and susceptance at a voltage magnitude.
        real: Voltages, real parts, ``[load, ...]``.
        imag: Imaginary parts.
    """
    size, step = np.hypot(real, imag), 1e-6
    (g1, b1), (g2, b2) = admittances(size - step), admittances(size + step)
    width = 2.0 * step * np.maximum(size, 1e-300)
    return _slopes(real, imag, *admittances(size), (g2 - g1) / width, (b2 - b1) / width)


def _slopes(real: Any, imag: Any, g: Any, b: Any, by_g: Any, by_b: Any) -> np.ndarray:
    """Derivatives of ``-(g + jb) V``; the last two are those of ``g`` and ``b`` by |V|, by |V|."""
    # |V| d|V| = V_r dV_r + V_i dV_i.
    along, across = by_g * real - by_b * imag, by_g * imag + by_b * real
    return np.array(
        [
            [-g - along * real, b - along * imag],
            [-b - across * real, -g - across * imag],
        ]
    )

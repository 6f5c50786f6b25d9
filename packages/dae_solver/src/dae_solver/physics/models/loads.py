"""Static loads: power as a function of voltage."""

from __future__ import annotations

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
        alpha = self.alpha if alpha is None else alpha
        beta = self.beta if beta is None else beta
        base = 1.0 / (v0 * v0)
        if alpha is None and self.linear:
            return p0 * base, -q0 * base
        # Below the switch everything is as at the switch.
        v = m.maximum(size, self.switch) / v0
        if alpha is None:
            share = self.z + self.i / v + self.p / (v * v)
            return p0 * share * base, -q0 * share * base
        log = m.log(v)
        active = m.exp((alpha - 2.0) * log)
        reactive = m.exp((beta - 2.0) * log)
        return p0 * active * base, -q0 * reactive * base

    def slope(self) -> tuple[float, float]:
        """``d ln P / d ln v`` and the same of ``Q`` at the initial voltage."""
        if self.alpha is not None and self.beta is not None:
            return self.alpha, self.beta
        return 2 * self.z + self.i, 2 * self.z + self.i


def jacobian_block(
    p: np.ndarray, q: np.ndarray, v: np.ndarray, slope: tuple[float, float]
) -> np.ndarray:
    """``-dI/dV`` of loads at a voltage, which linearises them: real blocks ``[load, 2, 2]``.

    Args:
        p: Active power, ``[load]``.
        q: Reactive power.
        v: Complex voltage.
        slope: From :meth:`LoadModel.slope`.
    """
    # The load takes I = (P - jQ) / conj(V); d|V| = Re(conj(V) dV) / |V|.
    size = np.abs(v)
    taken = (p - 1j * q) / np.conj(v)
    by_size = (slope[0] * p - 1j * slope[1] * q) / np.conj(v) / size
    blocks = np.zeros((len(v), 2, 2))
    for column, change in enumerate((1.0, 1j)):
        along = (np.conj(v) * change).real / size
        total = by_size * along - taken / np.conj(v) * np.conj(change)
        blocks[:, 0, column], blocks[:, 1, column] = total.real, total.imag
    return blocks

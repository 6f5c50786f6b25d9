"""Synchronous machines: rotor states and the current into the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.models.base import Model, Parameter, quadratic

_ROTOR = {
    "M": Parameter(None, "power", "inertia 2 H, seconds"),
    "D": Parameter(0.0, "power", "damping, pu torque by pu speed"),
    "D3": Parameter(0.0, "power", "damping by the square of the speed deviation, pu"),
    "ra": Parameter(0.0, "impedance", "armature resistance, pu"),
}


@dataclass
class Stator:
    """What the stator of each machine does at a time, ``[device, scenario]``.

    Attributes:
        i_real: Current into the network, real part.
        i_imag: Its imaginary part.
        torque: Electric torque.
        field_current: ``X_ad I_fd``, which some exciters measure.
        inner: What the derivatives use again.
    """

    i_real: Any
    i_imag: Any
    torque: Any
    field_current: Any
    inner: Any


class Machine(Model):
    """A machine with speed ``omega`` and angle ``delta``.

    ``delta' = w0 (omega - 1)`` and ``M omega' = tm - te - D (omega - 1)``; voltages and currents
    are in the rotor's frame, ``(d + j q) = (re + j im) exp(j (pi/2 - delta))``. The stator has no
    dynamics and no speed voltage.
    """

    frequency: float = 60.0
    # Rows in the arrays of all machines.
    rows: slice = slice(None)

    def check(self) -> None:
        """Inertia is positive."""
        self.require("M", self.value["M"] > 0, "the inertia is positive")

    def initial(self, v: Any, s: Any) -> tuple[list[Any], Any, Any]:
        """States, field voltage and torque at rest, from complex voltage and power."""
        raise NotImplementedError

    def affine(self, x: Mapping[str, Any], p: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
        """The current ``I_r = a + c V_r + d V_i``, ``I_i = b + e V_r + f V_i``, affine in voltage.

        Returns:
            ``a, b, c, d, e, f``.
        """
        raise NotImplementedError

    def stator(self, x: Mapping[str, Any], v_real: Any, v_imag: Any, p: Any) -> Stator:
        """Currents and torque."""
        raise NotImplementedError

    def slopes(self, x: Any, stator: Stator, field: Any, torque: Any, p: Any) -> list[Any]:
        """Derivatives of all states."""
        raise NotImplementedError

    def rotor(self, x: Any, stator: Stator, torque: Any, p: Any) -> list[Any]:
        """Derivatives of angle and speed."""
        deviation = x["omega"] - 1.0
        damping = self.get(p, "D") * deviation
        if self.cubic or f"{self.name}.D3" in p:
            damping = damping + self.get(p, "D3") * deviation * self.m.abs(deviation)
        slope = (torque - stator.torque - damping) / self.get(p, "M")
        return [2 * np.pi * self.frequency * deviation, slope]

    def to_rotor(self, x: Any, v_real: Any, v_imag: Any) -> tuple[Any, Any, Any, Any]:
        """Voltages in the rotor's frame, and the sine and cosine of its angle."""
        sin, cos = self.m.sin(x["delta"]), self.m.cos(x["delta"])
        return v_real * sin - v_imag * cos, v_real * cos + v_imag * sin, sin, cos

    @property
    def cubic(self) -> bool:
        """Whether some device has damping by the square of its speed deviation."""
        return bool(np.any(self.value["D3"] != 0))

    def to_network(
        self,
        current: tuple[Any, Any],
        sin: Any,
        cos: Any,
        torque: Any,
        **more: Any,
    ) -> Stator:
        """The stator's result from currents in the rotor's frame."""
        i_d, i_q = current
        return Stator(
            i_real=i_d * sin + i_q * cos,
            i_imag=i_q * sin - i_d * cos,
            torque=torque,
            **more,
        )


def _through(r: Any, x_d: Any, x_q: Any, by_d: Any, by_q: Any) -> tuple[Any, Any]:
    """The current that a voltage drives: ``r i_d - x_q i_q = by_d``, ``x_d i_d + r i_q = by_q``."""
    size = r * r + x_d * x_q
    return (r * by_d + x_q * by_q) / size, (r * by_q - x_d * by_d) / size


def _behind(r: Any, x: Any, e_d: Any, e_q: Any, delta: Any, m: Any) -> tuple[Any, ...]:
    """The affine current of a voltage ``e_d + j e_q`` of the rotor behind ``r + j x``."""
    sin, cos = m.sin(delta), m.cos(delta)
    i_d, i_q = _through(r, x, x, e_d, e_q)
    size = r * r + x * x
    g, b = r / size, x / size
    return i_d * sin + i_q * cos, i_q * sin - i_d * cos, -g, -b, b, -g


def _turned(value: Any, delta: Any) -> Any:
    """A complex quantity in the rotor's frame."""
    return value * np.exp(1j * (np.pi / 2 - delta))


class GENCLS(Machine):
    """Classical machine: a constant voltage behind the transient reactance.

    Source: Kundur, Power System Stability and Control, 13.3.
    """

    name = "GENCLS"
    parameters: ClassVar = {
        **_ROTOR,
        "xd1": Parameter(0.302, "impedance", "transient reactance, pu"),
    }
    states = ("delta", "omega")

    def initial(self, v: Any, s: Any) -> tuple[list[Any], Any, Any]:
        current = np.conj(s / v)
        inner = v + (self.value["ra"] + 1j * self.value["xd1"]) * current
        torque = s.real + self.value["ra"] * np.abs(current) ** 2
        return [np.angle(inner), np.ones(v.shape)], np.abs(inner), torque

    def affine(self, x: Any, p: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
        field = p["field"][self.rows]
        return _behind(self.get(p, "ra"), self.get(p, "xd1"), 0.0, field, x["delta"], self.m)

    def stator(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> Stator:
        v_d, v_q, sin, cos = self.to_rotor(x, v_real, v_imag)
        r, reactance = self.get(p, "ra"), self.get(p, "xd1")
        field = p["field"][self.rows]
        i_d, i_q = _through(r, reactance, reactance, -v_d, field - v_q)
        torque = (v_q + r * i_q) * i_q + (v_d + r * i_d) * i_d
        return self.to_network((i_d, i_q), sin, cos, torque, field_current=field, inner=None)

    def slopes(self, x: Any, stator: Stator, field: Any, torque: Any, p: Any) -> list[Any]:
        return self.rotor(x, stator, torque, p)


class TwoAxis(Machine):
    """Machine with one transient circuit in each axis.

    ``Td10 e1q' = field - e1q - (xd - xd1) i_d``, ``Tq10 e1d' = (xq - xq1) i_q - e1d``,
    ``te = e1d i_d + e1q i_q + (xq1 - xd1) i_d i_q``.

    Source: Sauer, Pai and Chow, Power System Dynamics and Stability, 6.4.
    """

    name = "TWOAXIS"
    parameters: ClassVar = {
        **_ROTOR,
        "xd": Parameter(None, "impedance", "d-axis synchronous reactance, pu"),
        "xq": Parameter(None, "impedance", "q-axis synchronous reactance, pu"),
        "xd1": Parameter(None, "impedance", "d-axis transient reactance, pu"),
        "xq1": Parameter(None, "impedance", "q-axis transient reactance, pu"),
        "Td10": Parameter(None, "", "d-axis transient time constant, seconds"),
        "Tq10": Parameter(None, "", "q-axis transient time constant, seconds"),
    }
    states = ("delta", "omega", "e1q", "e1d")

    def check(self) -> None:
        """Reactances and time constants are positive."""
        super().check()
        for name in ("xd1", "xq1", "Td10", "Tq10"):
            self.require(name, self.value[name] > 0, "it is positive")
        self.salient = bool(np.any(self.value["xd1"] != self.value["xq1"]))

    def initial(self, v: Any, s: Any) -> tuple[list[Any], Any, Any]:
        p = self.value
        current = np.conj(s / v)
        delta = np.angle(v + (p["ra"] + 1j * p["xq"]) * current)
        vr, ir = _turned(v, delta), _turned(current, delta)
        e1q = vr.imag + p["ra"] * ir.imag + p["xd1"] * ir.real
        e1d = vr.real + p["ra"] * ir.real - p["xq1"] * ir.imag
        field = e1q + (p["xd"] - p["xd1"]) * ir.real
        torque = e1d * ir.real + e1q * ir.imag + (p["xq1"] - p["xd1"]) * ir.real * ir.imag
        return [delta, np.ones(v.shape), e1q, e1d], field, torque

    def affine(self, x: Any, p: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
        r, xd1, xq1 = self.get(p, "ra"), self.get(p, "xd1"), self.get(p, "xq1")
        if not (self.salient or f"{self.name}.xd1" in p or f"{self.name}.xq1" in p):
            return _behind(r, xd1, x["e1d"], x["e1q"], x["delta"], self.m)
        sin, cos = self.m.sin(x["delta"]), self.m.cos(x["delta"])
        i_d, i_q = _through(r, xd1, xq1, x["e1d"], x["e1q"])
        size = r * r + xd1 * xq1
        # i_d = ... - (r v_d + xq1 v_q) / size, i_q = ... - (r v_q - xd1 v_d) / size, turned back.
        r, xd1, xq1 = r / size, xd1 / size, xq1 / size
        both, half = (xd1 - xq1) * sin * cos, xq1 * sin * sin + xd1 * cos * cos
        other = xd1 * sin * sin + xq1 * cos * cos
        return (
            i_d * sin + i_q * cos,
            i_q * sin - i_d * cos,
            both - r,
            -half,
            other,
            -both - r,
        )

    def stator(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> Stator:
        v_d, v_q, sin, cos = self.to_rotor(x, v_real, v_imag)
        r, xd1, xq1 = self.get(p, "ra"), self.get(p, "xd1"), self.get(p, "xq1")
        i_d, i_q = _through(r, xd1, xq1, x["e1d"] - v_d, x["e1q"] - v_q)
        torque = x["e1d"] * i_d + x["e1q"] * i_q + (xq1 - xd1) * i_d * i_q
        field_current = x["e1q"] + (self.get(p, "xd") - xd1) * i_d
        return self.to_network(
            (i_d, i_q),
            sin,
            cos,
            torque,
            field_current=field_current,
            inner=i_q,
        )

    def slopes(self, x: Any, stator: Stator, field: Any, torque: Any, p: Any) -> list[Any]:
        along_q = (self.get(p, "xq") - self.get(p, "xq1")) * stator.inner - x["e1d"]
        return [
            *self.rotor(x, stator, torque, p),
            (field - stator.field_current) / self.get(p, "Td10"),
            along_q / self.get(p, "Tq10"),
        ]


class GENROU(Machine):
    """Round-rotor machine with two circuits in each axis and quadratic saturation; ``xd2 = xq2``.

    Source: PSS/E model library, GENROU; Kundur, Power System Stability and Control, 3.6 and 5.4.
    """

    name = "GENROU"
    parameters: ClassVar = {
        **_ROTOR,
        "xl": Parameter(0.0, "impedance", "leakage reactance, pu"),
        "xd": Parameter(1.9, "impedance", "d-axis synchronous reactance, pu"),
        "xq": Parameter(1.7, "impedance", "q-axis synchronous reactance, pu"),
        "xd1": Parameter(0.302, "impedance", "d-axis transient reactance, pu"),
        "xq1": Parameter(0.5, "impedance", "q-axis transient reactance, pu"),
        "xd2": Parameter(0.3, "impedance", "d-axis subtransient reactance, pu"),
        "xq2": Parameter(0.3, "impedance", "q-axis subtransient reactance, pu"),
        "Td10": Parameter(8.0, "", "d-axis transient time constant, seconds"),
        "Td20": Parameter(0.04, "", "d-axis subtransient time constant, seconds"),
        "Tq10": Parameter(0.8, "", "q-axis transient time constant, seconds"),
        "Tq20": Parameter(0.02, "", "q-axis subtransient time constant, seconds"),
        "S10": Parameter(0.0, "", "saturation at 1.0 pu flux"),
        "S12": Parameter(0.0, "", "saturation at 1.2 pu flux"),
    }
    states = ("delta", "omega", "e1q", "e1d", "e2d", "e2q")

    def check(self) -> None:
        """Reactances fall from synchronous to leakage; subtransient ones are equal."""
        super().check()
        p = self.value
        self.require("xq2", np.abs(p["xd2"] - p["xq2"]) <= 1e-9 * p["xd2"], "GENROU has xq2 = xd2")
        self.require("xl", p["xl"] < np.minimum(p["xd1"], p["xq1"]), "it is below xd1 and xq1")
        for name, above in (("xd1", "xd2"), ("xq1", "xq2"), ("xd", "xd1"), ("xq", "xq1")):
            self.require(name, p[name] >= p[above], f"it is not below {above}")
        for name in ("Td10", "Td20", "Tq10", "Tq20"):
            self.require(name, p[name] > 0, "it is positive")
        xl = p["xl"]
        self.gd1, self.gq1 = (p["xd2"] - xl) / (p["xd1"] - xl), (p["xq2"] - xl) / (p["xq1"] - xl)
        self.gd2 = (p["xd1"] - p["xd2"]) / (p["xd1"] - xl) ** 2
        self.gq2 = (p["xq1"] - p["xq2"]) / (p["xq1"] - xl) ** 2
        self.gqd = (p["xq"] - xl) / (p["xd"] - xl)
        self.start, self.gain = quadratic(1.0, p["S10"], 1.2, p["S12"])

    def saturation(self, flux: Any) -> Any:
        """``S(flux)``, zero below where it starts."""
        above = self.m.maximum(flux - self.start, 0.0)
        return self.gain * above * above / self.m.maximum(flux, 1e-9)

    def initial(self, v: Any, s: Any) -> tuple[list[Any], Any, Any]:
        p = self.value
        current = np.conj(s / v)
        flux = v + (p["ra"] + 1j * p["xd2"]) * current
        se = self.saturation(np.abs(flux))
        # The angle at which the q-axis fluxes balance, saturation included.
        along = np.abs(flux) * (1 + se * self.gqd)
        across = np.abs(current) * (p["xq"] - p["xq2"])
        between = np.angle(flux) - np.angle(current)
        delta = np.angle(flux) + np.arctan(
            across * np.cos(between) / (along + across * np.sin(between))
        )
        ir, fr = _turned(current, delta), _turned(flux, delta)
        i_d, i_q, along_d, along_q = ir.real, ir.imag, fr.imag, fr.real
        field = (1 + se) * along_d + (p["xd"] - p["xd2"]) * i_d
        e1q = field - (p["xd"] - p["xd1"]) * i_d - se * along_d
        e2d = field - (p["xd"] - p["xl"]) * i_d - se * along_d
        e1d = (p["xq"] - p["xq1"]) * i_q - se * self.gqd * along_q
        e2q = (p["xq"] - p["xl"]) * i_q - se * self.gqd * along_q
        torque = s.real + p["ra"] * np.abs(current) ** 2
        return [delta, np.ones(v.shape), e1q, e1d, e2d, e2q], field, torque

    def fluxes(self, x: Any) -> tuple[Any, Any]:
        """Subtransient flux along each axis."""
        flux_d = self.gd1 * x["e1q"] + (1 - self.gd1) * x["e2d"]
        return flux_d, self.gq1 * x["e1d"] + (1 - self.gq1) * x["e2q"]

    def affine(self, x: Any, p: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
        flux_d, flux_q = self.fluxes(x)
        return _behind(self.get(p, "ra"), self.get(p, "xd2"), flux_q, flux_d, x["delta"], self.m)

    def stator(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> Stator:
        v_d, v_q, sin, cos = self.to_rotor(x, v_real, v_imag)
        r, x2 = self.get(p, "ra"), self.get(p, "xd2")
        flux_d, flux_q = self.fluxes(x)
        i_d, i_q = _through(r, x2, x2, flux_q - v_d, flux_d - v_q)
        se = self.saturation(self.m.sqrt(flux_d * flux_d + flux_q * flux_q))
        torque = (v_q + r * i_q) * i_q + (v_d + r * i_d) * i_d
        xd, xd1 = self.get(p, "xd"), self.get(p, "xd1")
        field_current = (
            x["e1q"]
            + (xd - xd1) * (self.gd1 * i_d + self.gd2 * (x["e1q"] - x["e2d"]))
            + se * flux_d
        )
        return self.to_network(
            (i_d, i_q),
            sin,
            cos,
            torque,
            field_current=field_current,
            inner=(i_d, i_q, se * flux_q),
        )

    def slopes(self, x: Any, stator: Stator, field: Any, torque: Any, p: Any) -> list[Any]:
        i_d, i_q, saturated = stator.inner
        xq, xq1, xl = self.get(p, "xq"), self.get(p, "xq1"), self.get(p, "xl")
        damper = (
            x["e1d"]
            + (xq - xq1) * (self.gq2 * (x["e1d"] - x["e2q"]) - self.gq1 * i_q)
            + saturated * self.gqd
        )
        return [
            *self.rotor(x, stator, torque, p),
            (field - stator.field_current) / self.get(p, "Td10"),
            -damper / self.get(p, "Tq10"),
            (x["e1q"] - (self.get(p, "xd1") - xl) * i_d - x["e2d"]) / self.get(p, "Td20"),
            (x["e1d"] + (xq1 - xl) * i_q - x["e2q"]) / self.get(p, "Tq20"),
        ]


MACHINES: dict[str, type[Machine]] = {each.name: each for each in (GENCLS, TwoAxis, GENROU)}

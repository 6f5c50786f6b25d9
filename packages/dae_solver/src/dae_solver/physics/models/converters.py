"""Converters of renewable sources: from current commands to the current into the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.models.base import Model, Parameter

UNLIMITED = 9999.0


@dataclass
class Terminal:
    """What a converter sees of its bus in its own frame, ``[device, scenario]``.

    Attributes:
        size: Voltage magnitude, pu.
        along: Voltage along the angle of the converter, pu; the magnitude without a phase-locked
            loop.
        across: Voltage a quarter turn ahead of it.
        cos: Of the angle of the converter in the frame of the network.
        sin: Of the same.
    """

    size: Any
    along: Any
    across: Any
    cos: Any
    sin: Any


class REGCA1(Model):
    """Generic converter: active and reactive current follow their commands.

    ``Tg ip' = command - ip``, rising by ``Rrpwr`` at most; ``Tg iq'`` alike, with the limits
    ``Iqrmax`` where reactive power was supplied at the start and ``Iqrmin`` where it was taken. The
    active current stays below a limit that falls with the filtered voltage (low-voltage power
    logic, ``Brkpt``, ``Zerox``, ``Lvpl1``), and is cut at once below ``Lvpnt1``. Above ``Volim``
    reactive current is taken back by ``Khv``, down to ``Iolim``. The current is
    ``(ip - j iq) exp(j angle)``.

    Source: WECC Renewable Energy Modeling Task Force, Generic solar photovoltaic system dynamic
    simulation model specification (2012), REGC_A; PSS/E model library, REGCA1.
    """

    name = "REGCA1"
    parameters: ClassVar = {
        "Lvplsw": Parameter(1.0, "", "1 where the low-voltage power logic works, else 0"),
        "Tg": Parameter(0.1, "", "time constant of the currents, seconds"),
        "Rrpwr": Parameter(10.0, "power", "fastest rise of the active current, pu by second"),
        "Brkpt": Parameter(1.0, "", "voltage above which the power logic has no limit, pu"),
        "Zerox": Parameter(0.5, "", "voltage below which its limit is zero, pu"),
        "Lvpl1": Parameter(1.0, "power", "its limit at Brkpt, pu"),
        "Volim": Parameter(1.2, "", "voltage above which reactive current is taken back, pu"),
        "Lvpnt1": Parameter(0.8, "", "voltage below which active current is cut, pu"),
        "Lvpnt0": Parameter(0.4, "", "voltage below which there is none, pu"),
        "Iolim": Parameter(-1.5, "power", "least reactive current, pu"),
        "Tfltr": Parameter(0.1, "", "time constant of the voltage of the power logic, seconds"),
        "Khv": Parameter(0.7, "power", "reactive current by voltage above Volim, pu"),
        "Iqrmax": Parameter(1.0, "power", "fastest rise of the reactive current, pu by second"),
        "Iqrmin": Parameter(-1.0, "power", "its fastest fall, pu by second"),
        "Accel": Parameter(0.0, "", "unused: it eases the iteration of other programs"),
    }
    states = ("i_active", "i_reactive", "v_slow")

    def check(self) -> None:
        """Time constants and ranges are positive."""
        p = self.value
        for name in ("Tg", "Tfltr", "Rrpwr", "Iqrmax"):
            self.require(name, p[name] > 0, "it is positive")
        self.require("Iqrmin", p["Iqrmin"] < 0, "it is negative")
        self.require("Khv", p["Khv"] >= 0, "it is not negative")
        self.require("Brkpt", p["Brkpt"] > p["Zerox"], "it is above Zerox")
        self.require("Lvpnt1", p["Lvpnt1"] > p["Lvpnt0"], "it is above Lvpnt0")
        self.require("Lvplsw", np.isin(p["Lvplsw"], (0.0, 1.0)), "it is 0 or 1")

    def initial(self, v: Any, s: Any) -> tuple[list[Any], Any, Any]:
        """States at rest, active and reactive current, from complex voltage and power.

        Raises:
            InputError: The converter would not be at rest: its voltage is where currents are cut,
                or the active current is above the limit of the power logic.
        """
        size = np.abs(v)
        active, reactive = s.real / size, s.imag / size
        self.within(size, "Lvpnt1", "Volim", "a voltage")
        cap = np.broadcast_to(self.cap(size, {})[0], size.shape)
        self.refuse_above(active, cap, "an active current", "the low-voltage power logic")
        taken = -self.value["Iolim"] + 0.0 * size
        self.refuse_above(-reactive, taken, "a reactive current taken", "Iolim")
        return [active, reactive, size], active, reactive

    def cap(self, v_slow: Any, p: Any) -> tuple[Any, Any]:
        """Largest active current of the power logic, and how it grows with the voltage."""
        m = self.m
        gain = self.get(p, "Lvpl1") / (self.get(p, "Brkpt") - self.get(p, "Zerox"))
        above = v_slow - self.get(p, "Zerox")
        free = (v_slow >= self.get(p, "Brkpt")) | (self.get(p, "Lvplsw") == 0)
        inside = (above > 0) & ~free
        return (
            m.where(free, UNLIMITED, m.maximum(gain * above, 0.0)),
            m.where(inside, gain, 0.0),
        )

    def output(self, x: Mapping[str, Any], size: Any, p: Any) -> tuple[Any, Any]:
        """Active and reactive current at a voltage magnitude."""
        low = self.get(p, "Lvpnt0")
        share = self.clip((size - low) / (self.get(p, "Lvpnt1") - low), 0.0, 1.0)
        excess = self.m.maximum(size - self.get(p, "Volim"), 0.0)
        reactive = x["i_reactive"] - self.get(p, "Khv") * excess
        return share * x["i_active"], self.m.maximum(reactive, self.get(p, "Iolim"))

    def output_slopes(self, x: Mapping[str, Any], size: Any, p: Any) -> tuple[Any, Any]:
        """Derivatives of :meth:`output` by the voltage magnitude."""
        m, low, high = self.m, self.get(p, "Lvpnt0"), self.get(p, "Volim")
        top, gain = self.get(p, "Lvpnt1"), self.get(p, "Khv")
        cut = (size > low) & (size < top)
        above = x["i_reactive"] - gain * (size - high) > self.get(p, "Iolim")
        return (
            m.where(cut, x["i_active"] / (top - low), 0.0),
            m.where((size > high) & above, -gain, 0.0),
        )

    def slopes(
        self, x: Mapping[str, Any], active: Any, reactive: Any, size: Any, start: Any, p: Any
    ) -> list[Any]:
        """Derivatives of the states.

        Args:
            x: States by name.
            active: Command of the active current.
            reactive: Command of the reactive current.
            size: Voltage magnitude.
            start: Reactive power at the start, whose sign tells which rate is limited.
            p: Parameters.
        """
        m, time = self.m, self.get(p, "Tg")
        v_slope = (size - x["v_slow"]) / self.get(p, "Tfltr")
        rise = m.minimum((active - x["i_active"]) / time, self.get(p, "Rrpwr"))
        cap, growth = self.cap(x["v_slow"], p)
        # At the limit the current follows it where it falls.
        rise = m.where(x["i_active"] >= cap, m.minimum(rise, growth * v_slope), rise)
        most = m.where(start > 0, self.get(p, "Iqrmax"), UNLIMITED)
        least = m.where(start < 0, self.get(p, "Iqrmin"), -UNLIMITED)
        return [rise, self.clip((reactive - x["i_reactive"]) / time, least, most), v_slope]

    def limits(self, x: Any, p: Any) -> dict[str, Any]:
        """The active current below the limit of the power logic."""
        return {"i_active": self.m.minimum(x["i_active"], self.cap(x["v_slow"], p)[0])}

    def bends(self, x: Any, active: Any, reactive: Any, size: Any, start: Any, p: Any) -> list[Any]:
        """What changes sign where the equations are not smooth, each ``[device, scenario]``."""
        time = self.get(p, "Tg")
        rate = (reactive - x["i_reactive"]) / time
        bound = self.m.where(start > 0, self.get(p, "Iqrmax"), self.get(p, "Iqrmin"))
        excess = self.m.maximum(size - self.get(p, "Volim"), 0.0)
        return [
            *[x["v_slow"] - self.get(p, name) for name in ("Brkpt", "Zerox")],
            *[size - self.get(p, name) for name in ("Lvpnt0", "Lvpnt1", "Volim")],
            # What follows the limit is at it but for rounding.
            x["i_active"] - self.cap(x["v_slow"], p)[0] + 1e-9,
            (active - x["i_active"]) / time - self.get(p, "Rrpwr"),
            self.m.where(start == 0, 1.0, rate - bound),
            x["i_reactive"] - self.get(p, "Khv") * excess - self.get(p, "Iolim"),
        ]


CONVERTERS: dict[str, type[REGCA1]] = {REGCA1.name: REGCA1}

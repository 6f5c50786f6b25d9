"""Electrical controls of converters: from set-points and measurements to current commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.models.base import Model, Parameter

LEAST_VOLTAGE = 0.01


@dataclass
class Seen:
    """What an electrical control sees of its converter, ``[device, scenario]``.

    Attributes:
        v: Voltage at the terminal, as the converter measures it; pu.
        active: Active power that it supplies, pu.
        reactive: Reactive power.
        order_p: Set-point of the active power.
        order_q: Set-point of reactive power, power factor or voltage, as the flags say.
        v_start: Voltage at the start.
    """

    v: Any
    active: Any
    reactive: Any
    order_p: Any
    order_q: Any
    v_start: Any


@dataclass
class Commands:
    """What follows from the states, ``[device, scenario]``.

    Attributes:
        active: Command of the active current.
        reactive: Command of the reactive current.
        slopes: Derivatives of the states.
        bends: What changes sign where the equations are not smooth.
    """

    active: Any
    reactive: Any
    slopes: list[Any]
    bends: list[Any]


def _curve(letter: str, kind: str, last: float) -> dict[str, Parameter]:
    """Four points of a limit of a current, by voltage."""
    points: dict[str, Parameter] = {}
    for k, v, i in ((1, 0.2, 2.0), (2, 0.4, 4.0), (3, 0.8, 8.0), (4, 1.0, last)):
        points[f"V{letter}{k}"] = Parameter(v, "", f"voltage {k} of the {kind} limit, pu")
        points[f"I{letter}{k}"] = Parameter(i, "power", f"{kind} current there, pu")
    return points


class REECA1(Model):
    """Electrical control of a converter with a constant order of active power.

    Active current is the order, behind ``Tpord``, by the voltage. Reactive current is by the flags

    - ``QFLAG`` 0: reactive power by the voltage, behind ``Tiq``;
    - ``QFLAG`` 1: a PI controller of the voltage (``Kvp``, ``Kvi``), whose set-point is constant
      with ``VFLAG`` 0 and follows from a PI controller of reactive power (``Kqp``, ``Kqi``) with
      ``VFLAG`` 1;
    - ``PFFLAG`` 1: reactive power follows active power at the power factor of the start, 0: it is
      constant;
    - ``PQFLAG`` 0: reactive current comes first where both exceed ``Imax``, 1: active current.

    While the voltage is outside ``Vdip`` to ``Vup``, integrators and lags rest and ``Kqv`` times
    the deviation from ``Vref0`` (0: the voltage at the start) beyond the dead band is added. The
    voltage behind ``Trv`` divides powers, limited below at 0.01. States of what the flags leave out
    rest. Not supported, and refused: ``PFLAG`` 1 (order by the speed of a drive train), ``Thld``
    and ``Thld2`` (holding after a dip), ``PFFLAG`` 1 with a constant voltage set-point.

    Source: WECC Renewable Energy Modeling Task Force, Generic solar photovoltaic system dynamic
    simulation model specification (2012), REEC_A; PSS/E model library, REECA1. Limits of PI
    controllers: IEEE Std 421.5-2016, Annex E.
    """

    name = "REECA1"
    parameters: ClassVar = {
        "PFFLAG": Parameter(0.0, "", "1 for a constant power factor, else 0"),
        "VFLAG": Parameter(0.0, "", "1 where the voltage set-point follows reactive power, else 0"),
        "QFLAG": Parameter(0.0, "", "1 for voltage control, else 0"),
        "PFLAG": Parameter(0.0, "", "1 for an order by the speed, not supported"),
        "PQFLAG": Parameter(0.0, "", "1 where active current comes first, else 0"),
        "Vdip": Parameter(0.8, "", "voltage below which is a dip, pu"),
        "Vup": Parameter(1.2, "", "voltage above which it is treated as one, pu"),
        "Trv": Parameter(0.02, "", "time constant of the voltage, seconds"),
        "dbd1": Parameter(-0.02, "", "lower end of the dead band of the voltage, pu"),
        "dbd2": Parameter(0.02, "", "upper end of the dead band of the voltage, pu"),
        "Kqv": Parameter(1.0, "power", "reactive current by voltage during a dip, pu"),
        "Iqh1": Parameter(999.0, "power", "most reactive current added during a dip, pu"),
        "Iql1": Parameter(-999.0, "power", "least reactive current added during a dip, pu"),
        "Vref0": Parameter(0.0, "", "voltage from which a dip deviates, pu; 0: that of the start"),
        "Iqfrz": Parameter(0.0, "power", "current held after a dip, unused as Thld is 0"),
        "Thld": Parameter(0.0, "", "time for which it is held, seconds; only 0 is supported"),
        "Thld2": Parameter(0.0, "", "time for which the limit is held; only 0 is supported"),
        "Tp": Parameter(0.02, "", "time constant of the active power, seconds"),
        "QMax": Parameter(999.0, "power", "largest reactive power set-point, pu"),
        "QMin": Parameter(-999.0, "power", "smallest reactive power set-point, pu"),
        "VMAX": Parameter(999.0, "", "largest voltage set-point, pu"),
        "VMIN": Parameter(-999.0, "", "smallest voltage set-point, pu"),
        "Kqp": Parameter(1.0, "droop", "voltage by reactive power, pu"),
        "Kqi": Parameter(0.1, "droop", "the same by second"),
        "Kvp": Parameter(1.0, "power", "reactive current by voltage, pu"),
        "Kvi": Parameter(0.1, "power", "the same by second"),
        "Vref1": Parameter(0.0, "", "unused: set-points follow from the power flow"),
        "Tiq": Parameter(0.02, "", "time constant of the reactive current, seconds"),
        "dPmax": Parameter(999.0, "power", "fastest rise of the power order, pu by second"),
        "dPmin": Parameter(-999.0, "power", "its fastest fall, pu by second"),
        "PMAX": Parameter(999.0, "power", "largest power order, pu"),
        "PMIN": Parameter(0.0, "power", "smallest power order, pu"),
        "Imax": Parameter(999.0, "power", "largest current, pu"),
        "Tpord": Parameter(0.02, "", "time constant of the power order, seconds"),
        **_curve("q", "reactive", 10.0),
        **_curve("p", "active", 12.0),
    }
    states = ("v_filter", "p_filter", "q_integral", "v_integral", "i_order", "p_order")

    def check(self) -> None:
        """Flags are supported, time constants and ranges in order."""
        p = self.value
        for name in ("PFFLAG", "VFLAG", "QFLAG", "PQFLAG"):
            self.require(name, np.isin(p[name], (0.0, 1.0)), "it is 0 or 1")
        self.require("PFLAG", p["PFLAG"] == 0, "only 0, an order without speed, is supported")
        for name in ("Thld", "Thld2"):
            self.require(name, p[name] == 0, "only 0, nothing held after a dip, is supported")
        alone = (p["PFFLAG"] == 1) & (p["QFLAG"] == 1) & (p["VFLAG"] == 0)
        self.require("PFFLAG", ~alone, "with QFLAG 1 and VFLAG 0 only 0 is supported")
        for name in ("Tiq", "Tpord", "Imax", "dPmax"):
            self.require(name, p[name] > 0, "it is positive")
        for name in ("Trv", "Tp", "Kqv", "Kqp", "Kqi", "Kvp", "Kvi"):
            self.require(name, p[name] >= 0, "it is not negative")
        self.require("dPmin", p["dPmin"] < 0, "it is negative")
        self.require("dbd1", p["dbd1"] <= 0, "it is not positive")
        self.require("dbd2", p["dbd2"] >= 0, "it is not negative")
        for low, high in (("Vdip", "Vup"), ("Iql1", "Iqh1"), ("QMin", "QMax"), ("VMIN", "VMAX")):
            self.require(low, p[low] < p[high], f"it is below {high}")
        self.require("PMIN", p["PMIN"] <= p["PMAX"], "it is not above PMAX")
        for letter in "qp":
            points = [p[f"{kind}{letter}{k}"] for kind in "VI" for k in range(1, 5)]
            unused = np.all([point == 0 for point in points], axis=0)
            for k in range(1, 4):
                name = f"V{letter}{k}"
                rule = f"the voltages {name}, V{letter}{k + 1} rise, or all points are 0"
                self.require(name, unused | (p[name] < p[f"V{letter}{k + 1}"]), rule)

    def initial(self, v: Any, active: Any, reactive: Any) -> tuple[list[Any], Any]:
        """States at rest, and the set-point of reactive power, power factor or voltage.

        Args:
            v: Voltage magnitude.
            active: Active power.
            reactive: Reactive power.

        Raises:
            InputError: A limit is exceeded, or a power factor is kept without active power.
        """
        p = self.value
        self.within(v, "Vdip", "Vup", "a voltage")
        self.within(active, "PMIN", "PMAX", "a power")
        self.refuse_above(-active, 0.0 * v, "a power taken", "what it is: a source")
        size = np.hypot(active, reactive) / v
        current = reactive / v
        self.refuse_above(size, p["Imax"] + 0.0 * v, "a current", "Imax")
        reach = self.curve(v, "q", {}) + 0.0 * v
        self.refuse_above(np.abs(current), reach, "a reactive current", "Iq1 to Iq4")
        self.refuse_above(active / v, self.curve(v, "p", {}) + 0.0 * v, "a current", "Ip1 to Ip4")
        factor = p["PFFLAG"] == 1
        idle = factor & (active <= 0)
        self.refuse_above(
            np.where(idle, np.abs(reactive), -1.0), 0.0 * v, "a reactive power", "its power factor"
        )
        follows = np.where(factor, reactive / np.where(active > 0, active, 1.0), reactive)
        regulated = p["QFLAG"] == 1
        by_q = regulated & (p["VFLAG"] == 1)
        self.within(np.where(by_q, reactive, p["QMin"]), "QMin", "QMax", "a reactive power")
        self.within(np.where(regulated, v, p["VMIN"]), "VMIN", "VMAX", "a voltage")
        return [v, active, v, current, current, active], np.where(regulated & ~by_q, v, follows)

    def curve(self, v: Any, letter: str, p: Any) -> Any:
        """The limit of a current at a voltage, straight between its points."""
        m = self.m
        v1, i1 = self.get(p, f"V{letter}1"), self.get(p, f"I{letter}1")
        limit, used = i1, (v1 != 0) | (i1 != 0)
        for k in range(1, 4):
            v2, i2 = self.get(p, f"V{letter}{k + 1}"), self.get(p, f"I{letter}{k + 1}")
            width = m.where(v2 > v1, v2 - v1, 1.0)
            limit = limit + (i2 - i1) * self.clip((v - v1) / width, 0.0, 1.0)
            used = used | (v2 != 0) | (i2 != 0)
            v1, i1 = v2, i2
        return m.where(used, limit, 9999.0)

    def run(self, x: Mapping[str, Any], seen: Seen, p: Any) -> Commands:
        """Commands, derivatives and bends."""
        m = self.m
        imax, first = self.get(p, "Imax"), self.get(p, "PQFLAG") == 1
        dip = (seen.v < self.get(p, "Vdip")) | (seen.v > self.get(p, "Vup"))
        v_slope, v = self.lag(seen.v, x["v_filter"], self.get(p, "Trv"))
        p_slope, power = self.lag(seen.active, x["p_filter"], self.get(p, "Tp"))
        below = m.maximum(v, LEAST_VOLTAGE)
        wanted = x["p_order"] / below
        most_p, most_q = self.curve(v, "p", p), self.curve(v, "q", p)
        active = self.clip(wanted, 0.0, m.minimum(most_p, imax))
        most_q = m.minimum(most_q, m.where(first, self._rest(imax, active), imax))
        factor = self.get(p, "PFFLAG") == 1
        aim = m.where(factor, power * seen.order_q, seen.order_q)
        q_slope, base, pi_bends = self._pi(x, seen, aim, v, most_q, p)
        deviation = m.where(self.get(p, "Vref0") == 0, seen.v_start, self.get(p, "Vref0")) - v
        band = deviation - self.clip(deviation, self.get(p, "dbd1"), self.get(p, "dbd2"))
        extra = self.clip(self.get(p, "Kqv") * band, self.get(p, "Iql1"), self.get(p, "Iqh1"))
        asked = base + m.where(dip, extra, 0.0)
        reactive = self.clip(asked, -most_q, most_q)
        most_p = m.minimum(most_p, m.where(first, imax, self._rest(imax, reactive)))
        active = self.clip(wanted, 0.0, most_p)
        order = (seen.order_p - x["p_order"]) / self.get(p, "Tpord")
        order = self.clip(order, self.get(p, "dPmin"), self.get(p, "dPmax"))
        order = self.held(order, x["p_order"], self.get(p, "PMIN"), self.get(p, "PMAX"))
        i_slope = m.where(
            self.get(p, "QFLAG") == 1, 0.0, (aim / below - x["i_order"]) / self.get(p, "Tiq")
        )
        moving = [m.where(dip, 0.0, slope) for slope in (*q_slope, i_slope, order)]
        bends = [
            *[seen.v - self.get(p, name) for name in ("Vdip", "Vup")],
            *[deviation - self.get(p, name) for name in ("dbd1", "dbd2")],
            v - LEAST_VOLTAGE,
            *[v - self.get(p, f"V{letter}{k}") for letter in "qp" for k in range(1, 5)],
            *[wanted - most_p, asked - most_q, asked + most_q, *pi_bends],
        ]
        return Commands(active, reactive, [v_slope, p_slope, *moving], bends)

    def _rest(self, imax: Any, used: Any) -> Any:
        """What is left of the current beside one that is at right angles to it."""
        return self.m.sqrt(self.m.maximum(imax * imax - used * used, 0.0))

    def _pi(
        self, x: Any, seen: Seen, aim: Any, v: Any, most: Any, p: Any
    ) -> tuple[list[Any], Any, list[Any]]:
        """Slopes of both integrators, reactive current before a dip's, and bends."""
        m = self.m
        by_v, by_q = self.get(p, "QFLAG") == 1, self.get(p, "VFLAG") == 1
        low, high = self.get(p, "VMIN"), self.get(p, "VMAX")
        error = self.clip(aim, self.get(p, "QMin"), self.get(p, "QMax")) - seen.reactive
        raw = self.get(p, "Kqp") * error + x["q_integral"]
        q_slope = m.where(by_v & by_q, self.held(self.get(p, "Kqi") * error, raw, low, high), 0.0)
        behind = self.clip(m.where(by_q, raw, aim), low, high) - v
        out = self.get(p, "Kvp") * behind + x["v_integral"]
        v_slope = m.where(by_v, self.held(self.get(p, "Kvi") * behind, out, -most, most), 0.0)
        base = m.where(by_v, self.clip(out, -most, most), x["i_order"])
        bends = [out - most, out + most, raw - low, raw - high]
        return [q_slope, v_slope], base, [m.where(by_v, each, 1.0) for each in bends]

    def bounds(self, p: Any) -> dict[str, tuple[Any, Any]]:
        """Of the power order."""
        return {"p_order": (self.get(p, "PMIN"), self.get(p, "PMAX"))}


CONTROLS: dict[str, type[REECA1]] = {REECA1.name: REECA1}

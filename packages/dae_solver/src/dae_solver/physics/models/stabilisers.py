"""Power system stabilisers: from speed, power or voltage to a signal for the exciter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.models.base import Model, Parameter


@dataclass
class Signals:
    """What a stabiliser sees of its machine, ``[device, scenario]``, pu.

    Attributes:
        speed: Of the rotor.
        torque: Electric torque on the machine base.
        mechanical: Mechanical torque on the machine base.
        start: Mechanical torque at the start, on the machine base.
        v: Terminal voltage.
    """

    speed: Any
    torque: Any
    mechanical: Any
    start: Any
    v: Any


class IEEEST(Model):
    """A filter of second order, two lead-lags, and a washout with limits.

    Inputs: ``MODE`` 1 speed deviation, 3 electric power, 4 accelerating power as deviation of the
    mechanical one, 5 terminal voltage. Modes 2 and 6 measure a bus frequency or a derivative,
    which this phasor model has not.

    Source: IEEE Std 421.5 (PSS1A); PSS/E model library, IEEEST.
    """

    name = "IEEEST"
    parameters: ClassVar = {
        "MODE": Parameter(1.0, "", "input signal"),
        "A1": Parameter(0.0, "", "filter, s"),
        "A2": Parameter(0.0, "", "filter, s^2"),
        "A3": Parameter(0.0, "", "filter, s"),
        "A4": Parameter(0.0, "", "filter, s^2"),
        "A5": Parameter(0.0, "", "filter, s"),
        "A6": Parameter(0.0, "", "filter, s^2"),
        "T1": Parameter(0.0, "", "first lead, seconds"),
        "T2": Parameter(0.0, "", "first lag, seconds"),
        "T3": Parameter(0.0, "", "second lead, seconds"),
        "T4": Parameter(0.0, "", "second lag, seconds"),
        "T5": Parameter(1.0, "", "washout numerator, seconds"),
        "T6": Parameter(1.0, "", "washout denominator, seconds"),
        "KS": Parameter(1.0, "", "gain"),
        "LSMAX": Parameter(0.3, "", "largest output, pu"),
        "LSMIN": Parameter(-0.3, "", "smallest output, pu"),
        "VCU": Parameter(0.0, "", "terminal voltage above which the output is zero; 0 for none"),
        "VCL": Parameter(0.0, "", "terminal voltage below which the output is zero; 0 for none"),
    }
    states = ("filter1", "filter2", "filter3", "filter4", "ll1", "ll2", "washout")

    def check(self) -> None:
        """The input is one that the model has; filters are proper."""
        mode = self.value["MODE"]
        self.require("MODE", np.isin(mode, [1, 3, 4, 5]), "inputs 1, 3, 4 and 5 are supported")
        self.require("T6", self.value["T6"] > 0, "the washout has a positive time constant")
        some = self.value["A4"] > 0
        for name in ("A5", "A6"):
            zero = self.value[name] == 0
            self.require(name, zero | some, "a zero of the filter needs its pole A4")
        self.low = np.where(self.value["VCL"] > 0, self.value["VCL"], -np.inf)
        self.high = np.where(self.value["VCU"] > 0, self.value["VCU"], np.inf)

    def input(self, seen: Signals, p: Any) -> Any:
        """The signal that each device measures."""
        m, mode = self.m, self.get(p, "MODE")
        signal = m.where(mode == 1, seen.speed - 1.0, seen.torque)
        signal = m.where(mode == 4, seen.mechanical - seen.start, signal)
        return m.where(mode == 5, seen.v, signal)

    def initial(self, seen: Signals) -> list[Any]:
        """States at rest."""
        u = self.input(seen, {})
        return [u, 0.0 * u, u, 0.0 * u, u, u, self.value["KS"] * u]

    def run(self, x: Mapping[str, Any], seen: Signals, p: Any) -> tuple[list[Any], Any]:
        """Derivatives of the states, and the output."""
        m = self.m
        u = self.input(seen, p)
        first = self._second_order(u, x["filter1"], x["filter2"], "A1", "A2", p)
        u = first[2]
        second = self._second_order(u, x["filter3"], x["filter4"], "A3", "A4", p)
        y, slope, bend = second[2], second[3], second[4]
        u = m.where(
            self.get(p, "A4") > 0, y + self.get(p, "A5") * slope + self.get(p, "A6") * bend, y
        )
        slope1, u = self.lead_lag(u, x["ll1"], self.get(p, "T1"), self.get(p, "T2"))
        slope2, u = self.lead_lag(u, x["ll2"], self.get(p, "T3"), self.get(p, "T4"))
        u = self.get(p, "KS") * u
        washed, out = self.washout(u, x["washout"], self.get(p, "T5"), self.get(p, "T6"))
        out = self.clip(out, self.get(p, "LSMIN"), self.get(p, "LSMAX"))
        out = m.where((seen.v >= self.low) & (seen.v <= self.high), out, 0.0)
        return [first[0], first[1], second[0], second[1], slope1, slope2, washed], out

    def _second_order(
        self, u: Any, x: Any, rate: Any, one: str, two: str, p: Any
    ) -> tuple[Any, Any, Any, Any, Any]:
        """``1 / (1 + a s + b s^2)``: derivatives of both states; output, its slope and curvature.

        With ``b = 0`` a lag; with both zero the input.
        """
        m = self.m
        a, b = self.get(p, one), self.get(p, two)
        curved = b > 0
        bend = m.where(curved, (u - x - a * rate) / m.where(curved, b, 1.0), 0.0)
        slope, out = self.lag(u, x, a)
        slope = m.where(curved, rate, slope)
        out = m.where(curved, x, out)
        return slope, bend, out, slope, bend


STABILISERS: dict[str, type[IEEEST]] = {"IEEEST": IEEEST}

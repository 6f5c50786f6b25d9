"""Turbines and governors: from speed to mechanical torque."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from dae_solver.physics.models.base import Model, Parameter


class Governor(Model):
    """A turbine with its governor."""

    def initial(self, torque: Any) -> tuple[list[Any], Any]:
        """States at rest, and the power set-point, for a mechanical torque.

        Raises:
            InputError: The torque is outside the limits.
        """
        raise NotImplementedError

    def run(
        self, x: Mapping[str, Any], speed: Any, reference: Any, p: Any
    ) -> tuple[list[Any], Any]:
        """Derivatives of the states, and the torque."""
        raise NotImplementedError


class TGOV1(Governor):
    """Steam turbine: a valve with droop and limits, then a lead-lag; ``TGOV1DB`` has a dead band.

    Within the dead band the governor sees no deviation; outside only what exceeds it.

    Source: PSS/E model library, TGOV1; NERC, Dynamic models, dead band of type 1.
    """

    name = "TGOV1"
    parameters: ClassVar = {
        "R": Parameter(0.05, "droop", "droop, pu speed by pu power"),
        "VMAX": Parameter(1.2, "power", "largest valve position, pu"),
        "VMIN": Parameter(0.0, "power", "smallest valve position, pu"),
        "T1": Parameter(0.1, "", "time constant of the valve, seconds"),
        "T2": Parameter(0.2, "", "lead time constant of the turbine, seconds"),
        "T3": Parameter(10.0, "", "lag time constant of the turbine, seconds"),
        "Dt": Parameter(0.0, "power", "damping of the turbine, pu"),
    }
    states = ("valve", "turbine")

    def check(self) -> None:
        """Droop and time constant are positive."""
        for name in ("R", "T1"):
            self.require(name, self.value[name] > 0, "it is positive")

    def initial(self, torque: Any) -> tuple[list[Any], Any]:
        self.within(torque, "VMIN", "VMAX", "a torque")
        return [torque, torque], torque

    def deviation(self, speed: Any, p: Any) -> Any:
        """The speed deviation that the governor sees."""
        return speed - 1.0

    def run(self, x: Any, speed: Any, reference: Any, p: Any) -> tuple[list[Any], Any]:
        deviation = self.deviation(speed, p)
        slope = (reference - deviation / self.get(p, "R") - x["valve"]) / self.get(p, "T1")
        slope = self.held(slope, x["valve"], self.get(p, "VMIN"), self.get(p, "VMAX"))
        slope_turbine, out = self.lead_lag(
            x["valve"], x["turbine"], self.get(p, "T2"), self.get(p, "T3")
        )
        return [slope, slope_turbine], out - self.get(p, "Dt") * deviation

    def bounds(self, p: Any) -> dict[str, tuple[Any, Any]]:
        """Of the valve."""
        return {"valve": (self.get(p, "VMIN"), self.get(p, "VMAX"))}


class TGOV1DB(TGOV1):
    """As :class:`TGOV1` with a dead band."""

    name = "TGOV1DB"
    parameters: ClassVar = {
        **TGOV1.parameters,
        "dbL": Parameter(0.0, "", "lower end of the dead band, pu speed"),
        "dbU": Parameter(0.0, "", "upper end of the dead band, pu speed"),
    }

    def deviation(self, speed: Any, p: Any) -> Any:
        """What exceeds the dead band."""
        deviation = speed - 1.0
        return deviation - self.clip(deviation, self.get(p, "dbL"), self.get(p, "dbU"))

    def kinks(self, x: Any, speed: Any, p: Any) -> list[Any]:
        """Limits, and the ends of the dead band."""
        ends = [speed - 1.0 - self.get(p, name) for name in ("dbL", "dbU")]
        return [*super().kinks(x, speed, p), *ends]


class IEEEG1(Governor):
    """Steam turbine with reheat: a rate-limited valve and up to four stages.

    For one machine: the fractions of both shafts are added; they are normalised to one.

    Source: IEEE Committee Report, IEEE Trans. Power App. Syst. 92, 1904 (1973); PSS/E model
    library.
    """

    name = "IEEEG1"
    parameters: ClassVar = {
        "K": Parameter(20.0, "power", "gain, 1 / droop"),
        "T1": Parameter(1.0, "", "lag time constant of the governor, seconds"),
        "T2": Parameter(1.0, "", "its lead time constant, seconds"),
        "T3": Parameter(0.1, "", "time constant of the valve, seconds"),
        "UO": Parameter(0.1, "", "fastest opening, pu by second"),
        "UC": Parameter(-0.1, "", "fastest closing, pu by second"),
        "PMAX": Parameter(5.0, "power", "largest power, pu"),
        "PMIN": Parameter(0.0, "power", "smallest power, pu"),
        "T4": Parameter(0.4, "", "time constant of the steam chest, seconds"),
        "K1": Parameter(0.5, "", "share after the first stage, high pressure"),
        "K2": Parameter(0.0, "", "share after the first stage, low pressure"),
        "T5": Parameter(8.0, "", "time constant of the second stage, seconds"),
        "K3": Parameter(0.5, "", "share after the second stage, high pressure"),
        "K4": Parameter(0.0, "", "share after the second stage, low pressure"),
        "T6": Parameter(0.5, "", "time constant of the third stage, seconds"),
        "K5": Parameter(0.0, "", "share after the third stage, high pressure"),
        "K6": Parameter(0.0, "", "share after the third stage, low pressure"),
        "T7": Parameter(0.05, "", "time constant of the fourth stage, seconds"),
        "K7": Parameter(0.0, "", "share after the fourth stage, high pressure"),
        "K8": Parameter(0.0, "", "share after the fourth stage, low pressure"),
    }
    states = ("ll", "valve", "stage4", "stage5", "stage6", "stage7")

    def check(self) -> None:
        """Shares add up to something, and none is for a second machine."""
        self.require("T3", self.value["T3"] > 0, "it is positive")
        total = sum(self.value[f"K{k}"] for k in range(1, 9))
        self.require("K1", total > 0, "the shares K1 to K8 add up to zero")
        for k in (2, 4, 6, 8):
            self.require(
                f"K{k}",
                self.value[f"K{k}"] == 0,
                "a second machine on the turbine is not supported",
            )
        self.share = [self.value[f"K{k}"] / total for k in (1, 3, 5, 7)]

    def initial(self, torque: Any) -> tuple[list[Any], Any]:
        self.within(torque, "PMIN", "PMAX", "a torque")
        return [0.0 * torque, *[torque] * 5], torque

    def run(self, x: Any, speed: Any, reference: Any, p: Any) -> tuple[list[Any], Any]:
        slope_ll, out = self.lead_lag(1.0 - speed, x["ll"], self.get(p, "T2"), self.get(p, "T1"))
        rate = (self.get(p, "K") * out + reference - x["valve"]) / self.get(p, "T3")
        rate = self.clip(rate, self.get(p, "UC"), self.get(p, "UO"))
        slopes = [slope_ll, self.held(rate, x["valve"], self.get(p, "PMIN"), self.get(p, "PMAX"))]
        flow, torque = x["valve"], 0.0
        for stage, share in zip((4, 5, 6, 7), self.share, strict=True):
            slope, flow = self.lag(flow, x[f"stage{stage}"], self.get(p, f"T{stage}"))
            slopes.append(slope)
            torque = torque + share * flow
        return slopes, torque

    def bounds(self, p: Any) -> dict[str, tuple[Any, Any]]:
        """Of the valve."""
        return {"valve": (self.get(p, "PMIN"), self.get(p, "PMAX"))}


GOVERNORS: dict[str, type[Governor]] = {each.name: each for each in (TGOV1, TGOV1DB, IEEEG1)}

"""Excitation systems: from terminal voltage to field voltage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.models.base import Model, Parameter, quadratic


@dataclass
class Measured:
    """What an exciter sees of its machine, ``[device, scenario]``.

    Attributes:
        v: Terminal voltage.
        stabiliser: Output of the power system stabiliser; 0 without one.
        field_current: ``X_ad I_fd``.
        speed: Of the rotor, pu.
        reference: Voltage set-point.
    """

    v: Any
    stabiliser: Any
    field_current: Any
    speed: Any
    reference: Any


class Exciter(Model):
    """An excitation system."""

    def initial(self, field: Any, v: Any) -> tuple[list[Any], Any]:
        """States at rest, and the voltage set-point, for a field voltage and a terminal voltage.

        Raises:
            InputError: The field voltage is outside the limits.
        """
        raise NotImplementedError

    def run(self, x: Mapping[str, Any], seen: Measured, p: Any) -> tuple[list[Any], Any]:
        """Derivatives of the states, and the field voltage."""
        raise NotImplementedError


_SATURATION = {
    "E1": Parameter(0.0, "", "first field voltage of the saturation curve, pu"),
    "SE1": Parameter(0.0, "", "saturation there"),
    "E2": Parameter(0.0, "", "second field voltage of the saturation curve, pu"),
    "SE2": Parameter(0.0, "", "saturation there"),
}
_LIMITS = {
    "VRMAX": Parameter(7.3, "", "largest regulator output, pu"),
    "VRMIN": Parameter(-7.3, "", "smallest regulator output, pu"),
}


class SEXS(Exciter):
    """Simplified excitation system: lead-lag, then a lag with limits that do not wind up.

    Source: PSS/E model library, SEXS.
    """

    name = "SEXS"
    parameters: ClassVar = {
        "TATB": Parameter(0.4, "", "ratio of lead to lag time constant"),
        "TB": Parameter(5.0, "", "lag time constant, seconds"),
        "K": Parameter(20.0, "", "gain"),
        "TE": Parameter(1.0, "", "time constant of the exciter, seconds"),
        "EMIN": Parameter(-99.0, "", "smallest field voltage, pu"),
        "EMAX": Parameter(99.0, "", "largest field voltage, pu"),
    }
    states = ("ll", "field")

    def check(self) -> None:
        """The gain is positive."""
        self.require("K", self.value["K"] > 0, "the gain is positive")
        self.require("TE", self.value["TE"] > 0, "it is positive")

    def initial(self, field: Any, v: Any) -> tuple[list[Any], Any]:
        self.within(field, "EMIN", "EMAX", "a field voltage")
        error = field / self.value["K"]
        return [error, field], v + error

    def run(self, x: Any, seen: Measured, p: Any) -> tuple[list[Any], Any]:
        tb = self.get(p, "TB")
        error = seen.reference + seen.stabiliser - seen.v
        slope, out = self.lead_lag(error, x["ll"], self.get(p, "TATB") * tb, tb)
        slope_field = (self.get(p, "K") * out - x["field"]) / self.get(p, "TE")
        slope_field = self.held(slope_field, x["field"], self.get(p, "EMIN"), self.get(p, "EMAX"))
        return [slope, slope_field], x["field"]

    def bounds(self, p: Any) -> dict[str, tuple[Any, Any]]:
        """Of the field voltage."""
        return {"field": (self.get(p, "EMIN"), self.get(p, "EMAX"))}


class IEEET1(Exciter):
    """IEEE type 1: a rotating exciter with saturation and feedback from the field voltage.

    Saturation is ``S(E) E = B (E - A)^2``, or ``AEX exp(BEX E) E`` where ``AEX`` is given.

    Source: IEEE Committee Report, IEEE Trans. Power App. Syst. 87, 1460 (1968); PSS/E model
    library.
    """

    name = "IEEET1"
    parameters: ClassVar = {
        "TR": Parameter(0.0, "", "time constant of the measurement, seconds"),
        "KA": Parameter(20.0, "", "gain of the regulator"),
        "TA": Parameter(0.04, "", "its time constant, seconds"),
        **_LIMITS,
        "KE": Parameter(1.0, "", "constant of the exciter"),
        "TE": Parameter(0.8, "", "its time constant, seconds"),
        "KF": Parameter(0.03, "", "gain of the feedback"),
        "TF": Parameter(1.0, "", "its time constant, seconds"),
        **_SATURATION,
        "AEX": Parameter(0.0, "", "factor of exponential saturation"),
        "BEX": Parameter(0.0, "", "its exponent, 1/pu"),
        "Switch": Parameter(0.0, "", "unused, as in PSS/E"),
    }
    states = ("sensed", "regulator", "field", "feedback")

    def check(self) -> None:
        """Time constants and gain are positive; saturation has two points."""
        for name in ("KA", "TA", "TE", "TF"):
            self.require(name, self.value[name] > 0, "it is positive")
        self.start, self.gain = quadratic(*(self.value[k] for k in ("E1", "SE1", "E2", "SE2")))
        zero = self.value["VRMAX"] == 0  # PSS/E: no limit
        self.value["VRMAX"] = np.where(zero, 999.0, self.value["VRMAX"])
        self.exponential = bool(np.any(self.value["AEX"] != 0))
        self.quadratic = bool(np.any(self.gain != 0))

    def needed(self, field: Any, p: Any) -> Any:
        """What the regulator gives at rest: ``(KE + S(E)) E``."""
        total = self.get(p, "KE") * field
        if self.quadratic:
            above = self.m.maximum(field - self.start, 0.0)
            total = total + self.gain * above * above
        if self.exponential:
            total = total + self.get(p, "AEX") * self.m.exp(self.get(p, "BEX") * field) * field
        return total

    def initial(self, field: Any, v: Any) -> tuple[list[Any], Any]:
        regulator = self.needed(field, {})
        self.within(regulator, "VRMIN", "VRMAX", "a regulator output")
        return [v, regulator, field, field], v + regulator / self.value["KA"]

    def run(self, x: Any, seen: Measured, p: Any) -> tuple[list[Any], Any]:
        slope_v, v = self.lag(seen.v, x["sensed"], self.get(p, "TR"))
        slope_feedback, feedback = self.washout(
            x["field"], x["feedback"], self.get(p, "KF"), self.get(p, "TF")
        )
        error = seen.reference + seen.stabiliser - v - feedback
        slope = (self.get(p, "KA") * error - x["regulator"]) / self.get(p, "TA")
        slope = self.held(slope, x["regulator"], *self.bounds(p)["regulator"])
        slope_field = (x["regulator"] - self.needed(x["field"], p)) / self.get(p, "TE")
        return [slope_v, slope, slope_field, slope_feedback], x["field"]

    def bounds(self, p: Any) -> dict[str, tuple[Any, Any]]:
        """Of the regulator."""
        return {"regulator": (self.get(p, "VRMIN"), self.get(p, "VRMAX"))}


class EXDC2(Exciter):
    """IEEE DC exciter of type 1 (the EXDC2 and EXDC1 of PSS/E), with a lead-lag in the regulator.

    The field voltage is proportional to the speed. ``VRMAX`` and ``VRMIN`` are constant, as in
    ANDES; PSS/E multiplies them by the terminal voltage.

    Source: IEEE Std 421.5; PSS/E model library.
    """

    name = "EXDC2"
    parameters: ClassVar = {
        "TR": Parameter(0.01, "", "time constant of the measurement, seconds"),
        "KA": Parameter(40.0, "", "gain of the regulator"),
        "TA": Parameter(0.04, "", "its time constant, seconds"),
        "TB": Parameter(1.0, "", "lag time constant, seconds"),
        "TC": Parameter(1.0, "", "lead time constant, seconds"),
        **_LIMITS,
        "KE": Parameter(1.0, "", "constant of the exciter"),
        "TE": Parameter(0.8, "", "its time constant, seconds"),
        "KF1": Parameter(0.03, "", "gain of the feedback"),
        "TF1": Parameter(1.0, "", "its time constant, seconds"),
        "Switch": Parameter(0.0, "", "unused, as in PSS/E"),
        **_SATURATION,
    }
    states = ("sensed", "ll", "regulator", "field", "feedback")
    by_speed = True

    def check(self) -> None:
        """Time constants and gain are positive."""
        for name in ("KA", "TE", "TF1"):
            self.require(name, self.value[name] > 0, "it is positive")
        self.require("TA", self.value["TA"] > 0, "it is positive")
        self.start, self.gain = quadratic(*(self.value[k] for k in ("E1", "SE1", "E2", "SE2")))

    def needed(self, field: Any, p: Any) -> Any:
        """``(KE + S(E)) E``, with ``S(E) = B (E - A)^2 / E``."""
        above = self.m.maximum(field - self.start, 0.0)
        return self.get(p, "KE") * field + self.gain * above * above

    def initial(self, field: Any, v: Any) -> tuple[list[Any], Any]:
        regulator = self.needed(field, {})
        self.within(regulator, "VRMIN", "VRMAX", "a regulator output")
        error = regulator / self.value["KA"]
        return [v, error, regulator, field, field], v + error

    def run(self, x: Any, seen: Measured, p: Any) -> tuple[list[Any], Any]:
        slope_v, v = self.lag(seen.v, x["sensed"], self.get(p, "TR"))
        slope_feedback, feedback = self.washout(
            x["field"], x["feedback"], self.get(p, "KF1"), self.get(p, "TF1")
        )
        error = seen.reference + seen.stabiliser - v - feedback
        slope_ll, out = self.lead_lag(error, x["ll"], self.get(p, "TC"), self.get(p, "TB"))
        slope = (self.get(p, "KA") * out - x["regulator"]) / self.get(p, "TA")
        slope = self.held(slope, x["regulator"], *self.bounds(p)["regulator"])
        slope_field = (x["regulator"] - self.needed(x["field"], p)) / self.get(p, "TE")
        field = x["field"] * seen.speed if self.by_speed else x["field"]
        return [slope_v, slope_ll, slope, slope_field, slope_feedback], field

    def bounds(self, p: Any) -> dict[str, tuple[Any, Any]]:
        """Of the regulator."""
        return {"regulator": (self.get(p, "VRMIN"), self.get(p, "VRMAX"))}


class IEEEX1(EXDC2):
    """As :class:`EXDC2` without the speed term.

    Source: PSS/E model library, IEEEX1.
    """

    name = "IEEEX1"
    by_speed = False


class EXST1(Exciter):
    """Static exciter fed from the terminals (IEEE ST1); its limits follow the field current.

    Source: IEEE Std 421.5; PSS/E model library, EXST1.
    """

    name = "EXST1"
    parameters: ClassVar = {
        "TR": Parameter(0.01, "", "time constant of the measurement, seconds"),
        "VIMAX": Parameter(0.2, "", "largest control error, pu"),
        "VIMIN": Parameter(0.0, "", "smallest control error, pu"),
        "TC": Parameter(1.0, "", "lead time constant, seconds"),
        "TB": Parameter(1.0, "", "lag time constant, seconds"),
        "KA": Parameter(80.0, "", "gain of the regulator"),
        "TA": Parameter(0.05, "", "its time constant, seconds"),
        "VRMAX": Parameter(8.0, "", "largest regulator output, pu"),
        "VRMIN": Parameter(-3.0, "", "smallest regulator output, pu"),
        "KC": Parameter(0.2, "", "fall of the limits with the field current"),
        "KF": Parameter(0.1, "", "gain of the feedback"),
        "TF": Parameter(1.0, "", "its time constant, seconds"),
    }
    states = ("sensed", "ll", "regulator", "feedback")

    def check(self) -> None:
        """The gain is positive."""
        self.require("KA", self.value["KA"] > 0, "it is positive")
        self.require("TF", self.value["TF"] > 0, "it is positive")

    def initial(self, field: Any, v: Any) -> tuple[list[Any], Any]:
        error = field / self.value["KA"]
        self.within(error, "VIMIN", "VIMAX", "a control error")
        return [v, error, field, field], v + error

    def run(self, x: Any, seen: Measured, p: Any) -> tuple[list[Any], Any]:
        slope_v, v = self.lag(seen.v, x["sensed"], self.get(p, "TR"))
        # With TA = 0 the output needs its own feedback; the state then stands for it.
        slope_feedback, feedback = self.washout(
            x["regulator"], x["feedback"], self.get(p, "KF"), self.get(p, "TF")
        )
        error = seen.reference + seen.stabiliser - v - feedback
        error = self.clip(error, self.get(p, "VIMIN"), self.get(p, "VIMAX"))
        slope_ll, out = self.lead_lag(error, x["ll"], self.get(p, "TC"), self.get(p, "TB"))
        time = self.m.maximum(self.get(p, "TA"), 1e-3)
        slope = (self.get(p, "KA") * out - x["regulator"]) / time
        fall = self.get(p, "KC") * seen.field_current
        field = self.clip(x["regulator"], self.get(p, "VRMIN") - fall, self.get(p, "VRMAX") - fall)
        return [slope_v, slope_ll, slope, slope_feedback], field


EXCITERS: dict[str, type[Exciter]] = {
    each.name: each for each in (SEXS, IEEET1, EXDC2, IEEEX1, EXST1)
}

"""Phase-locked loops: the angle that a converter works at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.models.base import Model, Parameter


class Loop(Model):
    """A loop that follows the angle of a voltage, in the frame of the network."""

    frequency: float = 60.0

    def initial(self, angle: Any) -> list[Any]:
        """States at rest for an angle, radians."""
        raise NotImplementedError

    def angle(self, x: Mapping[str, Any]) -> Any:
        """The angle of the loop, radians."""
        raise NotImplementedError

    def slopes(self, x: Mapping[str, Any], v_real: Any, v_imag: Any, p: Any) -> list[Any]:
        """Derivatives of the states."""
        raise NotImplementedError

    def behind(self, v_real: Any, v_imag: Any, angle: Any) -> tuple[Any, Any]:
        """The voltage along an angle, and a quarter turn ahead of it."""
        sin, cos = self.m.sin(angle), self.m.cos(angle)
        return v_real * cos + v_imag * sin, v_imag * cos - v_real * sin

    def error(self, v_real: Any, v_imag: Any, angle: Any) -> Any:
        """How far the voltage is ahead of an angle, radians within half a turn."""
        along, across = self.behind(v_real, v_imag, angle)
        return self.m.atan2(across, along)


class PLL1(Loop):
    """Loop on the angle itself, with a filter before and one behind.

    ``Tf in' = angle of the voltage - in``, ``e = in - out``, ``est' = w0 (Kp e + integral)``,
    ``integral' = Ki e``, ``Tp out' = est - out``; the converter works at ``out``.

    Source: ANDES manual, https://docs.andes.app (model reference, PLL1).
    """

    name = "PLL1"
    parameters: ClassVar = {
        "Kp": Parameter(0.1, "", "proportional gain, pu frequency by radian"),
        "Ki": Parameter(0.1, "", "integral gain, pu frequency by radian and second"),
        "Tf": Parameter(0.05, "", "time constant of the filter before, seconds"),
        "Tp": Parameter(0.05, "", "time constant of the filter behind, seconds"),
    }
    states = ("angle_in", "pll_integral", "angle_estimate", "angle_pll")

    def check(self) -> None:
        """Gains are not negative, and there is a filter behind, which makes the loop."""
        for name in ("Kp", "Ki", "Tf"):
            self.require(name, self.value[name] >= 0, "it is not negative")
        self.require("Tp", self.value["Tp"] > 0, "it is positive")

    def initial(self, angle: Any) -> list[Any]:
        return [angle, 0.0 * angle, angle, angle]

    def angle(self, x: Any) -> Any:
        return x["angle_pll"]

    def slopes(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> list[Any]:
        m, time = self.m, self.get(p, "Tf")
        ahead = self.error(v_real, v_imag, x["angle_in"])
        filtered = time > 0
        slope_in = m.where(filtered, ahead / m.where(filtered, time, 1.0), 0.0)
        error = m.where(
            filtered,
            x["angle_in"] - x["angle_pll"],
            self.error(v_real, v_imag, x["angle_pll"]),
        )
        frequency = self.get(p, "Kp") * error + x["pll_integral"]
        return [
            slope_in,
            self.get(p, "Ki") * error,
            2 * np.pi * self.frequency * frequency,
            (x["angle_estimate"] - x["angle_pll"]) / self.get(p, "Tp"),
        ]


class PLL2(Loop):
    """Loop in the synchronous reference frame: it drives the voltage across its angle to zero.

    ``e = |V| sin(angle of V - angle)``, ``angle' = w0 (Kp e + integral)``, ``integral' = Ki e``.

    Source: Kaura and Blasko, IEEE Trans. Ind. Appl. 33, 58 (1997); ANDES manual, PLL2.
    """

    name = "PLL2"
    parameters: ClassVar = {
        "Kp": Parameter(0.1, "", "proportional gain, pu frequency by pu voltage"),
        "Ki": Parameter(0.1, "", "integral gain, pu frequency by pu voltage and second"),
    }
    states = ("pll_integral", "angle_pll")

    def check(self) -> None:
        """Gains are not negative."""
        for name in ("Kp", "Ki"):
            self.require(name, self.value[name] >= 0, "it is not negative")

    def initial(self, angle: Any) -> list[Any]:
        return [0.0 * angle, angle]

    def angle(self, x: Any) -> Any:
        return x["angle_pll"]

    def slopes(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> list[Any]:
        error = self.behind(v_real, v_imag, x["angle_pll"])[1]
        frequency = self.get(p, "Kp") * error + x["pll_integral"]
        return [self.get(p, "Ki") * error, 2 * np.pi * self.frequency * frequency]


LOOPS: dict[str, type[Loop]] = {each.name: each for each in (PLL1, PLL2)}

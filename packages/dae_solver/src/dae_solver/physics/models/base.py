"""What all dynamic models have: parameters with their bases, states, blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dae_solver.physics.case import Device
from scimind.errors import InputError


@dataclass(frozen=True)
class Parameter:
    """A parameter of a model.

    Attributes:
        default: Where the file has none; None where it must.
        base: How it is converted from the base of the device to that of the system: ``power``
            (inertia, limits of power), ``impedance``, ``droop`` (1 / power), or empty.
        help: What it is, with its unit.
    """

    default: float | None
    base: str = ""
    help: str = ""


class Model:
    """A dynamic model of several devices at once.

    Attributes:
        name: As in the files.
        parameters: By name.
        states: Names of the states of one device.
        ids: Names of the devices.
        value: Parameter values on the system base, ``[device, 1]``.
    """

    name: ClassVar[str]
    parameters: ClassVar[Mapping[str, Parameter]]
    states: ClassVar[tuple[str, ...]]

    def __init__(
        self, devices: Sequence[Device], *, mva: float, kv: Sequence[float], math: Any
    ) -> None:
        """Convert the parameters of ``devices`` to the system base.

        Args:
            devices: All of this model.
            mva: System base.
            kv: Base voltage of each device's bus; 0 where unknown.
            math: The functions ``where, exp, ...`` that the equations use.

        Raises:
            InputError: A parameter is missing, unknown, or breaks a rule of the model.
        """
        self.m = math
        self.ids = [device.id for device in devices]
        power = np.array([device.mva / mva for device in devices])
        # Of the impedance base: that of the device by that of the system.
        impedance = np.array(
            [
                (device.kv / at if device.kv and at else 1.0) ** 2 / share
                for device, at, share in zip(devices, kv, power, strict=True)
            ]
        )
        factors = {"": np.ones_like(power), "power": power, "impedance": impedance}
        factors["droop"] = 1.0 / power
        for device in devices:
            if unknown := sorted(set(device.parameters) - set(self.parameters)):
                raise InputError(
                    f"{self.name} {device.id} has the unknown parameter {unknown[0]!r}; its "
                    f"parameters are: {', '.join(self.parameters)}",
                    rule="power.parameter",
                )
        self.value = {
            name: (self._read(devices, name, rule) * factors[rule.base])[:, None]
            for name, rule in self.parameters.items()
        }
        self._keys = {name: f"{self.name}.{name}" for name in self.parameters}
        self.check()
        self._positive = [value for value in self.value.values() if (value > 0).all()]

    def _read(self, devices: Sequence[Device], name: str, rule: Parameter) -> np.ndarray:
        values = []
        for device in devices:
            value = device.parameters.get(name, rule.default)
            if value is None or not np.isfinite(value):
                raise InputError(
                    f"{self.name} {device.id} lacks the parameter {name} ({rule.help})",
                    rule="power.parameter",
                )
            values.append(float(value))
        return np.array(values)

    def check(self) -> None:
        """Refuse parameters that break a rule of the model."""

    def require(self, name: str, good: np.ndarray, rule: str) -> None:
        """Refuse a parameter where ``good`` is false.

        Raises:
            InputError: Naming the device, the value on the system base and the rule.
        """
        bad = np.flatnonzero(~good[:, 0])
        if len(bad):
            device = int(bad[0])
            raise InputError(
                f"{self.name} {self.ids[device]} has {name} = {self.value[name][device, 0]:g}; "
                f"{rule}",
                rule="power.parameter",
            )

    def within(self, value: Any, low: str, high: str, what: str) -> None:
        """Refuse an operating point beyond a limit, from where nothing would be at rest.

        Raises:
            InputError: Naming the device, the value and the limits.
        """
        least, most = self.value[low], self.value[high]
        bad = (value < least - 1e-9) | (value > most + 1e-9)
        if bad.any():
            device, scenario = map(int, np.argwhere(bad)[0])
            raise InputError(
                f"{self.name} {self.ids[device]} needs {what} = {value[device, scenario]:.4g} at "
                f"the start, outside {low} = {least[device, 0]:g} … {high} = {most[device, 0]:g}; "
                "change the limits or the dispatch",
                rule="power.limit",
            )

    def refuse_above(self, value: Any, most: Any, what: str, limit: str) -> None:
        """Refuse an operating point above a limit that is no parameter of its own.

        Raises:
            InputError: Naming the device, the value and the limit.
        """
        bad = value > most + 1e-9
        if bad.any():
            device, scenario = map(int, np.argwhere(bad)[0])
            raise InputError(
                f"{self.name} {self.ids[device]} needs {what} of {value[device, scenario]:.4g} at "
                f"the start, above {most[device, scenario]:.4g}, the limit by {limit}; change the "
                "limit or the dispatch",
                rule="power.limit",
            )

    def get(self, p: Mapping[str, Any], name: str) -> Any:
        """A parameter, ``[device, 1]``, or ``[device, scenario]`` where a scenario has its own."""
        return p.get(self._keys[name], self.value[name])

    # Blocks. Where a time constant is zero, a block passes its input on; its state then rests.

    def _none_zero(self, time: Any) -> bool:
        """Whether this is a parameter of the model that is positive for all devices."""
        return any(time is each for each in self._positive)

    def lag(self, u: Any, x: Any, time: Any) -> tuple[Any, Any]:
        """``1 / (1 + s T)``: derivative of the state, and the output."""
        if self._none_zero(time):
            return (u - x) / time, x
        m = self.m
        active = time > 0
        return m.where(active, (u - x) / m.where(active, time, 1.0), 0.0), m.where(active, x, u)

    def lead_lag(self, u: Any, x: Any, lead: Any, lag: Any) -> tuple[Any, Any]:
        """``(1 + s T1) / (1 + s T2)``: derivative of the state, and the output."""
        if self._none_zero(lag):
            slope = (u - x) / lag
            return slope, x + lead * slope
        m = self.m
        active = lag > 0
        divisor = m.where(active, lag, 1.0)
        slope = m.where(active, (u - x) / divisor, 0.0)
        return slope, m.where(active, x + lead / divisor * (u - x), u)

    def washout(self, u: Any, x: Any, gain: Any, time: Any) -> tuple[Any, Any]:
        """``s K / (1 + s T)``: derivative of the state, and the output."""
        if self._none_zero(time):
            slope = (u - x) / time
            return slope, gain * slope
        m = self.m
        active = time > 0
        divisor = m.where(active, time, 1.0)
        slope = m.where(active, (u - x) / divisor, 0.0)
        return slope, m.where(active, gain / divisor * (u - x), 0.0)

    def held(self, slope: Any, x: Any, low: Any, high: Any) -> Any:
        """The slope of a state that stays within limits: zero where it would leave them."""
        m = self.m
        return m.where(
            x >= high, m.minimum(slope, 0.0), m.where(x <= low, m.maximum(slope, 0.0), slope)
        )

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        """``x`` within limits."""
        return self.m.minimum(self.m.maximum(x, low), high)

    def bounds(self, p: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
        """Constant limits of states that do not wind up, by state; by default none."""
        return {}

    def limits(self, x: Mapping[str, Any], p: Mapping[str, Any]) -> dict[str, Any]:
        """The states with limits, within them."""
        return {name: self.clip(x[name], *ends) for name, ends in self.bounds(p).items()}

    def kinks(self, x: Mapping[str, Any], speed: Any, p: Mapping[str, Any]) -> list[Any]:
        """What changes sign where the equations are not smooth, each ``[device, scenario]``.

        Args:
            x: States by name.
            speed: Of the machine of each device.
            p: Parameters.
        """
        return [x[name] - end for name, ends in self.bounds(p).items() for end in ends]


def quadratic(e1: Any, s1: Any, e2: Any, s2: Any) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of ``B (e - A)^2 / e``, which is ``s1`` at ``e1`` and ``s2`` at ``e2``.

    Both are zero without saturation (``s2`` or ``s1`` zero, or ``e2`` zero).

    Source: Kundur, Power System Stability and Control, 3.3 and 8.6, in the form of PSS/E.
    """
    e1, s1, e2, s2 = (np.asarray(each, float) for each in (e1, s1, e2, s2))
    some = (e1 > 0) & (e2 > 0) & (s1 > 0) & (s2 > 0) & (e1 != e2)
    ratio = np.sqrt(np.where(some, s1 * e1, 1.0) / np.where(some, s2 * e2, 4.0))
    start = np.where(some, e2 - (e1 - e2) / np.where(some, ratio - 1.0, 1.0), 0.0)
    gain = np.where(some, s2 * e2 * (ratio - 1.0) ** 2 / np.where(some, (e1 - e2) ** 2, 1.0), 0.0)
    return start, gain

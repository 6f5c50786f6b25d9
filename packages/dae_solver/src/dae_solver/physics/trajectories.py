"""Trajectories of a grid, with what happened and how they were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.separation import angle_spread
from dae_solver.solver.parameters import take
from dae_solver.solver.solution import Solution
from scimind.errors import EnvironmentProblem, InputError
from scimind.typing import Bool, Float, Shaped

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from dae_solver.hybrid.simulate import Audit
    from dae_solver.hybrid.solution import HybridSolution
    from dae_solver.physics.dae import PowerDAE


def center(
    angle: Float[np.ndarray, "*batch machine"],
    inertia: Float[np.ndarray, " machine"],
    connected: Bool[np.ndarray, "*batch machine"] | None = None,
) -> Float[np.ndarray, "*batch machine"]:
    """Angles less that of the centre of inertia.

    Args:
        angle: Of the rotors, radians.
        inertia: Of all machines.
        connected: Which of them are; the others do not count, and get NaN. None where all are.
    """
    found: np.ndarray
    if connected is None or connected.all():
        # As one product: a matrix by a vector for each scenario takes several times as long.
        weight, flat = inertia / inertia.sum(), angle.reshape(-1, len(inertia))
        found = (flat - (flat @ weight)[:, None]).reshape(angle.shape)
        return found
    share = inertia * connected
    with np.errstate(invalid="ignore"):  # where none is left
        share = share / share.sum(-1, keepdims=True)
    found = np.where(connected, angle - (angle * share).sum(-1, keepdims=True), np.nan)
    return found


def connected(
    scenarios: Scenarios, t: Float[np.ndarray, " time"], units: int, name: str = "online"
) -> Bool[np.ndarray, "scenario time unit"]:
    """Which machines are connected, just before events; with ``connected`` which converters."""
    found = np.ones((len(scenarios), len(t), units), bool)
    if name not in scenarios.parameters:
        return found
    found &= scenarios.parameters[name].T[:, None, :] > 0
    for number, events in enumerate(scenarios.events):
        for event in events:
            for change in event.changes:
                if change.name == name:
                    found[number, t > event.time, change.row] = change.value > 0
    return found


def separation(
    t: Float[np.ndarray, " time"], spread: Float[np.ndarray, "scenario time"]
) -> Float[np.ndarray, " scenario"]:
    """First time at which two angles are more than 180 degrees apart; infinity where none are."""
    with np.errstate(invalid="ignore"):
        apart = spread > np.pi
    return np.where(apart.any(1), t[np.argmax(apart, axis=1)], np.inf)


@dataclass(kw_only=True)
class Trajectories:
    """The result of :meth:`dae_solver.physics.grid.PowerSystem.simulate`.

    Attributes:
        grid: The equations.
        scenarios: What was simulated.
        solution: States and voltages of the device buses, events, failures, work.
        source: How each scenario was found: ``net`` (every window as the operator predicted it and
            corrected it once), ``corrected`` (some windows more often), ``classical`` (some windows
            by the classical engine, or all).
        certificate: Bound of the angle error until separation, degrees; NaN where none was asked
            for, infinite where there is none.
        audit: Of a sample of the scenarios, where one was made.
    """

    grid: PowerDAE
    scenarios: Scenarios
    solution: Solution | HybridSolution
    source: list[str]
    certificate: Float[np.ndarray, " scenario"]
    audit: Audit | None = None

    @property
    def t(self) -> Float[np.ndarray, " time"]:
        """Output times, seconds."""
        return self.solution.t

    def state(self, name: str) -> Float[np.ndarray, "scenario time machine"]:
        """A state of all machines or converters, such as ``delta`` (radians) or ``omega`` (pu)."""
        return self.solution.some(self.grid.rows(name))

    @property
    def delta(self) -> Float[np.ndarray, "scenario time machine"]:
        """Rotor angles, radians."""
        return self.state("delta")

    @property
    def omega(self) -> Float[np.ndarray, "scenario time machine"]:
        """Rotor speeds, pu."""
        return self.state("omega")

    @property
    def delta_coi(self) -> Float[np.ndarray, "scenario time machine"]:
        """Rotor angles less that of the centre of inertia, radians; NaN of tripped machines."""
        return center(self.delta, self.grid.inertia, self.connected)

    @cached_property
    def connected(self) -> Bool[np.ndarray, "scenario time machine"]:
        """Which machines are connected, just before events."""
        return connected(self.scenarios, self.t, len(self.grid.machine_ids))

    @cached_property
    def spread(self) -> Float[np.ndarray, "scenario time"]:
        """Largest distance of two angles of connected machines, radians."""
        online = None if self.connected.all() else self.connected
        return angle_spread(self.delta, online, axis=-1)

    @cached_property
    def separated(self) -> Float[np.ndarray, " scenario"]:
        """Time at which a scenario loses synchronism; infinity where it does not."""
        found = separation(self.t, self.spread)
        if isinstance(self.solution, Solution):
            return found
        return np.minimum(found, self.solution.lost)

    @property
    def stable(self) -> Bool[np.ndarray, " scenario"]:
        """Which scenarios keep synchronism and did not fail."""
        found: np.ndarray = np.isinf(self.separated) & self.solution.success
        return found

    def voltages(self) -> Shaped[np.ndarray, "scenario time bus"]:
        """Complex voltages of all buses, pu; just before an event at its time."""
        y = self.solution.y
        scenarios, times, _ = y.shape
        found = np.empty((scenarios, times, len(self.grid.case.buses)), complex)
        for scenario in range(scenarios):
            network = self.networks(scenario)
            found[scenario] = self.grid.voltages(y[scenario].T, network).T
        return found

    def converter_power(self) -> Shaped[np.ndarray, "scenario time converter"]:
        """Complex power that each converter supplies, pu; just before an event at its time."""
        found = []
        on = connected(self.scenarios, self.t, len(self.grid.converters), "connected")
        for scenario, (x, y) in enumerate(zip(self.solution.x, self.solution.y, strict=True)):
            p = take(self.scenarios.parameters, np.full(len(self.t), scenario))
            p |= {"connected": on[scenario].T.astype(float)}
            found.append(self.grid.converter_power(x.T, y.T, p).T)
        return np.stack(found)

    def networks(self, scenario: int) -> np.ndarray:
        """Number of the topology at each output time of a scenario, just before events."""
        number = np.full(len(self.t), self.scenarios.parameters["network"][scenario])
        for event in self.scenarios.events[scenario]:
            for change in event.changes:
                if change.name == "network":
                    number[self.t > event.time] = change.value
        return number

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each scenario and time: states, voltages as ``v:BUS`` and ``angle:BUS``."""
        import pandas

        scenarios, times, _ = self.solution.x.shape
        index = pandas.MultiIndex.from_product(
            [range(scenarios), self.t], names=["scenario", "time"]
        )
        states = self.solution.x.reshape(scenarios * times, -1)
        voltages = self.voltages().reshape(scenarios * times, -1)
        names = [str(bus.id) for bus in self.grid.case.buses]
        return pandas.DataFrame(
            np.concatenate([states, np.abs(voltages), np.angle(voltages)], axis=1),
            index=index,
            columns=[
                *self.solution.states,
                *[f"v:{name}" for name in names],
                *[f"angle:{name}" for name in names],
            ],
        )

    def summary(self) -> pandas.DataFrame:
        """One row for each scenario: what happened and how it ended."""
        import pandas

        spread = np.degrees(np.nanmax(self.spread, axis=1))
        return pandas.DataFrame(
            {
                "scenario": self.scenarios.texts,
                "kind": self.scenarios.kinds,
                "stable": self.stable,
                "separated_s": self.separated,
                "largest_spread_deg": spread,
                "source": self.source,
                "certificate_deg": self.certificate,
                "failure": self.solution.failure,
            }
        )

    def to_xarray(self) -> Any:
        """An ``xarray.Dataset``: ``state [scenario, time, name]``, ``v [scenario, time, bus]``.

        Raises:
            EnvironmentProblem: xarray is not installed.
        """
        try:
            import xarray
        except ImportError:
            raise EnvironmentProblem(
                "xarray is not installed: pip install 'scimind-dae-solver[xarray]'"
            ) from None
        return xarray.Dataset(
            {
                "state": (("scenario", "time", "name"), self.solution.x),
                "v": (("scenario", "time", "bus"), self.voltages()),
                "source": (("scenario",), self.source),
                "certificate": (("scenario",), self.certificate),
            },
            coords={
                "time": self.t,
                "name": list(self.solution.states),
                "bus": [str(bus.id) for bus in self.grid.case.buses],
            },
        )

    def plot(self, scenarios: int | Sequence[int] | np.ndarray = 0) -> Figure:
        """Angles, speeds and voltages of some scenarios, with marks where something happened.

        Args:
            scenarios: Their numbers, or one.

        Raises:
            InputError: There is none of a number, or no number.
        """
        from dae_solver.physics.plots import trajectories

        chosen, number = np.atleast_1d(np.asarray(scenarios)).tolist(), len(self.scenarios)
        wrong = [k for k in chosen if not (isinstance(k, int) and 0 <= k < number)]
        if wrong or not chosen:
            what = f"scenario {wrong[0]!r} is not among" if wrong else "none is chosen of"
            raise InputError(
                f"{what} the {number} that were simulated; give numbers from 0 to {number - 1}",
                rule="power.scenario",
            )
        return trajectories(self, chosen)

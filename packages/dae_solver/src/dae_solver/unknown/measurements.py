"""Measured trajectories of known disturbances: what an identification is made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from dae_solver.physics.trajectories import separation
from scimind.errors import InputError
from scimind.typing import Bool, Float

if TYPE_CHECKING:
    from dae_solver.physics.case import BusId

# Standard deviations at 60 samples/s: of phasor measurement units (voltage, angle, speed), and of
# the same order for states that only a model or a test bench gives.
SIGMA = {"v": 1e-3, "angle": 1e-3, "omega": 5e-5, "delta": 1e-3}
OTHER_SIGMA = 1e-3
# Below this voltage a phasor has no angle to speak of.
LEAST_VOLTAGE = 0.2
# Outputs at an event are just before it; a sample that near may be on either side.
NEAR_EVENT = 0.5


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One kind of signal at several places.

    Attributes:
        kind: ``v`` (pu), ``angle`` (rad) of buses, or the name of a state of the machines.
        places: Positions of the buses, or of the machines, in the case.
        values: ``[scenario, time, place]``; NaN where a sample is missing.
        sigma: Standard deviation of the noise.
    """

    kind: str
    places: tuple[int, ...]
    values: Float[np.ndarray, "scenario time place"] = field(repr=False)
    sigma: float


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Signals of scenarios whose start and events are known.

    Attributes:
        scenarios: Of the nominal grid: operating points and events.
        t: Times of the samples, seconds; the first is 0, at rest.
        channels: The signals.
        until: Time from which a scenario is not used, infinity where all of it is.
    """

    scenarios: Scenarios
    t: Float[np.ndarray, " time"]
    channels: tuple[Channel, ...]
    until: Float[np.ndarray, " scenario"]

    def __post_init__(self) -> None:
        if self.t.ndim != 1 or len(self.t) < 2 or self.t[0] != 0 or (np.diff(self.t) <= 0).any():
            raise InputError(
                "times of measurements increase from 0, where the grid is at rest",
                rule="unknown.time",
            )
        if not self.channels:
            raise InputError("no signal is measured; give at least one", rule="unknown.signal")
        for channel in self.channels:
            shape = (len(self.scenarios), len(self.t), len(channel.places))
            if channel.values.shape != shape:
                raise InputError(
                    f"signal {channel.kind} has shape {channel.values.shape}, not {shape}: "
                    "[scenario, time, place]",
                    rule="unknown.shape",
                )
            if not channel.sigma > 0:
                raise InputError(
                    f"signal {channel.kind} has sigma={channel.sigma:g}; give the positive "
                    "standard deviation of its noise",
                    rule="unknown.sigma",
                )

    def __len__(self) -> int:
        return len(self.scenarios)

    def of(self, chosen: Sequence[int]) -> Measurements:
        """Some of the scenarios, as for training and testing.

        Raises:
            InputError: There is no such scenario.
        """
        wrong = [k for k in chosen if not 0 <= k < len(self)]
        if wrong or not len(chosen):
            raise InputError(
                f"scenarios {list(chosen)} are not among the {len(self)} that were measured, "
                f"0 to {len(self) - 1}",
                rule="unknown.scenario",
            )
        rows = list(chosen)
        return replace(
            self,
            scenarios=self.scenarios.take(np.asarray(rows)),
            channels=tuple(replace(c, values=c.values[rows]) for c in self.channels),
            until=self.until[rows],
        )

    def first(self, seconds: float) -> Measurements:
        """The first part of every scenario."""
        number = max(2, int(np.searchsorted(self.t, seconds, side="right")))
        channels = tuple(replace(c, values=c.values[:, :number]) for c in self.channels)
        return replace(self, t=self.t[:number], channels=channels)

    def used(self, channel: Channel) -> Bool[np.ndarray, "scenario time place"]:
        """Which samples count: measured, before separation, of voltages not at an event."""
        good: np.ndarray = np.isfinite(channel.values) & (self.t < self.until[:, None])[..., None]
        if channel.kind in ("v", "angle"):
            near = NEAR_EVENT * float(np.diff(self.t).min())
            for scenario, events in enumerate(self.scenarios.events):
                for event in events:
                    good[scenario, np.abs(self.t - event.time) < near] = False
        if channel.kind == "angle":
            for other in self.channels:
                if other.kind == "v" and other.places == channel.places:
                    good &= other.values > LEAST_VOLTAGE
        return good

    def noisy(self, seed: int, factor: float = 1.0) -> Measurements:
        """With normal noise of ``factor`` times each signal's sigma."""
        rng = np.random.default_rng(seed)
        channels = tuple(
            replace(c, values=c.values + factor * c.sigma * rng.standard_normal(c.values.shape))
            for c in self.channels
        )
        return replace(self, channels=channels)


def measure(
    runs: Trajectories,
    scenarios: Scenarios,
    *,
    what: str = "states",
    buses: Sequence[BusId] | None = None,
) -> Measurements:
    """What would be measured of simulated trajectories, without noise.

    Args:
        runs: The trajectories, of a grid with the hidden term.
        scenarios: The same scenarios of the nominal grid.
        what: ``states`` (all states of the machines, all voltages) or ``pmu`` (voltages, angles
            and the speeds of machines at the chosen buses).
        buses: Where phasors are measured; at all by default.
    """
    x = {name: runs.state(name) for name in state_names(runs.grid)}
    until = separation(runs.t, runs.spread)
    return from_arrays(
        runs.grid,
        scenarios,
        runs.t,
        x,
        runs.voltages(),
        until=until,
        what=what,
        buses=buses,
    )


def from_arrays(
    grid: Any,
    scenarios: Scenarios,
    t: Float[np.ndarray, " time"],
    x: dict[str, Any],
    v: Any,
    *,
    until: Float[np.ndarray, " scenario"],
    what: str = "states",
    buses: Sequence[BusId] | None = None,
) -> Measurements:
    """Measurements from arrays of states and complex bus voltages.

    Args:
        grid: The nominal equations.
        scenarios: Of the nominal grid.
        t: Times, from 0.
        x: States by name, ``[scenario, time, machine]``.
        v: Complex voltages, ``[scenario, time, bus]``.
        until: When each scenario is no longer used.
        what: See :func:`measure`.
        buses: See :func:`measure`.

    Raises:
        InputError: ``what`` is unknown, or a bus does not exist.
    """
    if what not in ("states", "pmu"):
        raise InputError(f"measured is {what!r}; give states or pmu", rule="unknown.signal")
    position = grid.network.position
    chosen = list(position) if buses is None else list(buses)
    places = tuple(grid.network.find(bus, "a measurement") for bus in chosen)
    at = [position[g.bus] for g in grid._generators]
    machines = tuple(k for k, bus in enumerate(at) if what == "states" or bus in places)
    names = list(x) if what == "states" else ["omega"]
    channels = [
        Channel(kind="v", places=places, values=np.abs(v[..., places]), sigma=SIGMA["v"]),
        Channel(kind="angle", places=places, values=np.angle(v[..., places]), sigma=SIGMA["angle"]),
    ]
    for name in names:
        if len(machines):
            values = np.array(x[name][..., machines], float)
            sigma = SIGMA.get(name, OTHER_SIGMA)
            channels.append(Channel(kind=name, places=machines, values=values, sigma=sigma))
    return Measurements(
        scenarios=scenarios, t=np.asarray(t, float), channels=tuple(channels), until=until
    )


def state_names(grid: Any) -> list[str]:
    """States that every machine has, by one name."""
    names = dict.fromkeys(state.partition(":")[0] for state in grid.states if "." not in state)
    number = len(grid.machine_ids)
    return [name for name in names if len(grid.rows(name)) == number]


def transfer(scenarios: Scenarios, source: PowerSystem, target: PowerSystem) -> Scenarios:
    """The same scenarios for another grid of the same network, at rest by its equations.

    Raises:
        InputError: The scenarios hold no power flow to start from.
    """
    flow, dae = need_flow(scenarios), target.dae
    x0, y0, values = dae.start(flow)
    number = {k: dae.topology(each) for k, each in enumerate(source.dae.topologies)}
    own = source.dae.start(flow)[2]
    if foreign := sorted(set(scenarios.parameters) - set(own) - {"online"}):
        raise InputError(
            f"the scenarios have {foreign[0]} of their own; give those of the nominal grid, and "
            "parameters that are known to PowerSystem",
            rule="unknown.scenario",
        )
    values["network"] = np.vectorize(number.__getitem__, otypes=[int])(
        scenarios.parameters["network"]
    )
    events = [
        [
            replace(
                event,
                changes=[
                    replace(change, value=number[int(change.value)])
                    if change.name == "network"
                    else change
                    for change in event.changes
                ],
            )
            for event in each
        ]
        for each in scenarios.events
    ]
    if "online" in scenarios.parameters:
        values["online"] = scenarios.parameters["online"].copy()
    return replace(scenarios, events=events, x0=x0, y0=y0, parameters=values, grid=dae.identity)


def need_flow(scenarios: Scenarios) -> Any:
    """The operating points of scenarios.

    Raises:
        InputError: They have none.
    """
    if scenarios.flow is None:
        raise InputError(
            "the scenarios hold no power flow, so the grid cannot be put to rest with other "
            "parameters; make them with PowerSystem.scenarios",
            rule="unknown.scenario",
        )
    return scenarios.flow

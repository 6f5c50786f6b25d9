"""Residuals of measurements for many values of the unknowns at once, by one batched simulation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from dae_solver.physics.powerflow import PowerFlow
from dae_solver.solver import simulate
from dae_solver.unknown.coefficients import Unknown
from dae_solver.unknown.library import LibraryTerm
from dae_solver.unknown.measurements import Channel, Measurements, need_flow, transfer
from dae_solver.unknown.neural import NeuralTerm
from dae_solver.unknown.parametric import nominal_exponents
from scimind.errors import InputError
from scimind.typing import Float

# Numbers of states and voltages at all times that one batch may hold.
MOST_AT_ONCE = 60_000_000


class Problem:
    """Measurements, a grid with unknowns, and their residuals.

    The scenarios begin at rest by a power flow, which does not depend on the unknowns, so nothing
    but the unknowns is fitted: states that are not measured follow from the equations.

    Args:
        grid: The nominal grid.
        data: The measurements.
        unknowns: What is not known; at least one.
        step: Of the integration, seconds.
        tolerance: Of the voltages at every stage, pu.

    Attributes:
        grid: With the terms.
        coefficients: Of all unknowns, one after the other.
        number: Of samples that count.
    """

    def __init__(
        self,
        grid: PowerSystem,
        data: Measurements,
        unknowns: Sequence[Unknown],
        *,
        step: float = 1 / 60,
        tolerance: float = 1e-9,
    ) -> None:
        if not unknowns:
            raise InputError(
                "nothing is unknown; give at least one term or parameter", rule="unknown.none"
            )
        # Copies: terms learn the scale of these signals.
        self.nominal, self.unknowns = grid, tuple(map(copy.copy, unknowns))
        self.data = data
        self.step, self.tolerance = step, tolerance
        for unknown in self.unknowns:
            unknown.prepare(grid.dae)
        self._flow: PowerFlow = need_flow(data.scenarios)
        self._scale_terms()
        terms = [term for unknown in self.unknowns if (term := unknown.term()) is not None]
        self.grid = PowerSystem(
            grid.case, grid.dae.load_model, terms=terms, parameters=grid.dae.given
        )
        self.scenarios = transfer(data.scenarios, grid, self.grid)
        self.coefficients = [c for unknown in self.unknowns for c in unknown.coefficients()]
        self.slices, first = [], 0
        for unknown in self.unknowns:
            end = first + len(unknown.coefficients())
            self.slices.append(slice(first, end))
            first = end
        self._count(data)
        if self.number <= len(self.coefficients):
            raise InputError(
                f"{self.number} samples count for {len(self.coefficients)} unknown numbers; "
                "measure more, or leave unknowns out",
                rule="unknown.samples",
            )

    def _count(self, data: Measurements) -> None:
        self.data = data
        self._used = [data.used(channel) for channel in data.channels]
        self.number = int(sum(used.sum() for used in self._used))
        # The scenario of each residual, for the bootstrap.
        self.scenario = np.concatenate([np.nonzero(used)[0] for used in self._used])

    def shorter(self, seconds: float) -> Problem:
        """The same problem with the first part of the measurements."""
        found = copy.copy(self)
        found._count(self.data.first(seconds))
        return found

    def other(self, data: Measurements) -> Problem:
        """The same unknowns, as they are scaled here, with other measurements."""
        found = copy.copy(self)
        found._flow = need_flow(data.scenarios)
        found.scenarios = transfer(data.scenarios, self.nominal, self.grid)
        found._count(data)
        return found

    @property
    def start(self) -> Float[np.ndarray, " coefficient"]:
        """Nominal values."""
        return np.array([each.nominal for each in self.coefficients])

    def parameters(
        self, theta: Float[np.ndarray, "batch coefficient"]
    ) -> dict[str, Float[np.ndarray, "row batch"]]:
        """Parameters of the equations."""
        found: dict[str, np.ndarray] = {}
        for unknown, own in zip(self.unknowns, self.slices, strict=True):
            for name, value in unknown.parameters(theta[:, own].T).items():
                if name in found:
                    raise InputError(
                        f"{name} is unknown twice; leave one out", rule="unknown.twice"
                    )
                found[name] = value
        # One exponent needs the other.
        slope = nominal_exponents(self.nominal.dae.load_model)
        if "alpha" in found or "beta" in found:
            for name, exponent in slope.items():
                if name not in found and name not in self.nominal.dae.given:
                    found[name] = np.full((len(self.nominal.case.loads), len(theta)), exponent)
        return found

    def run(self, theta: Float[np.ndarray, "batch coefficient"]) -> Trajectories:
        """All scenarios for all values, those of the first values first."""
        batch, number = len(theta), len(self.scenarios)
        dae, base = self.grid.dae, self.scenarios
        own = {k: np.repeat(v, number, 1) for k, v in self.parameters(theta).items()}
        models = {k: v for k, v in own.items() if not k.startswith("term.")}
        x0, y0, p = dae.start(self._flow.take(np.tile(np.arange(number), batch)), models)
        p |= {k: v for k, v in own.items() if k.startswith("term.")}
        p["network"] = np.tile(base.parameters["network"], batch)
        if "online" in base.parameters:
            p["online"] = np.tile(base.parameters["online"], batch)
        events = base.events * batch
        solution = simulate(
            dae,
            self.data.t,
            x0.T,
            y0=y0.T,
            parameters=p,
            events=events,
            method="rk4",
            step=self.step,
            algebraic_tolerance=self.tolerance,
        )
        scenarios = Scenarios(
            texts=base.texts * batch,
            kinds=base.kinds * batch,
            events=events,
            x0=x0,
            y0=y0,
            parameters=p,
            load_factor=np.tile(base.load_factor, batch),
            grid=dae.identity,
        )
        return Trajectories(
            grid=dae,
            scenarios=scenarios,
            solution=solution,
            source=["classical"] * len(scenarios),
            certificate=np.full(len(scenarios), np.nan),
        )

    def residuals(
        self, theta: Float[np.ndarray, "batch coefficient"]
    ) -> Float[np.ndarray, "batch residual"]:
        """Simulated less measured, in standard deviations; infinity where a simulation failed."""
        variables = len(self.grid.dae.states) + 2 * len(self.grid.case.buses)
        each = len(self.data) * len(self.data.t) * 2 * variables
        at_once = max(1, MOST_AT_ONCE // each)
        return np.concatenate(
            [self._some(theta[k : k + at_once]) for k in range(0, len(theta), at_once)]
        )

    def _some(self, theta: np.ndarray) -> np.ndarray:
        runs = self.run(theta)
        volts = runs.voltages() if any(c.kind in ("v", "angle") for c in self.data.channels) else 0
        parts = []
        for channel, used in zip(self.data.channels, self._used, strict=True):
            shape = (len(theta), *channel.values.shape)
            with np.errstate(invalid="ignore"):
                difference = predicted(channel, runs, volts).reshape(shape) - channel.values
                if channel.kind == "angle":
                    difference = np.mod(difference + np.pi, 2 * np.pi) - np.pi
            parts.append(difference[:, used] / channel.sigma)
        found: np.ndarray = np.concatenate(parts, 1)
        found[~np.isfinite(found)] = np.inf
        return found

    def _scale_terms(self) -> None:
        """Tell terms how large the signals are along the nominal trajectories."""
        scaled = [u for u in self.unknowns if isinstance(u, LibraryTerm | NeuralTerm)]
        if not scaled:
            return
        runs = self.nominal.simulate(
            transfer(self.data.scenarios, self.nominal, self.nominal),
            t_end=float(self.data.t[-1]),
            step=self.step,
            tolerance=self.tolerance,
        )
        for unknown in scaled:
            unknown.scaled(signals(self.nominal, runs, "load" in unknown.where))


def signals(grid: PowerSystem, runs: Trajectories, loads: bool) -> dict[str, Any]:
    """What terms see along trajectories, ``[device, sample]``; see :class:`Term`."""
    dae = grid.dae
    speed = runs.omega.reshape(-1, len(dae.machine_ids)).T - 1.0
    half, y = len(dae.kept), runs.solution.y
    v = np.hypot(y[..., :half], y[..., half:])
    if loads:
        rest = runs.scenarios.parameters["v0"].T[:, None]
        size = np.maximum(v[..., dae.load_at], dae.load_model.switch) / rest
        frequency = dae.terms.divider @ speed
        return {"v": size.reshape(-1, len(dae.load_at)).T, "frequency": frequency}
    size = v[..., dae.machine_at]
    size = size / size[:, :1]
    return {
        "speed": speed,
        "v": size.reshape(-1, len(dae.machine_ids)).T,
        "gain": dae.terms.gain,
    }


def predicted(
    channel: Channel, runs: Trajectories, volts: Any
) -> Float[np.ndarray, "scenario time place"]:
    """What the simulation has for a channel.

    Args:
        channel: Its kind and places.
        runs: The simulation.
        volts: Complex voltages of all buses, where the channel is of a bus.
    """
    places = list(channel.places)
    if channel.kind == "v":
        found: np.ndarray = np.abs(volts[..., places])
        return found
    if channel.kind == "angle":
        found = np.angle(volts[..., places])
        return found
    return runs.state(channel.kind)[..., places]

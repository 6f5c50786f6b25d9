"""A first look at scenarios by a fast solver, and what a trajectory tells an operator."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dae_solver.physics.margins import margins
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.separation import gone
from dae_solver.physics.trajectories import Trajectories
from scimind.errors import InputError
from scimind.typing import Bool, Float

if TYPE_CHECKING:
    from dae_solver.model.operator import TrajectoryOperator
    from dae_solver.physics.grid import PowerSystem

SOLVERS = ("classical", "hybrid")
# Of the voltages in a first look, and output times of the fine engine, per unit and seconds.
TOLERANCE, EVERY = 1e-6, 1 / 30
# More than so many scenarios are simulated one batch after the other.
BATCH = 1000


def check_solver(solver: str, **of_hybrid: Any) -> None:
    """Refuse what is no solver, and arguments that it would not use.

    Args:
        solver: Its name.
        of_hybrid: Arguments of the hybrid solver, None where they are not given.

    Raises:
        InputError: It is one of these.
    """
    if solver not in SOLVERS:
        raise InputError(
            f"solver={solver!r} is unknown; give one of: {', '.join(SOLVERS)}",
            rule="power.solver",
        )
    given = [name for name, value in of_hybrid.items() if value is not None]
    if solver != "hybrid" and given:
        raise InputError(
            f"solver={solver!r} takes no {' and no '.join(given)}; give solver='hybrid', or leave "
            f"{' and '.join(f'{name}=' for name in given)} out",
            rule="power.solver",
        )


@dataclass(frozen=True, kw_only=True)
class FirstLook:
    """How scenarios are looked at first.

    Attributes:
        solver: ``classical`` or ``hybrid``.
        step: Of the classical engine, seconds.
        operator: Of the hybrid solver, see :meth:`dae_solver.physics.grid.PowerSystem.simulate`.
        certify: Of the hybrid solver, degrees.
        t_end: How long a scenario is watched, seconds.
    """

    solver: Literal["classical", "hybrid"] = "classical"
    step: float = 1 / 15
    operator: TrajectoryOperator | str | Path | None = None
    certify: float = 3.0
    t_end: float = 5.0

    def __post_init__(self) -> None:
        check_solver(self.solver, operator=self.operator)
        if not 0 < self.step <= 0.1:
            raise InputError(
                f"a first look with steps of {self.step:g} s; give at most 0.1 s, of which a swing "
                "has ten",
                rule="screen.step",
            )
        if self.solver == "hybrid":
            object.__setattr__(self, "operator", _loaded(self.operator))

    @property
    def name(self) -> str:
        """Tells first looks apart that do not see the same."""
        if self.solver == "hybrid":
            return f"hybrid within {self.certify:g} deg, {self.t_end:g} s"
        return f"rk4 with {self.step:.6g} s, {self.t_end:g} s"

    def trajectories(self, grid: PowerSystem, scenarios: Scenarios) -> Trajectories:
        """Of all scenarios."""
        if self.solver == "hybrid":
            how: dict[str, Any] = {"operator": self.operator, "certify": self.certify}
            return grid.simulate(
                scenarios, t_end=self.t_end, every=EVERY, solver="hybrid", audit=0.0, **how
            )
        return grid.simulate(
            scenarios,
            t_end=self.t_end,
            every=self.step,
            step=self.step,
            tolerance=TOLERANCE,
            until=gone(grid.dae),
        )


def _loaded(operator: TrajectoryOperator | str | Path | None) -> TrajectoryOperator:
    """Read once what every batch uses."""
    from dae_solver.model.operator import TrajectoryOperator

    if operator is None:
        raise InputError(
            "a first look with solver='hybrid' needs operator=, the folder of a training or its "
            "operator.safetensors; python -m dae_solver.train makes one",
            rule="operator.file",
        )
    return (
        operator if isinstance(operator, TrajectoryOperator) else TrajectoryOperator.load(operator)
    )


def fine(grid: PowerSystem, scenarios: Scenarios, step: float, t_end: float) -> Trajectories:
    """Trajectories whose verdict is final."""
    return grid.simulate(scenarios, t_end=t_end, every=EVERY, step=step, until=gone(grid.dae))


@dataclass(kw_only=True)
class Findings:
    """What trajectories tell, one entry for each scenario.

    Attributes:
        stable: Whether the angles stay within 180 degrees.
        decided: Whether the certificate of the trajectory leaves no doubt about that.
        margin: See :class:`dae_solver.physics.margins.Margins`.
        spread: Largest distance of two angles until separation, radians.
        separated: When synchronism is lost, seconds; infinity where it is not.
        voltage: Lowest voltage of a bus after the last event and until separation, pu; NaN where
            there is none, or where voltages are not asked for.
        bus: Position of that bus; -1 where there is none.
        nadir: Lowest frequency of the centre of inertia until separation, Hz.
        certificate: Bound of the angle error, degrees; NaN for the classical engine.
        failure: Why a trajectory ends early; empty where it does not.
    """

    stable: Bool[np.ndarray, " scenario"]
    decided: Bool[np.ndarray, " scenario"]
    margin: Float[np.ndarray, " scenario"]
    spread: Float[np.ndarray, " scenario"]
    separated: Float[np.ndarray, " scenario"]
    voltage: Float[np.ndarray, " scenario"]
    bus: np.ndarray
    nadir: Float[np.ndarray, " scenario"]
    certificate: Float[np.ndarray, " scenario"]
    failure: np.ndarray

    @classmethod
    def of(cls, runs: Trajectories, *, voltages: bool) -> Findings:
        """From trajectories."""
        found = margins(runs)
        voltage, bus = _weakest(runs) if voltages else _none(len(runs.scenarios))
        return cls(
            stable=runs.stable,
            decided=_decided(runs),
            margin=found.margin,
            spread=found.spread,
            separated=_crossing(runs),
            voltage=voltage,
            bus=bus,
            nadir=_nadir(runs),
            certificate=runs.certificate,
            failure=np.array(runs.solution.failure, object),
        )

    def put(self, scenarios: np.ndarray, other: Findings) -> None:
        """Replace those of some scenarios."""
        for each in fields(self):
            getattr(self, each.name)[scenarios] = getattr(other, each.name)

    @classmethod
    def joined(cls, parts: list[Findings]) -> Findings:
        """One behind the other."""
        return cls(
            **{
                each.name: np.concatenate([getattr(part, each.name) for part in parts])
                for each in fields(cls)
            }
        )


def _decided(runs: Trajectories) -> Bool[np.ndarray, " scenario"]:
    """Whether a spread that is off by twice the bound of an angle is on the same side of 180."""
    bound = 2.0 * np.radians(np.nan_to_num(runs.certificate, nan=0.0, posinf=np.inf))
    with np.errstate(invalid="ignore"):
        largest = np.nanmax(np.where(np.isfinite(runs.spread), runs.spread, -1.0), axis=1)
        inside, outside = largest + bound <= np.pi, largest - bound > np.pi
    found: np.ndarray = runs.solution.success & np.where(runs.stable, inside, outside)
    return found


def _before(runs: Trajectories) -> Bool[np.ndarray, "scenario time"]:
    found: np.ndarray = (runs.t <= runs.separated[:, None]) & np.isfinite(runs.spread)
    return found


def _crossing(runs: Trajectories) -> Float[np.ndarray, " scenario"]:
    """When the spread passes 180 degrees, between the outputs before and after."""
    time, t = runs.separated.copy(), runs.t
    for scenario in np.flatnonzero(np.isfinite(time)):
        k = int(np.searchsorted(t, time[scenario]))
        before, after = runs.spread[scenario, max(k - 1, 0)], runs.spread[scenario, k]
        if k and np.isfinite(after):
            time[scenario] = t[k] - (t[k] - t[k - 1]) * (after - np.pi) / (after - before)
    return time


def _nadir(runs: Trajectories) -> Float[np.ndarray, " scenario"]:
    weight = runs.grid.inertia * runs.connected
    with np.errstate(invalid="ignore"):
        center = (weight * runs.omega).sum(-1) / weight.sum(-1)
    found: np.ndarray = np.where(_before(runs), center, np.inf).min(1)
    return runs.grid.case.frequency * found


def _weakest(runs: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    size = np.abs(runs.voltages())
    last = np.array(
        [max((e.time for e in events), default=-1.0) for events in runs.scenarios.events]
    )
    counts = _before(runs) & (runs.t > last[:, None])
    size = np.where(counts[..., None], size, np.inf)
    flat = size.reshape(len(size), -1)
    place, rows = flat.argmin(1), np.arange(len(flat))
    found = np.isfinite(flat[rows, place])
    return np.where(found, flat[rows, place], np.nan), np.where(found, place % size.shape[2], -1)


def _none(number: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(number, np.nan), np.full(number, -1)

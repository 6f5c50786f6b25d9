"""What tasks and benchmarks ask of a solver, and the solvers of this package in that shape."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np

from dae_solver.hybrid.calibration import voltage_tolerance
from dae_solver.hybrid.certificate import Certificate
from dae_solver.hybrid.solver import HybridRun
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories

T = TypeVar("T")


@runtime_checkable
class Solver(Protocol):
    """Anything that answers scenarios."""

    @property
    def name(self) -> str:
        """For tables."""
        ...

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """As :meth:`dae_solver.physics.grid.PowerSystem.simulate`."""
        ...


@dataclass(kw_only=True)
class Clock:
    """What the answers of a solver cost.

    Attributes:
        cpu: Process CPU time of each run, seconds.
        wall: Wall time of each run, seconds.
        runs: Trajectories of the last run.
    """

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    runs: list[Trajectories] = field(default_factory=list)

    def measure(
        self, solver: Solver, batches: Sequence[Scenarios], *, t_end: float, every: float
    ) -> None:
        """One run, in which a solver answers batches one after the other.

        A batch is answered when the angles at all outputs are there, which some solvers evaluate
        when they are asked for.
        """

        def answer() -> None:
            with np.errstate(all="ignore"):  # long steps may be unstable: an infinite error
                self.runs = []
                for one in batches:
                    self.runs.append(solver.simulate(one, t_end=t_end, every=every))
                    _ = self.runs[-1].delta

        cpu, wall = clocked(answer)
        self.cpu.append(cpu)
        self.wall.append(wall)


def to_and_fro(each: Sequence[T], rounds: int) -> Iterator[tuple[int, T]]:
    """Rounds through all, every second one backwards, so that none always follows the same one.

    Args:
        each: In the order of the first round.
        rounds: So many.

    Yields:
        The number of the round, from 0, and one of ``each``.
    """
    for number in range(rounds):
        for one in each if number % 2 == 0 else reversed(each):
            yield number, one


def clocked(act: Callable[[], object]) -> tuple[float, float]:
    """Process CPU time and wall time of a call, seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.process_time() - cpu, time.perf_counter() - wall


def runge_kutta_name(step: float, *, numpy: bool = False, single: bool = False) -> str:
    """Of :class:`RungeKutta` with a step, in tables."""
    how = ", NumPy" if numpy else ", single precision" if single else ""
    return f"RK4, 1/{round(1 / step)} s{how}"


@dataclass(frozen=True, kw_only=True)
class RungeKutta:
    """The classical engine with Runge-Kutta steps of order 4.

    Attributes:
        grid: The system.
        step: Fixed, seconds.
        tolerance: Of the voltages, pu.
        numpy: Whether NumPy evaluates the equations, for all scenarios at once, instead of the
            library that is compiled for them.
        single: Whether steps are in single precision, which NumPy does not have.
    """

    grid: PowerSystem
    step: float
    tolerance: float = 1e-6
    numpy: bool = False
    single: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        return runge_kutta_name(self.step, numpy=self.numpy, single=self.single)

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """See `Solver`."""
        grid = self.grid.in_numpy() if self.numpy else self.grid
        return grid.simulate(
            scenarios,
            t_end=t_end,
            every=every,
            step=self.step,
            tolerance=self.tolerance,
            single=self.single,
        )


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """The hybrid solver.

    Attributes:
        grid: The system.
        operator: Of this grid.
        certify: Bound that is asked for, degrees.
    """

    grid: PowerSystem
    operator: TrajectoryOperator
    certify: float

    @property
    def name(self) -> str:
        """For tables."""
        return f"operator, within {self.certify:g} deg"

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """See `Solver`."""
        return self.grid.simulate(
            scenarios,
            t_end=t_end,
            every=every,
            solver="hybrid",
            operator=self.operator,
            certify=self.certify,
            audit=0.0,
        )


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A solver that is asked for everything at all outputs, not for angles alone.

    Attributes:
        solver: The solver.
    """

    solver: Solver

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.solver.name}, all states and voltages"

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """See `Solver`."""
        runs = self.solver.simulate(scenarios, t_end=t_end, every=every)
        _ = runs.solution.x, runs.solution.y
        return runs


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The networks alone: no window is refused, so nothing bounds the error.

    Attributes:
        grid: The system.
        operator: Of this grid.
    """

    grid: PowerSystem
    operator: TrajectoryOperator
    name: str = "networks, no certificate"

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """See `Solver`."""
        loosest = max(each["bound"] for each in self.operator.facts["certificates"])
        certificate = Certificate.of(self.operator, loosest)
        run = HybridRun(
            grid=self.grid.dae,
            operator=self.operator,
            certificate=certificate,
            tolerance=voltage_tolerance(certificate.bound),
            refuse=False,
        )
        solution, _ = run.solve(scenarios, np.linspace(0.0, t_end, round(t_end / every) + 1))
        return Trajectories(
            grid=self.grid.dae,
            scenarios=scenarios,
            solution=solution,
            source=["net"] * len(scenarios),
            certificate=np.full(len(scenarios), np.nan),
        )

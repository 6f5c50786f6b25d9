"""A power system whose equations and simulations can be differentiated with MindSpore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from dae_solver.differentiable.kernels import DTYPES, Kernels
from dae_solver.differentiable.schedule import plan
from dae_solver.differentiable.trajectory import Engine, Trajectory
from dae_solver.differentiable.voltages import Voltages
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.recorded import Equations
from scimind.errors import InputError


def _compiled(function: Any) -> Any:
    return ms.jit(function, capture_mode="ast")


def _as_it_is(function: Any) -> Any:
    return function


@ms.jit_class
class DifferentiableGrid:
    """The equations of a :class:`dae_solver.physics.grid.PowerSystem` for MindSpore tensors.

    They are those of the classical engine, recorded once. Arrays have the scenario on their last
    axis. All parameters are one array ``[row, scenario]``; :attr:`rows` says where each is.

    >>> import mindspore as ms
    >>> from dae_solver.differentiable import DifferentiableGrid
    >>> from dae_solver.physics import PowerSystem, fault
    >>> system = PowerSystem.load("wscc9")
    >>> scenarios = system.scenarios(fault(7, t=0.1, clear=0.1))
    >>> grid = DifferentiableGrid(system, parameters=["TWOAXIS.M"])
    >>> x, p = grid.start(scenarios)
    >>> def swing(p):
    ...     path = grid.simulate(x, p, scenarios, t_end=0.5)
    ...     return path[:, grid.states("delta")].max()
    >>> ms.grad(swing)(p)[grid.rows["TWOAXIS.M"]].shape
    (3, 1)

    ``f``, ``g``, ``voltages`` and ``defect`` run in pynative mode and inside ``ms.jit``;
    ``simulate`` in pynative mode, where its steps are compiled. Second derivatives, such as the
    gradient of a loss with a time derivative in it, are taken inside ``ms.jit``.

    Attributes:
        f: ``f(x, y, p)``, derivatives of the states, ``[state, scenario]``.
        voltages: ``voltages(x, p, network, guess)``, see
            :class:`dae_solver.differentiable.voltages.Voltages`.
        rows: Rows of each parameter.

    Args:
        system: The grid.
        parameters: Names that are parameters besides set-points, fields, loads, converters and
            terms: ``online``, ``connected``, ``alpha`` and ``beta``, ``kpf``, ``kqf``,
            ``MODEL.name``; those that the system was given are always among them. What a model
            derives from its parameters when it is built (saturation curves, shares of stages,
            ratios of reactances within GENROU) keeps its value.
        dtype: ``float64`` or ``float32``.
        compiled: Whether the steps of simulations are compiled.

    Raises:
        InputError: A name or type is unknown.
    """

    def __init__(
        self,
        system: PowerSystem,
        parameters: Sequence[str] = (),
        *,
        dtype: str = "float64",
        compiled: bool = True,
    ) -> None:
        if dtype not in DTYPES:
            raise InputError(
                f"dtype={dtype!r} is not supported; use {' or '.join(DTYPES)}", rule="power.dtype"
            )
        self.dae = system.dae
        self.equations = Equations(system.dae, parameters)
        self.rows = self.equations.rows
        self.kernels = Kernels(self.equations, dtype)
        self.f = self.kernels.f
        self.voltages = Voltages(self.kernels)
        self.dtype = DTYPES[dtype]
        self.compile = _compiled if compiled else _as_it_is
        self.engines: dict[str, Engine] = {}
        self.parts = (self.kernels.states, self.kernels.algebraics)

    def g(self, x: Any, y: Any, p: Any, network: Any) -> Any:
        """Currents into the network less those of the devices, ``[algebraic, scenario]``.

        Args:
            x: States, ``[state, scenario]``.
            y: Voltages of the device buses, real then imaginary parts, ``[algebraic, scenario]``.
            p: Parameters, ``[row, scenario]``.
            network: From :meth:`network`.
        """
        return self.kernels.g(x, y, p, network)

    def defect(self, path: Any, t: Any, p: Any, network: Any) -> Any:
        """How far a path is from the equations: ``dx/dt - f``, then ``g``.

        Args:
            path: A function of ``t`` that returns states and voltages, one below the other,
                ``[state + algebraic, column]``; columns may not depend on one another's times.
            t: Times, ``[1, column]``, seconds.
            p: Parameters of each column, ``[row, column]``.
            network: Of each column, or one for all.

        Returns:
            ``[state + algebraic, column]``, pu by second and pu.
        """
        one = ops.add(ops.mul(t, 0.0), 1.0)
        z, rate = ms.jvp(path, t, one)
        x, y = ops.split(z, self.parts, 0)
        rate, _ = ops.split(rate, self.parts, 0)
        return ops.concat((ops.sub(rate, self.f(x, y, p)), self.g(x, y, p, network)), 0)

    def states(self, name: str) -> list[int]:
        """Rows of a state of all machines in ``x``.

        Raises:
            KeyError: No model has such a state.
        """
        return [int(row) for row in self.dae.rows(name)]

    def start(self, scenarios: Scenarios) -> tuple[Any, Any]:
        """States at rest ``[state, scenario]`` and parameters ``[row, scenario]``.

        Raises:
            InputError: The scenarios are of another grid, or have parameters that this one lacks.
        """
        scenarios.check(self.dae)
        return self.tensor(scenarios.x0), self.parameters(scenarios.parameters)

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """Parameters by name as one tensor ``[row, scenario]``.

        Args:
            values: Each ``[row, scenario]``; those of models, exponents and ``online`` that are
                missing have the values of the case.
        """
        scenarios = np.asarray(values["vref"]).shape[-1]
        return self.tensor(self.equations.pack(self.equations.filled(values, scenarios)))

    def network(self, numbers: Any) -> Any:
        """Admittance matrices of the device buses, ``[algebraic, algebraic, scenario or 1]``.

        Args:
            numbers: Of the topologies, ``[scenario]``: ``parameters["network"]`` of scenarios.
        """
        return self.tensor(self.engine("rk4").networks(np.asarray(numbers)))

    def tensor(self, values: Any) -> Any:
        """An array in the type of this grid."""
        return ms.Tensor(np.ascontiguousarray(values), self.dtype)

    def engine(self, method: str) -> Engine:
        """The compiled steps of a method.

        Raises:
            InputError: It is not known.
        """
        if method not in self.engines:
            self.engines[method] = Engine(self.equations, self.kernels, method, self.compile)
        return self.engines[method]

    def simulate(
        self,
        x: Any,
        p: Any,
        scenarios: Scenarios,
        *,
        t_end: float = 5.0,
        every: float = 1 / 60,
        method: str = "rk4",
        step: float = 1 / 120,
    ) -> Any:
        """Integrate with fixed steps, through the events of the scenarios.

        The gradient is that of the computed trajectory: limits that hold a state, events and the
        voltages after them included. What the time of an event does is not differentiated.

        Args:
            x: First states, ``[state, scenario]``.
            p: Parameters before the first event, ``[row, scenario]``.
            scenarios: Events and topologies.
            t_end: Last time, seconds.
            every: Distance of output times, a multiple of ``step``.
            method: ``rk4`` or ``trapezoid``.
            step: Seconds; steps end at its multiples and at events.

        Returns:
            States ``[time, state, scenario]``.

        Raises:
            InputError: A time or event is not possible, a step cannot be solved, or the scenarios
                are of another grid.
        """
        scenarios.check(self.dae)
        if not (t_end > 0 and every > 0 and step > 0):
            raise InputError(
                f"t_end={t_end:g} s, every={every:g} s and step={step:g} s must be positive",
                rule="power.time",
            )
        numbers = scenarios.parameters["network"]
        schedule = plan(scenarios.events, self.rows, numbers, step=step, t_end=t_end)
        times = np.linspace(0.0, t_end, round(t_end / every) + 1)
        place = _places(schedule.outputs(times), x.shape[0])
        path = Trajectory(self.engine(method), schedule, scenarios.y0)(x, p)
        return ops.gather_elements(path, 0, place)


def _places(place: np.ndarray, states: int) -> Any:
    """Indices ``[time, state, scenario]`` of points on the first axis."""
    times, scenarios = place.shape
    index = np.broadcast_to(place[:, None], (times, states, scenarios))
    return ms.Tensor(np.ascontiguousarray(index, np.int32))

"""A simulation with fixed steps as one differentiable function of first states and parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn

from dae_solver.differentiable.adjoint import Adjoint
from dae_solver.differentiable.kernels import Kernels
from dae_solver.differentiable.schedule import Schedule
from dae_solver.differentiable.steps import METHODS
from dae_solver.recorded import Equations
from dae_solver.solver.initial import consistent
from scimind.errors import InputError

# Rounds after which the matrix of the voltages is made anew.
RENEWED = 4


class Engine:
    """The compiled parts of a method, shared by all simulations of a grid.

    Args:
        equations: Of the grid.
        kernels: The same as functions of tensors.
        method: ``rk4`` or ``trapezoid``.
        compiled: A function that compiles another, or leaves it.
    """

    def __init__(
        self,
        equations: Equations,
        kernels: Kernels,
        method: str,
        compiled: Callable[[Any], Callable[..., Any]],
    ) -> None:
        if method not in METHODS:
            raise InputError(
                f"method {method!r} is not differentiable; there are: {', '.join(METHODS)}",
                rule="dae.method",
            )
        self.equations, self.kernels, self.method = equations, kernels, method
        made = METHODS[method](kernels)
        self.layout = made.layout
        self.step = compiled(made.__call__)
        self.inverse = compiled(kernels.algebraic_inverse)
        self.g = compiled(kernels.g)
        self.adjoint = Adjoint(kernels, method, compiled)

    def networks(self, numbers: np.ndarray) -> np.ndarray:
        """Admittances by topology, ``[algebraic, algebraic, *numbers]``, one where all are one."""
        dae = self.equations.dae
        if (numbers == numbers.flat[0]).all():
            numbers = numbers.reshape(-1)[:1].reshape((1,) * numbers.ndim)
        used, place = np.unique(numbers, return_inverse=True)
        every = np.stack([dae.admittances(int(number)) for number in used], -1)
        return np.asarray(every[..., place.reshape(numbers.shape)])


class Trajectory(nn.Cell):
    """States at all points of a schedule; one object for each run.

    It is called in pynative mode (the steps are compiled).

    Args:
        engine: The method.
        schedule: Steps and events.
        guess: Voltages near those at the start, ``[algebraic, scenario]``.
    """

    def __init__(self, engine: Engine, schedule: Schedule, guess: np.ndarray) -> None:
        super().__init__()
        self.engine, self.schedule, self.guess = engine, schedule, guess
        # Plain arrays, which a Cell would otherwise take for state of its own.
        self.kept: dict[str, np.ndarray] = {}

    def construct(self, x: Any, p: Any) -> Any:
        """States ``[point, state, scenario]``, the start first.

        Args:
            x: First states, ``[state, scenario]``.
            p: Parameters before the first event, ``[row, scenario]``.
        """
        first = x.asnumpy().astype(float)
        outcomes = self._forward(first, p.asnumpy().astype(float))
        self.kept["outcomes"] = outcomes
        states = self.engine.layout.states
        points = np.concatenate([first[None], outcomes[:, :states]])
        return ms.Tensor(points, self.engine.kernels.dtype)

    def bprop(self, x: Any, p: Any, out: Any, dout: Any) -> Any:
        """Cotangents of the first states and parameters."""
        schedule, engine = self.schedule, self.engine
        values = p.asnumpy().astype(float)
        of_x, of_rounds = engine.adjoint.run(
            dout.asnumpy().astype(float),
            self.kept["outcomes"],
            engine.layout,
            schedule.h,
            lambda some: self._parameters(values, schedule.segment[some]),
            lambda some: engine.networks(schedule.network[schedule.segment[some]]),
        )
        factor = schedule.scale[schedule.segment].transpose(2, 0, 1)
        of_p = (factor * of_rounds).sum(1)
        dtype = engine.kernels.dtype
        return ms.Tensor(of_x, dtype), ms.Tensor(of_p, dtype)

    def _parameters(self, p: np.ndarray, segment: np.ndarray) -> np.ndarray:
        """``[row, round, scenario]``, or ``[row, scenario]`` of one round."""
        scale = np.moveaxis(self.schedule.scale[segment], -1, 0)
        offset = np.moveaxis(self.schedule.offset[segment], -1, 0)
        return np.asarray(scale * (p[:, None] if segment.ndim == 2 else p) + offset)

    def _forward(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """The outcomes of all steps."""
        engine, schedule, layout = self.engine, self.schedule, self.engine.layout
        dtype = engine.kernels.dtype
        outcome = engine.layout.start(x, self.guess)
        found: list[Any] = []
        now: Any = None
        inverse, state, network, old = now, now, now, 0
        for each, (h, segment) in enumerate(zip(schedule.h, schedule.segment, strict=True)):
            turned = each == 0 or (segment != schedule.segment[each - 1])
            if np.any(turned):
                if found:
                    outcome = found[-1].asnumpy().astype(float)
                values = self._parameters(p, segment)
                numbers = schedule.network[segment]
                which = np.flatnonzero(np.broadcast_to(turned, segment.shape))
                outcome = self._restarted(outcome, values, numbers, which, schedule.t[each])
                state, now = ms.Tensor(outcome, dtype), ms.Tensor(values, dtype)
                network = ms.Tensor(engine.networks(numbers), dtype)
                old = RENEWED
            if old == RENEWED:
                rows = state[: layout.states], state[layout.states : layout.both]
                inverse, old = engine.inverse(*rows, now, network), 0
            old += 1
            state = engine.step(state, now, network, inverse, ms.Tensor(h[None], dtype))
            found.append(state)
        outcomes = np.asarray(np.stack([each.asnumpy() for each in found]), float)
        self._check(outcomes)
        return outcomes

    def _restarted(
        self,
        outcome: np.ndarray,
        p: np.ndarray,
        numbers: np.ndarray,
        which: np.ndarray,
        t: np.ndarray,
    ) -> np.ndarray:
        """Voltages after the events of some scenarios.

        Raises:
            InputError: There are none.
        """
        layout, equations = self.engine.layout, self.engine.equations
        x, y = outcome[: layout.states], outcome[layout.states : layout.both]
        named = {name: p[rows][:, which] for name, rows in equations.rows.items()}
        named["network"] = numbers[which]
        found, report = consistent(
            equations.dae, t[which], x[:, which], y[:, which], named, tolerance=1e-11
        )
        if not report.converged.all():
            scenario = int(which[~report.converged][0])
            raise InputError(
                f"scenario {scenario} has no voltages at {t[scenario]:g} s: {report.text()}",
                rule="dae.inconsistent",
            )
        new = layout.start(x[:, which], found)
        outcome = outcome.copy()
        outcome[:, which] = new
        return outcome

    def _check(self, outcomes: np.ndarray) -> None:
        """Every stage of every step was solved.

        Raises:
            InputError: One was not.
        """
        bad = np.argwhere(~np.isfinite(outcomes).all(1))
        if len(bad):
            number, scenario = map(int, bad[0])
            raise InputError(
                f"scenario {scenario} has no solution in the step from "
                f"{self.schedule.t[number, scenario]:g} s of "
                f"{self.schedule.h[number, scenario]:g} s; choose a shorter step",
                rule="dae.step",
            )

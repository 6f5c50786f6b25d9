"""What a method is given and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dae_solver.solver.parameters import Parameters
from dae_solver.solver.system import DAESystem
from scimind.typing import Bool, Float


@dataclass(kw_only=True)
class Point:
    """States, algebraic variables and derivatives at one time of each scenario.

    Attributes:
        t: ``[scenario]``.
        x: ``[state, scenario]``.
        y: ``[algebraic, scenario]``, which solves the algebraic equations.
        f: ``[state, scenario]``, the derivative of ``x``.
        slope: Estimate of the derivative of ``y``, from the step before; zeros after an event.
        missed: By how much the guesses of ``y`` were wrong in the step before, ``[guess, algebraic,
            scenario]``, which corrects those of the next step; zeros after an event, None where
            the method has no such guesses.
        h: Size of the step before.
    """

    t: Float[np.ndarray, " scenario"]
    x: Float[np.ndarray, "state scenario"]
    y: Float[np.ndarray, "algebraic scenario"]
    f: Float[np.ndarray, "state scenario"]
    slope: Float[np.ndarray, "algebraic scenario"]
    missed: Float[np.ndarray, "guess algebraic scenario"] | None = None
    h: Float[np.ndarray, " scenario"] | None = None

    def take(self, scenarios: Any) -> Point:
        """The point of some scenarios."""
        return Point(
            t=self.t[scenarios],
            x=self.x[:, scenarios],
            y=self.y[:, scenarios],
            f=self.f[:, scenarios],
            slope=self.slope[:, scenarios],
            missed=None if self.missed is None else self.missed[..., scenarios],
            h=None if self.h is None else self.h[scenarios],
        )

    def put(self, scenarios: Any, other: Point) -> None:
        """Replace the point of some scenarios."""
        self.t[scenarios] = other.t
        for name in ("x", "y", "f", "slope"):
            getattr(self, name)[:, scenarios] = getattr(other, name)
        if self.missed is None and other.missed is not None:
            self.missed = np.zeros((*other.missed.shape[:2], len(self.t)))
            self.h = np.ones(len(self.t))
        if self.missed is not None and self.h is not None:
            self.missed[..., scenarios] = 0.0 if other.missed is None else other.missed
            self.h[scenarios] = 1.0 if other.h is None else other.h


@dataclass(kw_only=True)
class Trial:
    """A step that may yet be refused.

    Attributes:
        end: Where it leads.
        error: Estimated local error of the states, or None where the method has no estimate.
        solved: Whether all equations of the step were solved.
        dense: Polynomial of the step: ``dense(theta)`` with ``theta`` in ``[0, 1]`` per scenario
            gives the states and a guess of the algebraic variables.
    """

    end: Point
    error: Float[np.ndarray, "state scenario"] | None
    solved: Bool[np.ndarray, " scenario"]
    dense: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

    def take(self, scenarios: np.ndarray) -> Trial:
        """The trial of some scenarios, by their numbers."""
        number = len(self.solved)

        def dense(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            every = np.zeros(number)
            every[scenarios] = theta
            x, y = self.dense(every)
            return x[:, scenarios], y[:, scenarios]

        return Trial(
            end=self.end.take(scenarios),
            error=None,
            solved=self.solved[scenarios],
            dense=dense,
        )


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """How well the equations within a step are solved.

    Attributes:
        algebraic: Largest residual of ``g``.
        rtol: Relative tolerance of the states.
        atol: Absolute tolerance of the states, in units of their scale.
    """

    algebraic: float = 1e-11
    rtol: float = 1e-10
    atol: float = 1e-10


@runtime_checkable
class Method(Protocol):
    """A one-step method."""

    name: str
    order: int
    estimate_order: int | None

    def step(
        self, system: DAESystem, start: Point, h: Any, p: Parameters, tolerances: Tolerances
    ) -> Trial:
        """One step of size ``h`` per scenario."""
        ...


def hermite(
    start: Point, end: Point, h: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The cubic through both ends with their derivatives; algebraic variables linearly."""

    def dense(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        s = theta
        square, cube = s * s, s * s * s
        x = (
            (1 - 3 * square + 2 * cube) * start.x
            + (3 * square - 2 * cube) * end.x
            + h * ((s - 2 * square + cube) * start.f + (cube - square) * end.f)
        )
        return x, start.y + s * (end.y - start.y)

    return dense

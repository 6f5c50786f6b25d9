"""Partitioned explicit Runge-Kutta methods: the algebraic equations are solved at every stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from dae_solver.solver.methods.step import Point, Tolerances, Trial, hermite
from dae_solver.solver.parameters import Parameters
from dae_solver.solver.system import DAESystem


class ExplicitRungeKutta:
    """A method given by its Butcher tableau.

    States advance explicitly; ``g = 0`` is solved for the algebraic variables at every stage, so
    they carry no error of their own and the order is that of the tableau (index 1).
    Dense output is the cubic Hermite polynomial.

    Source: Hairer and Wanner, Solving Ordinary Differential Equations II, VI.1 (state space form).
    """

    def __init__(
        self,
        name: str,
        order: int,
        a: list[list[float]],
        b: list[float],
        *,
        lower: list[float] | None = None,
        estimate_order: int | None = None,
    ) -> None:
        self.name, self.order, self.estimate_order = name, order, estimate_order
        self.a, self.b = a, b
        self.c = [sum(row) for row in a]
        # Weights of the error: of the stages, and of the derivative at the end.
        self.error = (
            None if lower is None else [u - v for u, v in zip([*b, 0.0], lower, strict=True)]
        )

    def tableau(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``a [stage, stage]``, ``b`` and ``c``."""
        stages = len(self.b)
        rows = [[*row, *[0.0] * (stages - len(row))] for row in self.a]
        return np.array(rows), np.array(self.b), np.array(self.c, float)

    def step(
        self, system: DAESystem, start: Point, h: Any, p: Parameters, tolerances: Tolerances
    ) -> Trial:
        """One step; see :class:`dae_solver.solver.methods.step.Method`."""
        slopes = [start.f]
        solved = np.ones(start.x.shape[-1], bool)
        guesses = _Guesses(start, h)
        for row, c in zip(self.a[1:], self.c[1:], strict=True):
            x = _combine(start.x, h, row, slopes)
            t = start.t + c * h
            y, good = system.solve(t, x, guesses.at(c), p, tolerances.algebraic)
            guesses.found(y)
            solved &= good
            slopes.append(np.asarray(system.f(t, x, y, p)))
        t = start.t + h
        x = system.limit(t, _combine(start.x, h, self.b, slopes), p)
        y, good = system.solve(t, x, guesses.at(1.0), p, tolerances.algebraic)
        guesses.found(y)
        solved &= good
        end = Point(
            t=t,
            x=x,
            y=y,
            f=np.asarray(system.f(t, x, y, p)),
            slope=(y - start.y) / h,
            missed=guesses.missed,
            h=h,
        )
        error = None
        if self.error is not None:
            error = _combine(np.zeros_like(x), h, self.error, [*slopes, end.f])
        return Trial(end=end, error=error, solved=solved, dense=hermite(start, end, h))


class _Guesses:
    """Guesses of the algebraic variables at the stages of a step.

    They follow the slope of the step before, then the stages before; by what such a guess missed in
    the step before it is corrected, so that its error is of third order instead of second.
    """

    def __init__(self, start: Point, h: Any) -> None:
        self.start, self.h = start, h
        self.y, self.node = start.y, 0.0
        self.guess: np.ndarray = start.y
        self.corrections: list[np.ndarray] = []
        self.misses: list[np.ndarray] = []
        if start.missed is not None and start.h is not None:
            ratio = h / start.h
            same = (np.abs(ratio - 1.0) < 1e-9).all()
            self.corrections = list(start.missed if same else start.missed * (ratio * ratio))

    def at(self, c: float) -> np.ndarray:
        """At the node ``c``."""
        if self.node == 0.0:
            self.guess = self.start.y + (c * self.h) * self.start.slope
        elif c == self.node:
            self.guess = self.y
        else:
            self.guess = self.start.y + (c / self.node) * (self.y - self.start.y)
        self.node = c
        if not self.corrections:
            return self.guess
        corrected: np.ndarray = self.guess + self.corrections[len(self.misses)]
        return corrected

    def found(self, y: np.ndarray) -> None:
        """What the solution there is."""
        miss = y - self.guess
        if not self.misses:
            # Where there was no slope yet, the miss says nothing about the next step.
            miss *= self.start.slope.any(axis=0)
        self.misses.append(miss)
        self.y = y

    @property
    def missed(self) -> np.ndarray:
        """By how much the guesses were wrong."""
        return np.stack(self.misses)


def _combine(x: np.ndarray, h: Any, weights: list[float], slopes: list[np.ndarray]) -> np.ndarray:
    total = None
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            total = weight * slope if total is None else total + weight * slope
    return x if total is None else x + h * total


EULER = ExplicitRungeKutta("euler", 1, [[]], [1.0])
HEUN = ExplicitRungeKutta("heun", 2, [[], [1.0]], [0.5, 0.5])
RK4 = ExplicitRungeKutta(
    "rk4", 4, [[], [0.5], [0.0, 0.5], [0.0, 0.0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]
)
# Source: Bogacki and Shampine, Appl. Math. Lett. 2, 321 (1989).
BOGACKI_SHAMPINE = ExplicitRungeKutta(
    "bs32",
    3,
    [[], [1 / 2], [0.0, 3 / 4]],
    [2 / 9, 1 / 3, 4 / 9],
    lower=[7 / 24, 1 / 4, 1 / 3, 1 / 8],
    estimate_order=2,
)
# Source: Dormand and Prince, J. Comp. Appl. Math. 6, 19 (1980).
DORMAND_PRINCE = ExplicitRungeKutta(
    "dopri5",
    5,
    [
        [],
        [1 / 5],
        [3 / 40, 9 / 40],
        [44 / 45, -56 / 15, 32 / 9],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    ],
    [35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    lower=[5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40],
    estimate_order=4,
)

"""Implicit methods whose stages are solved together: trapezoid, Gauss, Radau IIA."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from dae_solver.solver.methods.step import Point, Tolerances, Trial, hermite
from dae_solver.solver.parameters import Parameters
from dae_solver.solver.system import DAESystem

# The matrix of Newton is that of the middle of the step; where it converges slowly, it is made
# anew.
ITERATIONS_PER_MATRIX, MOST_MATRICES = 5, 4


class Collocation:
    """A collocation method for ``x' = f``, ``0 = g``, both at every node.

    The stages ``Z = h (a0 f0 + A F)`` are found by simplified Newton; ``A`` is diagonalised, so
    that a system of the size of one stage is solved for each of its eigenvalues (complex ones in
    pairs). Dense output is the collocation polynomial, the cubic Hermite polynomial of the
    trapezoid; algebraic variables are interpolated over the nodes.

    Source: Hairer and Wanner, Solving Ordinary Differential Equations II, IV.8 and VI.1.

    Args:
        name: Of the method.
        order: Of the states at the end of a step.
        nodes: Of the implicit stages, in ``(0, 1]``.
        first: Whether the start of the step is a node too (Lobatto IIIA; the trapezoid).
        error: Weights of the stages in the estimate of the error of Radau IIA of order 5.
    """

    def __init__(
        self,
        name: str,
        order: int,
        nodes: list[float],
        *,
        first: bool = False,
        error: list[float] | None = None,
        estimate_order: int | None = None,
    ) -> None:
        self.name, self.order, self.estimate_order = name, order, estimate_order
        self.c = np.array(nodes)
        self.first = first
        every = np.concatenate([[0.0], self.c]) if first else self.c
        integrals = _integrals(every, every)  # [node, node]
        matrix = integrals[1:, 1:] if first else integrals
        self.w = np.linalg.inv(matrix)
        self.d = self.w @ integrals[1:, 0] if first else np.zeros(len(self.c))
        values, vectors = np.linalg.eig(self.w)
        kept = [k for k, value in enumerate(values) if value.imag >= -1e-12]
        self.values = values[kept].astype(complex)
        self.t = vectors[:, kept]
        self.t_inverse = np.linalg.inv(vectors)[kept]
        self.single = np.abs(self.values.imag) <= 1e-12
        self.ends = bool(np.isclose(self.c[-1], 1.0))
        # The end from the stages, where the last is not the end: x1 = x0 + m Z.
        self.m = _integrals(self.c, np.ones(1))[0] @ self.w
        self.error = None if error is None else np.array(error)
        self.spread = _lagrange(np.concatenate([[0.0], self.c]))

    def step(
        self, system: DAESystem, start: Point, h: Any, p: Parameters, tolerances: Tolerances
    ) -> Trial:
        """One step; see :class:`dae_solver.solver.methods.step.Method`."""
        nx, scenarios = start.x.shape
        h = np.broadcast_to(np.asarray(h, float), (scenarios,))
        weight = np.concatenate(
            [
                tolerances.rtol * np.abs(start.x) + tolerances.atol * system.x_scale[:, None],
                tolerances.rtol * np.abs(start.y) + tolerances.atol * system.y_scale[:, None],
            ]
        )
        z = np.stack([c * h * start.f for c in self.c])  # [stage, state, scenario]
        y = np.stack([start.y + c * h * start.slope for c in self.c])
        solved = np.zeros(scenarios, bool)
        inverses: list[np.ndarray] = []
        with np.errstate(all="ignore"):
            for _ in range(MOST_MATRICES):
                inverses = self._matrices(system, start, h, p, z, y)
                before = np.full(scenarios, np.inf)
                for _ in range(ITERATIONS_PER_MATRIX):
                    change = self._solve(inverses, self._residual(system, start, h, p, z, y))
                    change[:, :, solved] = 0.0  # so that a scenario does not depend on the others
                    z, y = z + change[:, :nx], y + change[:, nx:]
                    size = np.sqrt(np.mean((change / weight) ** 2, axis=(0, 1)))
                    rate = np.where(np.isfinite(before), size / before, np.inf)
                    # What is left is about rate / (1 - rate) of the last change.
                    left = np.where(rate < 0.9, rate / (1 - rate) * size, size)
                    solved |= left <= 0.05
                    before = size
                    if solved.all():
                        break
                if solved.all() or not np.isfinite(size[~solved]).any():
                    break
            solved &= np.isfinite(z).all((0, 1)) & np.isfinite(y).all((0, 1))
        t = start.t + h
        x = start.x + (z[-1] if self.ends else np.tensordot(self.m, z, 1))
        held = system.limit(t, x, p)
        if self.ends and held is x:
            last = y[-1]
        else:
            guess = y[-1] + (1 - self.c[-1]) * h * start.slope
            last, good = system.solve(t, held, guess, p, tolerances.algebraic)
            solved &= good
        x = held
        end = Point(
            t=t, x=x, y=last, f=np.asarray(system.f(t, x, last, p)), slope=(last - start.y) / h
        )
        error = None
        if self.error is not None:
            slope = start.f + np.tensordot(self.error, z, 1) / h
            right = np.concatenate([slope, np.zeros_like(start.y)])
            real = inverses[int(np.flatnonzero(self.single)[0])]
            error = _times(real, right).real[:nx]
        return Trial(
            end=end,
            error=error,
            solved=solved,
            dense=hermite(start, end, h) if self.first else self._dense(start, z, y),
        )

    def _matrices(
        self,
        system: DAESystem,
        start: Point,
        h: np.ndarray,
        p: Parameters,
        z: np.ndarray,
        y: np.ndarray,
    ) -> list[np.ndarray]:
        """The inverse for each eigenvalue, with the derivatives in the middle of the nodes."""
        middle = start.t + float(self.c.mean()) * h
        jacobian = system.jacobian(middle, start.x + z.mean(0), y.mean(0), p)
        return [self._inverse(value, h, jacobian, len(start.x)) for value in self.values]

    def _inverse(self, value: complex, h: np.ndarray, jacobian: np.ndarray, nx: int) -> np.ndarray:
        """Of ``value / h E - J`` per scenario, real where the eigenvalue is."""
        real = abs(value.imag) <= 1e-12
        matrix = -jacobian.astype(float if real else complex)
        diagonal = np.arange(nx)
        matrix[:, diagonal, diagonal] += (value.real if real else value) / h[:, None]
        try:
            return np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            found = np.full(matrix.shape, np.nan, matrix.dtype)
            for scenario, each in enumerate(matrix):
                if np.isfinite(each).all() and np.linalg.matrix_rank(each) == len(each):
                    found[scenario] = np.linalg.inv(each)
            return found

    def _residual(
        self,
        system: DAESystem,
        start: Point,
        h: np.ndarray,
        p: Parameters,
        z: np.ndarray,
        y: np.ndarray,
    ) -> np.ndarray:
        """``[stage, row, scenario]``: what Newton makes zero."""
        linear = np.tensordot(self.w, z, 1) / h
        rows = []
        for stage, c in enumerate(self.c):
            t, x = start.t + c * h, start.x + z[stage]
            slope = system.f(t, x, y[stage], p) - linear[stage] + self.d[stage] * start.f
            rows.append(np.concatenate([slope, system.g(t, x, y[stage], p)]))
        return np.stack(rows)

    def _solve(self, inverses: list[np.ndarray], right: np.ndarray) -> np.ndarray:
        turned = np.tensordot(self.t_inverse, right, 1)
        total = np.zeros_like(right)
        for k, inverse in enumerate(inverses):
            part = _times(inverse, turned[k].real if self.single[k] else turned[k])
            factor = 1.0 if self.single[k] else 2.0
            total += factor * (self.t[:, k, None, None] * part).real
        return total

    def _dense(self, start: Point, z: np.ndarray, y: np.ndarray) -> Any:
        """The polynomials through the start and the nodes."""
        spread = self.spread

        def dense(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            weights = _evaluate(spread, theta)  # [node, scenario]
            x = start.x + sum(weights[k + 1] * z[k] for k in range(len(z)))
            algebraic = weights[0] * start.y
            for k in range(len(y)):
                algebraic = algebraic + weights[k + 1] * y[k]
            return x, algebraic

        return dense


def _times(matrix: np.ndarray, right: np.ndarray) -> Any:
    """Products per scenario: ``[scenario, row, column]`` by ``[column, scenario]``."""
    return np.matmul(matrix, right.T[..., None])[..., 0].T


def _lagrange(nodes: np.ndarray) -> np.ndarray:
    """Coefficients ``[node, power]`` of the Lagrange polynomials."""
    return np.linalg.inv(np.vander(nodes, increasing=True)).T


def _integrals(nodes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Integrals ``[end, node]`` of the Lagrange polynomials from 0 to each end."""
    powers = np.arange(1, len(nodes) + 1)
    found: np.ndarray = (ends[:, None] ** powers / powers) @ _lagrange(nodes).T
    return found


def _evaluate(coefficients: np.ndarray, theta: np.ndarray) -> np.ndarray:
    total = np.zeros((len(coefficients), len(theta)))
    for power in range(coefficients.shape[1] - 1, -1, -1):
        total = total * theta + coefficients[:, power, None]
    return total


def _gauss(stages: int) -> list[float]:
    roots = scipy.special.roots_legendre(stages)[0]
    return [float(0.5 * (root + 1.0)) for root in roots]


_R6 = float(np.sqrt(6.0))
TRAPEZOID = Collocation("trapezoid", 2, [1.0], first=True)
GAUSS2 = Collocation("gauss2", 4, _gauss(2))
GAUSS3 = Collocation("gauss3", 6, _gauss(3))
BACKWARD_EULER = Collocation("backward_euler", 1, [1.0])
RADAU2 = Collocation("radau2", 3, [1 / 3, 1.0])
# Source of the estimate: Hairer and Wanner II, IV.8, equations 8.17 to 8.19.
RADAU3 = Collocation(
    "radau3",
    5,
    [(4 - _R6) / 10, (4 + _R6) / 10, 1.0],
    error=[(-13 - 7 * _R6) / 3, (-13 + 7 * _R6) / 3, -1 / 3],
    estimate_order=3,
)

"""The discrete adjoint of a trajectory: gradients of what its points are used for.

The derivatives at the stages of all steps do not depend on one another, so they are evaluated many
steps at a time; what is sequential is one product with a small matrix for each stage, and is done
by NumPy. The result is the gradient of the computed trajectory, exact to rounding.

Source: Hager, Numer. Math. 87, 247 (2000), 3 (Runge-Kutta methods); Cao, Li, Petzold and Serban,
SIAM J. Sci. Comput. 24, 1076 (2003) (adjoint of index-1 systems).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from dae_solver.differentiable.kernels import Kernels
from scimind.typing import Float

# Matrices of this many bytes are held at a time.
MEMORY = 256e6


@ms.jit_class
class Linearised:
    """Derivatives of the voltage-free system ``x' = F(x, p)`` at many points."""

    def __init__(self, kernels: Kernels) -> None:
        self.k, self.parts = kernels, (kernels.states, kernels.algebraics)

    def __call__(self, x: Any, y: Any, p: Any, network: Any) -> Any:
        """``dF/dx`` and ``G = -df/dy (dg/dy)^-1`` side by side, ``[column, state, both]``."""
        upper, lower = ops.split(self.k.by_xy.at(x, y, p), self.parts, 0)
        f_x, f_y = ops.split(ops.transpose(upper, (2, 0, 1)), self.parts, 2)
        g_x, g_y = ops.split(lower, self.parts, 1)
        g_y = ops.transpose(ops.add(g_y, network), (2, 0, 1))
        g = ops.neg(ops.bmm(f_y, ops.inverse(g_y)))
        total = ops.add(f_x, ops.bmm(g, ops.transpose(g_x, (2, 0, 1))))
        return ops.concat((total, g), 2)


def sweep_rk4(
    matrix: np.ndarray, h: np.ndarray, end: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """Cotangents of the slopes of one step, and of its start.

    Args:
        matrix: ``dF/dx`` at each stage, ``[stage, scenario, state, state]``.
        h: ``[scenario, 1]``.
        end: Cotangent of the end, ``[scenario, state]``.
    """
    k4 = h / 6 * end
    s4 = _back(k4, matrix[3])
    k3 = h / 3 * end + h * s4
    s3 = _back(k3, matrix[2])
    k2 = h / 3 * end + h / 2 * s3
    s2 = _back(k2, matrix[1])
    k1 = h / 6 * end + h / 2 * s2
    return [k1, k2, k3, k4], end + s2 + s3 + s4 + _back(k1, matrix[0])


def sweep_trapezoid(
    matrix: np.ndarray, h: np.ndarray, end: np.ndarray
) -> tuple[list[np.ndarray], np.ndarray]:
    """As :func:`sweep_rk4`; the stages are the start and the end."""
    implicit = np.eye(matrix.shape[-1]) - (h / 2)[..., None] * matrix[1]
    w = np.linalg.solve(implicit.transpose(0, 2, 1), end[..., None])[..., 0]
    slope = h / 2 * w
    return [slope, slope], w + _back(slope, matrix[0])


def _back(cotangent: np.ndarray, matrix: np.ndarray) -> Any:
    return (cotangent[:, None, :] @ matrix)[:, 0]


SWEEPS = {"rk4": sweep_rk4, "trapezoid": sweep_trapezoid}


class Adjoint:
    """Goes back through the steps of a trajectory.

    Args:
        kernels: The equations.
        method: Name of the method.
        compiled: A function that compiles another, or leaves it.
    """

    def __init__(
        self, kernels: Kernels, method: str, compiled: Callable[[Any], Callable[..., Any]]
    ) -> None:
        self.k, self.sweep = kernels, SWEEPS[method]
        self.linearised = compiled(Linearised(kernels).__call__)
        self.both_back = compiled(kernels.both_back)
        self.limit_back = compiled(kernels.limit_back)
        both = kernels.states + kernels.algebraics
        # Columns that are evaluated at a time: a power of two, so that few shapes are compiled.
        self.most = 2 ** int(np.log2(MEMORY / (48.0 * both * both)))

    def run(
        self,
        given: Float[np.ndarray, "point state scenario"],
        outcomes: Float[np.ndarray, "round row scenario"],
        layout: Any,
        h: Float[np.ndarray, "round scenario"],
        parameters: Callable[[slice], np.ndarray],
        networks: Callable[[slice], np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cotangents of the first states, and of the parameters in each round.

        Args:
            given: Cotangents of the states at all points.
            outcomes: Of the steps, see :mod:`dae_solver.differentiable.steps`.
            layout: Of their rows.
            h: Steps.
            parameters: ``[row, round, scenario]`` of some rounds.
            networks: Admittances ``[algebraic, algebraic, round, scenario]`` of some rounds, or
                ``[algebraic, algebraic, 1, 1]`` where all share one.

        Returns:
            ``[state, scenario]``, ``[row, round, scenario]``.
        """
        rounds, _, scenarios = outcomes.shape
        end = given[-1].T
        of_parameters = []
        length = max(1, self.most // (layout.stages * scenarios))
        starts = [*range(0, rounds, length)]
        for begin in reversed(starts):
            some = slice(begin, min(begin + length, rounds))
            part = _Part(self, outcomes[some], layout, parameters(some), networks(some))
            end = part.back(end, given[some], h[some])
            of_parameters.append(part.of_parameters())
        return end.T, np.concatenate(of_parameters[::-1], 1)


class _Part:
    """Some consecutive rounds; columns are ``(round, stage, scenario)``."""

    def __init__(
        self, adjoint: Adjoint, outcomes: np.ndarray, layout: Any, p: np.ndarray, net: np.ndarray
    ) -> None:
        self.adjoint, k = adjoint, adjoint.k
        rounds, _, scenarios = outcomes.shape
        self.shape = (rounds, layout.stages, scenarios)
        states, stages = layout.states, layout.stages
        points = outcomes[:, layout.first_stage :].reshape(rounds, stages, layout.both, scenarios)
        points = points.transpose(2, 0, 1, 3).reshape(layout.both, -1)
        self.x, self.y = points[:states], points[states:]
        self.p = p.reshape(len(p), -1)
        every = np.repeat(p[:, :, None], stages, 2).reshape(len(p), -1)
        if net.shape[2:] != (1, 1):
            net = np.repeat(net[:, :, :, None], stages, 3)
        self.every, self.net = every, net.reshape(*net.shape[:2], -1)
        matrix = self._blocks(adjoint.linearised, [self.x, self.y, every, self.net], axis=0)
        self.matrix = matrix.reshape(*self.shape, states, layout.both)
        reached = outcomes[:, layout.end : layout.first_stage].transpose(1, 0, 2)
        self.reached = reached.reshape(states, -1)
        one = np.ones_like(self.reached)
        free = self._blocks(adjoint.limit_back, [self.reached, self.p, one])[:states]
        self.free = free.reshape(states, rounds, scenarios).transpose(1, 2, 0)
        self.states, self.algebraics = states, k.algebraics

    def back(self, end: np.ndarray, given: np.ndarray, h: np.ndarray) -> np.ndarray:
        """From the cotangent ``[scenario, state]`` of the last point to that of the first."""
        rounds, stages, scenarios = self.shape
        self.slopes = np.empty((rounds, stages, scenarios, self.states))
        self.ends = np.empty((rounds, scenarios, self.states))
        for each in reversed(range(rounds)):
            self.ends[each] = end
            slopes, end = self.adjoint.sweep(
                self.matrix[each, ..., : self.states], h[each][:, None], self.free[each] * end
            )
            self.slopes[each] = slopes
            end = end + given[each].T
        return end

    def of_parameters(self) -> np.ndarray:
        """Cotangents ``[row, round, scenario]`` of the parameters in each round."""
        rounds, stages, scenarios = self.shape
        mu = np.einsum("rsbi,rsbij->rsbj", self.slopes, self.matrix[..., self.states :])
        seed = np.concatenate([self.slopes, mu], -1).reshape(-1, self.matrix.shape[-1]).T
        by_stage = self._blocks(self.adjoint.both_back, [self.x, self.y, self.every, seed])
        found = by_stage.reshape(-1, rounds, stages, scenarios).sum(2)
        ends = self.ends.reshape(-1, self.states).T
        by_limit = self._blocks(self.adjoint.limit_back, [self.reached, self.p, ends])
        return np.asarray(found + by_limit[self.states :].reshape(found.shape))

    def _blocks(
        self, function: Callable[..., Any], arrays: Sequence[np.ndarray], *, axis: int = 1
    ) -> np.ndarray:
        """A function of columns, in blocks of one size."""
        columns = arrays[0].shape[-1]
        size = min(self.adjoint.most, 1 << (columns - 1).bit_length())
        found = []
        for begin in range(0, columns, size):
            place = np.minimum(np.arange(begin, begin + size), columns - 1)
            parts = [
                ms.Tensor(
                    np.ascontiguousarray(a[..., place] if a.shape[-1] > 1 or columns == 1 else a),
                    self.adjoint.k.dtype,
                )
                for a in arrays
            ]
            value = function(*parts).asnumpy()
            kept = min(size, columns - begin)
            found.append(value[:kept] if axis == 0 else value[:, :kept])
        return np.asarray(np.concatenate(found, axis), float)

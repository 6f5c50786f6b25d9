"""The equations at a point: derivatives, residuals, Jacobians and pullbacks of a batch.

Matrices are ``[row, column, scenario]``, with one scenario where all share them.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import ops

from dae_solver.differentiable.jacobian import Dense, Jacobian
from dae_solver.differentiable.pullback import pullback
from dae_solver.differentiable.written import function, staged
from dae_solver.recorded import Equations, Program, Recorded, RecordingMath

MOST_ITERATIONS = 40
# Of the last change of the voltages; what is left is a small share of it.
TOLERANCES = {"float64": 1e-11, "float32": 1e-5}
DTYPES = {"float64": ms.float64, "float32": ms.float32}


@ms.jit_class
class Kernels:
    """Functions of tensors that may be called in pynative mode and inside ``ms.jit``.

    Attributes:
        f: Derivatives ``[state, scenario]`` of ``x, y, p``.
        currents: Minus the currents of the devices, ``[algebraic, scenario]``, of ``x, y, p``.
        limit: States within their hard limits, of ``x, p``.

    Args:
        equations: Of the grid.
        dtype: ``float64`` or ``float32``.
    """

    def __init__(self, equations: Equations, dtype: str) -> None:
        self.dtype = kind = DTYPES[dtype]
        self.tolerance = ms.Tensor(TOLERANCES[dtype], kind)
        self.begin, self.one = ms.Tensor(0, ms.int32), ms.Tensor(1, ms.int32)
        self.most = ms.Tensor(MOST_ITERATIONS, ms.int32)
        self.unknown = ms.Tensor(float("nan"), kind)
        x, y, p = (equations.input[name] for name in "xyp")
        self.states, self.algebraics = len(x), len(y)
        self.f = function(equations.f, kind)
        self.currents = function(equations.currents, kind)
        self.before, self.after = staged(equations.currents, y, kind)
        self.limit = function(equations.limit, kind)
        currents = equations.currents.recorded
        both = RecordingMath.concat([equations.f.recorded, currents])
        inputs = [x, y, p]
        self.by_y = Dense(Jacobian(currents, inputs, [y], kind))
        self.by_xy = Dense(Jacobian(both, inputs, [x, y], kind))
        self.both_back = _back(both, inputs, [p], kind)
        self.limit_back = _back(equations.limit.recorded, [x, p], [x, p], kind)

    def g(self, x: Any, y: Any, p: Any, network: Any) -> Any:
        """Currents into the network less those of the devices, ``[algebraic, scenario]``."""
        return ops.add(self.times(network, y), self.currents(x, y, p))

    def times(self, matrix: Any, vector: Any) -> Any:
        """Products ``[row, scenario]`` of matrices and vectors of each scenario."""
        return ops.sum(ops.mul(matrix, vector), 1)

    def inverse(self, matrix: Any) -> Any:
        """Inverse matrices."""
        found = ops.inverse(ops.transpose(matrix, (2, 0, 1)))
        return ops.transpose(found, (1, 2, 0))

    def algebraic_inverse(self, x: Any, y: Any, p: Any, network: Any) -> Any:
        """Inverse of ``dg / dy``."""
        return self.inverse(ops.add(network, self.by_y.at(x, y, p)))

    def solve(self, x: Any, y: Any, p: Any, network: Any, inverse: Any) -> Any:
        """Voltages from a near guess ``y``, with the inverse of ``dg / dy`` at a near point.

        They are not a number where they do not converge.
        """
        given = self.before(x, p)
        number, change = self.begin, y
        while number < self.most:
            residual = ops.add(self.times(network, y), self.after(y, given))
            change = self.times(inverse, residual)
            y = ops.sub(y, change)
            number = self.count(number, change)
        return self.converged(y, change)

    def newton(self, x: Any, y: Any, p: Any, network: Any) -> Any:
        """Voltages from any guess from which Newton converges, else not a number."""
        number, change = self.begin, y
        while number < self.most:
            inverse = self.algebraic_inverse(x, y, p, network)
            change = self.times(inverse, self.g(x, y, p, network))
            y = ops.sub(y, change)
            number = self.count(number, change)
        return self.converged(y, change)

    def converged(self, y: Any, change: Any) -> Any:
        """``y`` of the scenarios whose last change was small, elsewhere not a number."""
        largest = ops.expand_dims(ops.reduce_max(ops.abs(change), 0), 0)
        return ops.where(ops.less_equal(largest, self.tolerance), y, self.unknown)

    def count(self, number: Any, change: Any) -> Any:
        """The number of iterations, or the largest number where the last changed little."""
        left = ops.reduce_max(ops.abs(change), (0, 1))
        return ops.where(left > self.tolerance, ops.add(number, self.one), self.most)


def _back(result: Recorded, inputs: list[Recorded], variables: list[Recorded], dtype: Any) -> Any:
    """The pullback of a result as a function of its inputs and a cotangent."""
    seed = result.recording.input("seed", len(result))
    found = RecordingMath.concat(pullback(result, seed, variables))
    return function(Program(found, [*inputs, seed]), dtype)

"""One step of a method for all scenarios, compiled.

Every function returns a single tensor: with several results MindSpore's CPU runtime hands each
operator to another thread, which takes forty times as long as the operators of a grid.

The outcome of a step has the rows ``x, y, slope`` at its end, ``slope`` an estimate of the
derivative of ``y``; then the states before their limits are applied; then ``x, y`` of each stage.
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from dae_solver.differentiable.kernels import Kernels


class Layout:
    """Where the rows of an outcome are."""

    def __init__(self, states: int, algebraics: int, stages: int) -> None:
        self.states, self.algebraics, self.stages = states, algebraics, stages
        self.end = states + 2 * algebraics
        self.first_stage = self.end + states
        self.both = states + algebraics
        self.rows = self.first_stage + stages * self.both

    def start(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The outcome that a first step starts from."""
        found = np.zeros((self.rows, x.shape[1]))
        found[: self.states], found[self.states : self.both] = x, y
        return found


@ms.jit_class
class RK4:
    """The classical method of order 4, with the voltages solved for at every stage.

    Source: Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, II.1.
    """

    stages = 4

    def __init__(self, kernels: Kernels) -> None:
        self.k = kernels
        dtype = kernels.dtype
        self.layout = Layout(kernels.states, kernels.algebraics, self.stages)
        self.half, self.two = ms.Tensor(0.5, dtype), ms.Tensor(2.0, dtype)
        self.sixth, self.tiny = ms.Tensor(1 / 6, dtype), ms.Tensor(1e-12, dtype)
        rest = self.layout.rows - self.layout.end
        self.sizes = (kernels.states, kernels.algebraics, kernels.algebraics, rest)

    def __call__(self, outcome: Any, p: Any, network: Any, inverse: Any, h: Any) -> Any:
        """The outcome after a step ``h [1, scenario]`` from that of the step before."""
        k = self.k
        x, y, slope, _ = ops.split(outcome, self.sizes, 0)
        half = ops.mul(h, self.half)
        k1 = k.f(x, y, p)
        x2 = ops.add(x, ops.mul(half, k1))
        y2 = k.solve(x2, ops.add(y, ops.mul(half, slope)), p, network, inverse)
        k2 = k.f(x2, y2, p)
        x3 = ops.add(x, ops.mul(half, k2))
        y3 = k.solve(x3, y2, p, network, inverse)
        k3 = k.f(x3, y3, p)
        x4 = ops.add(x, ops.mul(h, k3))
        y4 = k.solve(x4, ops.sub(ops.mul(y3, self.two), y), p, network, inverse)
        k4 = k.f(x4, y4, p)
        middle = ops.mul(ops.add(k2, k3), self.two)
        total = ops.add(ops.add(k1, k4), middle)
        reached = ops.add(x, ops.mul(ops.mul(h, self.sixth), total))
        end = k.limit(reached, p)
        last = k.solve(end, y4, p, network, inverse)
        slope = ops.div(ops.sub(last, y), ops.maximum(h, self.tiny))
        return ops.concat((end, last, slope, reached, x, y, x2, y2, x3, y3, x4, y4), 0)


@ms.jit_class
class Trapezoid:
    """The implicit trapezoidal rule, states and voltages solved for together.

    Source: Milano, Power System Modelling and Scripting (2010), 8.4.
    """

    stages = 2

    def __init__(self, kernels: Kernels) -> None:
        self.k = kernels
        dtype = kernels.dtype
        self.layout = Layout(kernels.states, kernels.algebraics, self.stages)
        self.half, self.tiny = ms.Tensor(0.5, dtype), ms.Tensor(1e-12, dtype)
        states = kernels.states
        eye = np.zeros((states + kernels.algebraics, states + kernels.algebraics, 1))
        eye[:states, :states, 0] = np.eye(states)
        self.eye = ms.Tensor(eye, dtype)
        rest = self.layout.rows - self.layout.end
        self.sizes = (kernels.states, kernels.algebraics, kernels.algebraics, rest)
        self.parts = (kernels.states, kernels.algebraics)
        self.padding = ms.Tensor(np.zeros((kernels.algebraics, states, 1)), dtype)

    def matrix(self, x: Any, y: Any, p: Any, network: Any, half: Any) -> Any:
        """Inverse of the derivative of the residual by ``x, y``."""
        upper, lower = ops.split(self.k.by_xy.at(x, y, p), self.parts, 0)
        by_x, by_y = ops.split(lower, self.parts, 1)
        lower = ops.concat((by_x, ops.add(by_y, network)), 1)
        upper = ops.mul(upper, ops.neg(half))
        return self.k.inverse(ops.add(ops.concat((upper, lower), 0), self.eye))

    def __call__(self, outcome: Any, p: Any, network: Any, inverse: Any, h: Any) -> Any:
        """The outcome after a step ``h [1, scenario]`` from that of the step before."""
        k = self.k
        x, y, slope, _ = ops.split(outcome, self.sizes, 0)
        half = ops.mul(h, self.half)
        k0 = k.f(x, y, p)
        before = ops.add(x, ops.mul(half, k0))
        x1, y1 = ops.add(x, ops.mul(h, k0)), ops.add(y, ops.mul(h, slope))
        matrix = self.matrix(x1, y1, p, network, half)
        number, change = k.begin, ops.concat((x, y), 0)
        while number < k.most:
            upper = ops.sub(ops.sub(x1, before), ops.mul(half, k.f(x1, y1, p)))
            residual = ops.concat((upper, k.g(x1, y1, p, network)), 0)
            change = k.times(matrix, residual)
            by_x, by_y = ops.split(change, self.parts, 0)
            x1, y1 = ops.sub(x1, by_x), ops.sub(y1, by_y)
            number = k.count(number, change)
        x1 = k.converged(x1, change)
        end = k.limit(x1, p)
        last = k.solve(end, y1, p, network, inverse)
        slope = ops.div(ops.sub(last, y), ops.maximum(h, self.tiny))
        return ops.concat((end, last, slope, x1, x, y, x1, y1), 0)


METHODS: dict[str, Any] = {"rk4": RK4, "trapezoid": Trapezoid}

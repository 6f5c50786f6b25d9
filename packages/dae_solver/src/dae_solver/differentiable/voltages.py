"""The algebraic equations as a layer: voltages of given states, with exact gradients."""

from __future__ import annotations

from typing import Any

from mindspore import nn, ops

from dae_solver.differentiable.kernels import Kernels


class _Root(nn.Cell):
    """The solution and the inverse of ``dg / dy`` there, as constants: they have no gradient."""

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.k = kernels

    def construct(self, x: Any, p: Any, network: Any, guess: Any) -> Any:
        y = self.k.newton(x, guess, p, network)
        inverse = self.k.algebraic_inverse(x, y, p, network)
        return ops.concat((inverse, ops.expand_dims(y, 1)), 1)

    def bprop(self, x: Any, p: Any, network: Any, guess: Any, out: Any, dout: Any) -> Any:
        return ops.mul(x, 0.0), ops.mul(p, 0.0), ops.mul(network, 0.0), ops.mul(guess, 0.0)


class Voltages(nn.Cell):
    """``y`` with ``g(x, y, p) = 0``, by Newton's method from a guess.

    The gradient is that of the implicit function theorem, ``dy = -J^-1 (g_x dx + g_p dp)`` with
    ``J = dg/dy``: the layer ends with one step ``y - J^-1 g(x, y, p)`` in which the root ``y`` and
    the inverse are constants, so that it moves nothing but has this derivative. First derivatives
    are exact; there are no second ones. The guess has no gradient. It runs in pynative mode and
    inside ``ms.jit``.

    Source: Griewank and Walther, Evaluating Derivatives (2008), 15.1.
    """

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.k, self.root = kernels, _Root(kernels)
        self.parts = (kernels.algebraics, 1)
        self.shape = (kernels.algebraics, -1)

    def construct(self, x: Any, p: Any, network: Any, guess: Any) -> Any:
        """Voltages ``[algebraic, scenario]``; not a number where Newton does not converge.

        Args:
            x: States, ``[state, scenario]``.
            p: Parameters, ``[row, scenario]``.
            network: Admittances, ``[algebraic, algebraic, scenario]``, or one for all.
            guess: Where Newton starts, ``[algebraic, scenario]``.
        """
        inverse, y = ops.split(self.root(x, p, network, guess), self.parts, 1)
        y = ops.reshape(y, self.shape)
        return ops.sub(y, self.k.times(inverse, self.k.g(x, y, p, network)))

"""The algebraic equations as a layer: voltages of given states, with exact gradients."""

from __future__ import annotations

from typing import Any

from mindspore import nn, ops

from dae_solver.differentiable.kernels import Kernels


class Voltages(nn.Cell):  # type: ignore[misc]
    """``y`` with ``g(x, y, p) = 0``, by Newton's method from a guess.

    The gradient is that of the implicit function theorem: with ``J = dg/dy`` at the solution, the
    cotangent of ``y`` becomes ``mu = -J^-T dy``, and those of ``x``, ``p`` and the network are
    ``mu`` through the derivatives of ``g``. The guess has none. It runs in pynative mode and
    inside ``ms.jit``.

    Source: Griewank and Walther, Evaluating Derivatives (2008), 15.1.
    """

    def __init__(self, kernels: Kernels) -> None:
        super().__init__()
        self.k = kernels

    def construct(self, x: Any, p: Any, network: Any, guess: Any) -> Any:
        """Voltages ``[algebraic, scenario]``; not a number where Newton does not converge.

        Args:
            x: States, ``[state, scenario]``.
            p: Parameters, ``[row, scenario]``.
            network: Admittances, ``[algebraic, algebraic, scenario]``, or one for all.
            guess: Where Newton starts, ``[algebraic, scenario]``.
        """
        return self.k.newton(x, guess, p, network)

    def bprop(self, x, p, network, guess, out, dout):  # type: ignore[no-untyped-def]
        """Cotangents of the arguments."""
        k = self.k
        inverse = k.algebraic_inverse(x, out, p, network)
        mu = ops.neg(k.times_transposed(inverse, dout))
        both = k.currents_back(x, out, p, mu)
        of_x, of_p = ops.split(both, (k.states, both.shape[0] - k.states), 0)
        of_network = ops.mul(ops.expand_dims(mu, 1), ops.expand_dims(out, 0))
        if network.shape[2] == 1:
            of_network = ops.sum(of_network, 2, True)
        return of_x, of_p, of_network, ops.mul(guess, 0.0)

"""The defect of a path: zero on a solution, and a loss that can be trained on."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from dae_solver.differentiable import DifferentiableGrid
from dae_solver.physics import PowerSystem


@pytest.fixture(scope="module")
def setting() -> tuple[DifferentiableGrid, Any, Any, Any]:
    system = PowerSystem.load("wscc9")
    grid = DifferentiableGrid(system)
    scenarios = system.scenarios([])
    _, p = grid.start(scenarios)
    rest = grid.tensor(np.concatenate([scenarios.x0, scenarios.y0]))
    return grid, rest, p, grid.network(scenarios.parameters["network"])


def test_it_is_the_rate_less_the_equations(setting: Any) -> None:
    grid, rest, p, network = setting
    t = grid.tensor(np.linspace(0.0, 1.0, 5)[None])
    many = ops.tile(p, (1, 5))
    speed = np.random.default_rng(0).standard_normal(rest.shape) * 0.01
    rate = grid.tensor(speed)

    def path(t: Any) -> Any:
        return rest + rate * ops.sin(t)

    found = grid.defect(path, t, many, network).asnumpy()
    z = path(t)
    states = grid.kernels.states
    f = grid.f(z[:states], z[states:], many).asnumpy()
    g = grid.g(z[:states], z[states:], many, network).asnumpy()
    expected = speed[:states] * np.cos(t.asnumpy()) - f
    np.testing.assert_allclose(found[:states], expected, atol=1e-10)
    np.testing.assert_allclose(found[states:], g, atol=1e-12)

    def resting(t: Any) -> Any:
        return rest + 0.0 * t

    still = grid.defect(resting, t, many, network).asnumpy()
    assert np.abs(still).max() < 1e-9


class Wave(nn.Cell):
    """``rest + a sin(a t)`` with the amplitudes ``a`` as its parameter."""

    def __init__(self, rest: Any, amplitude: np.ndarray) -> None:
        super().__init__()
        self.rest = rest
        self.amplitude = ms.Parameter(ms.Tensor(amplitude, ms.float64), name="amplitude")

    def construct(self, t: Any) -> Any:
        return self.rest + self.amplitude * ops.sin(self.amplitude * t)


def test_its_gradient_is_that_of_difference_quotients(setting: Any) -> None:
    grid, rest, p, network = setting
    t = grid.tensor(np.linspace(0.0, 1.0, 4)[None])
    many = ops.tile(p, (1, 4))
    base = np.random.default_rng(1).standard_normal(rest.shape) * 0.01

    def loss_of(wave: Wave) -> Any:
        def loss(t: Any) -> Any:
            defect = grid.defect(wave, t, many, network)
            return ops.mul(defect, defect).sum()

        return loss

    wave = Wave(rest, base)
    (found,) = ms.jit(ms.grad(loss_of(wave), None, wave.trainable_params()))(t)
    along, step = np.random.default_rng(2).standard_normal(base.shape), 1e-5
    # A graph keeps the values that parameters had when it was compiled: a new path for each.
    ahead, behind = (
        float(loss_of(Wave(rest, base + by * along))(t).asnumpy()) for by in (step, -step)
    )
    quotient = (ahead - behind) / (2 * step)
    assert (found.asnumpy() * along).sum() == pytest.approx(quotient, rel=1e-5)

"""Voltages as a layer: values of the engine, gradients of the implicit function theorem."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
import pytest

from dae_solver.differentiable import DifferentiableGrid
from dae_solver.physics import LoadModel, PowerSystem
from mixed_models import mixed_case


class Setting:
    def __init__(self) -> None:
        self.system = PowerSystem(mixed_case("second"), "zip 0.4 0.3 0.3")
        self.grid = DifferentiableGrid(self.system, ["TWOAXIS.xq1"])
        rng = np.random.default_rng(0)
        scenarios = self.system.scenarios([], [], load_level=[0.97, 1.03])
        self.x = scenarios.x0 + 0.05 * rng.standard_normal(scenarios.x0.shape)
        self.y0, self.parameters = scenarios.y0, scenarios.parameters
        self.weights = rng.standard_normal(self.y0.shape)
        self.p = self.grid.parameters(self.parameters).asnumpy()
        # Each scenario with a network of its own: the second is a little stiffer.
        network = self.grid.network(self.parameters["network"]).asnumpy()
        self.network = np.concatenate([network, 1.01 * network], 2)

    def arguments(self) -> list[Any]:
        return [self.grid.tensor(a) for a in (self.x, self.p, self.network, self.y0)]

    def loss(self, x: Any, p: Any, network: Any, guess: Any) -> Any:
        return (self.grid.voltages(x, p, network, guess) * self.grid.tensor(self.weights)).sum()


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting()


def test_they_solve_the_equations_of_the_engine(setting: Setting) -> None:
    s = setting
    x, p, network, guess = s.arguments()
    y = s.grid.voltages(x, p, network, guess)
    assert np.abs(s.grid.g(x, y, p, network).asnumpy()).max() < 1e-11
    one = {name: value[..., :1] for name, value in s.parameters.items()}
    expected, good = s.system.dae.solve(0.0, s.x[:, :1], s.y0[:, :1], one, 1e-14)
    assert good.all()
    np.testing.assert_allclose(y.asnumpy()[:, :1], expected, atol=1e-12)


@pytest.fixture(scope="module")
def gradients(setting: Setting) -> list[np.ndarray]:
    found = ms.grad(setting.loss, (0, 1, 2, 3))(*setting.arguments())
    return [each.asnumpy() for each in found]


@pytest.mark.parametrize("which", [0, 1, 2], ids=["states", "parameters", "network"])
def test_gradients_are_those_of_difference_quotients(
    which: int, setting: Setting, gradients: list[np.ndarray]
) -> None:
    arguments = setting.arguments()
    base = arguments[which].asnumpy()
    along = np.random.default_rng(which).standard_normal(base.shape) * np.abs(base)

    def value(by: float) -> float:
        moved = [*arguments]
        moved[which] = setting.grid.tensor(base + by * along)
        return float(setting.loss(*moved).asnumpy())

    step = 1e-5
    near, far = value(step) - value(-step), value(2 * step) - value(-2 * step)
    quotient = (8 * near - far) / (12 * step)
    assert (gradients[which] * along).sum() == pytest.approx(quotient, rel=1e-7)
    assert not gradients[3].any()


def test_compiled_gradients_are_the_same(setting: Setting, gradients: list[np.ndarray]) -> None:
    layer, weights = setting.grid.voltages, setting.grid.tensor(setting.weights)

    def loss(x: Any, p: Any, network: Any, guess: Any) -> Any:
        return (layer(x, p, network, guess) * weights).sum()

    found = ms.jit(ms.grad(loss))(*setting.arguments()).asnumpy()
    np.testing.assert_allclose(found, gradients[0], rtol=1e-9, atol=1e-10)


def test_single_precision(setting: Setting, gradients: list[np.ndarray]) -> None:
    grid = DifferentiableGrid(setting.system, ["TWOAXIS.xq1"], dtype="float32")
    x, p, network, guess = (grid.tensor(each.asnumpy()) for each in setting.arguments())
    weights = grid.tensor(setting.weights)
    found = ms.grad(lambda x: (grid.voltages(x, p, network, guess) * weights).sum())(x)
    scale = np.abs(gradients[0]).max()
    np.testing.assert_allclose(found.asnumpy(), gradients[0], atol=1e-4 * scale)


def test_without_a_solution_they_are_no_numbers() -> None:
    """Machines whose voltages cannot carry the load: constant power at any voltage."""
    system = PowerSystem.load("wscc9", load=LoadModel(z=0.0, i=0.0, p=1.0, switch=0.0))
    grid = DifferentiableGrid(system)
    scenarios = system.scenarios([], [])
    x, p = grid.start(scenarios)
    values = p.asnumpy().copy()
    values[grid.rows["p0"], 1] *= 50.0
    network = grid.network(scenarios.parameters["network"])
    y = grid.voltages(x, grid.tensor(values), network, grid.tensor(scenarios.y0)).asnumpy()
    np.testing.assert_allclose(y[:, 0], scenarios.y0[:, 0], atol=1e-10)
    assert np.isnan(y[:, 1]).all()

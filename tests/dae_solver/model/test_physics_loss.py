"""The physics loss is the residual of the collocation equations, with its gradient."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest

from dae_solver.config.data import DataConfig
from dae_solver.config.model import ModelConfig
from dae_solver.config.train import TrainConfig
from dae_solver.data.starts import PARAMETERS
from dae_solver.differentiable import DifferentiableGrid
from dae_solver.fitting import prepare
from dae_solver.hybrid.residual import residual
from dae_solver.losses import CollocationLoss


def test_the_loss_is_the_residual_and_its_gradient_the_difference_quotient() -> None:
    data = DataConfig(scenarios=12, starts=4)
    prepared = prepare(
        TrainConfig(physics=0.1, data=data, model=ModelConfig(modes=20, width=8), pool=20)
    )
    starts, operator = prepared.starts, prepared.operator
    assert starts is not None
    windows, modes = prepared.windows, operator.modes
    assert len(windows) < len(starts) <= len(windows) + 4
    number = 6
    coefficients = prepared.target[:, :number] * np.float32(1.05)
    scaled = (coefficients / modes.spread[:, None]).T
    grid = DifferentiableGrid(prepared.grid, PARAMETERS)
    loss = CollocationLoss(grid, operator)
    network = starts.admittances[starts.network[:number]]
    parts = [grid.tensor(part[:number]) for part in (starts.x, starts.y, starts.parameters)] + [
        grid.tensor(network)
    ]

    def total(values: ms.Tensor) -> ms.Tensor:
        return loss(values, *parts).sum()

    start = windows.start.take(np.arange(number))
    left = residual(prepared.grid.dae, operator, start, coefficients, 1e-10)
    expected = left.size * np.sqrt(modes.basis.shape[1]) / np.linalg.norm(modes.spread)
    found, gradient = ms.value_and_grad(total)(grid.tensor(scaled))
    np.testing.assert_allclose(float(found), expected.sum(), rtol=2e-3)
    direction, h = np.random.default_rng(0).normal(size=scaled.shape), 1e-4
    ahead, behind = (float(total(grid.tensor(scaled + s * h * direction))) for s in (1, -1))
    along = float((gradient.asnumpy() * direction).sum())
    assert along == pytest.approx((ahead - behind) / (2 * h), rel=1e-4)

"""The two networks: a first guess of a trajectory, and its correction from the residual."""

from __future__ import annotations

import numpy as np
from mindspore import nn
from mindspore import ops as msops

from dae_solver.config.model import ModelConfig
from scimind.nn import Linear
from scimind.ops import spread
from scimind.seeding import numpy_generator
from scimind.typing import Float, Tensor


class Predictor(nn.Cell):
    """Coefficients of a window's trajectory from the features of its start.

    A linear map of the features, plus a perceptron with residual connections.
    """

    def __init__(self, features: int, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        width = config.width
        self.enter = Linear(features, width, activation="silu", rng=rng)
        self.hidden = nn.CellList(
            [Linear(width, width, activation="silu", rng=rng) for _ in range(config.depth - 1)]
        )
        self.leave = Linear(width, config.modes, rng=rng)
        self.direct = Linear(features, config.modes, bias=False, rng=rng)

    def construct(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch mode"]:
        """Scaled coefficients."""
        h = self.enter(features)
        for layer in self.hidden:
            h = h + layer(h)
        return self.leave(h) + self.direct(features)


class Corrector(nn.Cell):
    """One step of a learned quasi-Newton method on the collocation equations.

    It maps a residual of unit size to the change of the coefficients that removes it: a linear map
    of the residual, a mixture of ``experts`` linear maps whose weights depend on where the
    trajectory is, and a perceptron. The caller scales the residual to unit size and the change
    back, so that small residuals are removed as well as large ones.
    """

    def __init__(self, features: int, config: ModelConfig, rng: np.random.Generator) -> None:
        super().__init__()
        width, self.modes, self.experts = config.width, config.modes, config.experts
        self.enter = Linear(features + 2 * config.modes + 1, width, activation="silu", rng=rng)
        self.hidden = nn.CellList(
            [Linear(width, width, activation="silu", rng=rng) for _ in range(config.depth - 1)]
        )
        self.leave = Linear(width, config.modes, rng=rng)
        self.direct = Linear(config.modes, config.modes, bias=False, rng=rng)
        self.gate = Linear(width, config.experts, rng=rng)
        self.mixed = Linear(config.modes, config.modes * config.experts, bias=False, rng=rng)

    def construct(
        self,
        features: Float[Tensor, "batch feature"],
        iterate: Float[Tensor, "batch mode"],
        residual: Float[Tensor, "batch mode"],
        size: Float[Tensor, "batch one"],
    ) -> Float[Tensor, "batch mode"]:
        """Scaled change of the coefficients; ``size`` is the logarithm of the residual's norm."""
        h = self.enter(msops.cat((features, iterate, residual, size), axis=1))
        for layer in self.hidden:
            h = h + layer(h)
        out = self.leave(h) + self.direct(residual)
        maps, gates = self.mixed(residual), self.gate(h)
        parts = msops.split(maps, self.modes, axis=1)
        weights = msops.split(gates, 1, axis=1)
        for k in range(self.experts):
            out = out + parts[k] * spread(weights[k], parts[k].shape)
        return out


class OperatorNetwork(nn.Cell):
    """Predictor and corrector.

    Args:
        features: How many.
        config: Sizes.
        seed: Of the initial weights.
    """

    def __init__(self, features: int, config: ModelConfig, seed: int) -> None:
        super().__init__()
        self.predictor = Predictor(features, config, numpy_generator(seed, "predictor"))
        self.corrector = Corrector(features, config, numpy_generator(seed, "corrector"))

    def construct(
        self,
        features: Float[Tensor, "batch feature"],
        iterate: Float[Tensor, "batch mode"],
        residual: Float[Tensor, "batch mode"],
        size: Float[Tensor, "batch one"],
    ) -> tuple[Tensor, Tensor]:
        """What both say."""
        return self.predictor(features), self.corrector(features, iterate, residual, size)

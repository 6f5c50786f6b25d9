"""Training of the step map on a budget of CPU time."""

from __future__ import annotations

import logging
import time

import numpy as np
from mindspore import nn, ops

from dae_solver.config.model import ModelConfig
from dae_solver.model.network import Predictor
from dae_solver.tasks.baselines.nearest import Library
from dae_solver.tasks.baselines.step_map import StepMap, make_pairs, with_time
from dae_solver.trained import Trained
from scimind.config import OptimizerConfig
from scimind.seeding import numpy_generator, step_key
from scimind.train import make_train_step
from scimind.typing import Float, Tensor

log = logging.getLogger(__name__)

WIDTH, DEPTH, BATCH, RATE = 256, 3, 512, 2e-3
# Steps between two looks at the clock.
STRIDE = 50


class StepLoss(nn.Cell):
    """Mean square of the scaled errors of the rates.

    Args:
        predictor: The perceptron.
    """

    metric_names = ("rms",)

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def construct(
        self,
        key: Tensor,
        features: Float[Tensor, "batch feature"],
        target: Float[Tensor, "batch state"],
    ) -> tuple[Tensor, Tensor]:
        """Loss, and its root."""
        loss = ops.square(self.predictor(features) - target).mean()
        return loss, ops.sqrt(loss).reshape((1,))


def fit_step_map(
    trained: Trained, library: Library, *, cpu_seconds: float, seed: int = 0
) -> StepMap:
    """Train a step map on the trajectories of a library.

    Args:
        trained: Grid and scalings.
        library: Training trajectories.
        cpu_seconds: CPU time that the training may take, cutting of steps included.
        seed: Of starts, weights and batches.
    """
    begun = time.process_time()
    pairs = make_pairs(library, trained.operator.scaling, seed)
    spread = pairs.rate.reshape(-1, pairs.rate.shape[-1]).std(0) + np.float32(1e-6)
    config = ModelConfig(name="step map", width=WIDTH, depth=DEPTH, modes=len(spread))
    rng = numpy_generator(seed, "step map", "weights")
    loss = StepLoss(Predictor(pairs.features.shape[1] + 1, config, rng))
    step = make_train_step(loss, OptimizerConfig(learning_rate=RATE, weight_decay=1e-5))
    rng, number, share = numpy_generator(seed, "step map", "batches"), 0, 0.0
    while share < 1.0:
        start = rng.integers(len(pairs.features), size=BATCH)
        which = rng.integers(len(pairs.h), size=BATCH)
        h = pairs.h[which].astype(np.float32)
        rate = RATE * (0.01 + 0.99 * 0.5 * (1.0 + np.cos(np.pi * share)))
        step(
            step_key(seed, "step map", number),
            float(rate),
            np.ascontiguousarray(with_time(pairs.features[start].T, h).T),
            pairs.rate[start, which] / spread,
        )
        number += 1
        if number % STRIDE == 0:
            share = (time.process_time() - begun) / cpu_seconds
    spent = time.process_time() - begun
    weights = {name: w.asnumpy().copy() for name, w in loss.parameters_and_names()}
    log.info("step map: %d steps on %d starts, %.0f s of CPU", number, len(pairs.features), spent)
    return StepMap(trained, weights, spread, spent)

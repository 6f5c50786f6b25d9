"""Kernels do not change what is learned: 200 steps of a transformer with and without them."""

import contextlib

import numpy as np
from mindspore import Tensor, nn

from scimind import nn as snn
from scimind import ops
from scimind.config.training import OptimizerConfig
from scimind.seeding import step_key
from scimind.train.step import make_train_step

VOCABULARY, LENGTH, STEPS = 24, 16, 200


class Network(nn.Cell):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.token = snn.Embedding(VOCABULARY, 32, rng=rng)
        self.blocks = nn.CellList(
            [
                snn.TransformerBlock(
                    32, 4, groups=2, gated=gated, causal=True, rope_base=100.0, rng=rng
                )
                for gated in (False, True)
            ]
        )
        self.norm = snn.RMSNorm(32)
        self.head = snn.Linear(32, VOCABULARY, rng=rng)

    def construct(self, tokens):
        x = self.token(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Loss(nn.Cell):
    metric_names = ()

    def __init__(self, network):
        super().__init__()
        self.network = network

    def construct(self, key, tokens, labels):
        loss = ops.cross_entropy(self.network(tokens), labels)
        return loss, loss.reshape((1,))[:0]


def batches():
    """Counting in steps of a random size: a rule that can be learned."""
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        start, stride = rng.integers(0, VOCABULARY, (8, 1)), rng.integers(1, 5, (8, 1))
        run = (start + stride * np.arange(LENGTH + 1)) % VOCABULARY
        yield run[:, :-1].astype(np.int32), run[:, 1:].astype(np.int32)


def losses(kernels):
    context = contextlib.nullcontext() if kernels else ops.plain_formulations()
    with context:
        step = make_train_step(Loss(Network()), OptimizerConfig(learning_rate=3e-3))
        return np.array(
            [
                float(step(step_key(0, "step", index), 3e-3, *map(Tensor, batch)).loss.asnumpy())
                for index, batch in enumerate(batches())
            ]
        )


def test_the_losses_of_200_steps_agree_and_repeat_bit_for_bit():
    plain, kernels, again = losses(False), losses(True), losses(True)
    assert (kernels == again).all()
    assert kernels[-10:].mean() < 0.2 * kernels[0], "nothing was learned, so nothing is shown"
    # Rounding differs in the seventh digit and grows along the path of the training.
    assert abs(plain[:20] / kernels[:20] - 1).max() < 1e-5
    assert abs(plain - kernels).max() < 5e-4 * plain[0]

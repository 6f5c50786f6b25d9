"""Trains a small regression for test_launch.py: on one process, or on a part per rank.

Arguments: examples per rank, steps, file for the losses, and a path to touch before the last step.
"""

import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from scimind.config.training import OptimizerConfig
from scimind.data import Batches, Prefetch, Shard
from scimind.parallel import is_main, process_group, rank, world
from scimind.parallel.data_parallel import GradientReducer
from scimind.seeding import numpy_generator, step_key
from scimind.train.step import make_train_step

FEATURES, HIDDEN = 6, 16


class Regression(nn.Cell):
    """tanh network with mean squared error."""

    metric_names = ("mse",)

    def __init__(self):
        super().__init__()
        generator = numpy_generator(0, "weights")
        self.first = self.weight(generator, (FEATURES, HIDDEN), "first")
        self.bias = self.weight(generator, (HIDDEN,), "bias")
        self.second = self.weight(generator, (HIDDEN, 1), "second")

    def weight(self, generator, shape, name):
        return ms.Parameter(ms.Tensor(generator.normal(size=shape).astype(np.float32)), name=name)

    def construct(self, key, x, y):
        hidden = ops.tanh(ops.matmul(x, self.first) + self.bias)
        loss = ((ops.matmul(hidden, self.second)[:, 0] - y) ** 2).mean()
        return loss, loss.reshape((1,))


def train(batch_size, steps, pause):
    generator = numpy_generator(0, "data")
    x = generator.normal(size=(53, FEATURES)).astype(np.float32)
    y = np.sin(x.sum(1)).astype(np.float32)
    stream = Batches(
        [(x[i], y[i]) for i in range(len(x))],
        lambda items, _: tuple(np.stack(part) for part in zip(*items, strict=True)),
        buckets=batch_size,
        seed=1,
        shard=Shard(rank(), world()),
    )
    # Tiny buffers, so that there are several.
    reducer = GradientReducer(fuse_bytes=256)
    step = make_train_step(Regression(), OptimizerConfig(), reduce_gradients=reducer)
    losses = []
    for number, batch in enumerate(islice(Prefetch(stream), steps)):
        if pause and number == steps - 1:
            Path(pause.format(rank=rank())).write_text(str(os.getpid()))
            if rank() == 1:
                time.sleep(300)
        loss = step(step_key(0, "step", number), 0.01, *batch).loss
        losses.append(float(loss.asnumpy()))
    return losses


if __name__ == "__main__":
    with process_group():
        losses = train(int(sys.argv[1]), int(sys.argv[2]), sys.argv[4] if sys.argv[4:] else "")
        if is_main():
            Path(sys.argv[3]).write_text(json.dumps(losses))

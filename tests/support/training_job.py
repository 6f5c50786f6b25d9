"""A small real training run, importable and runnable: what the reliability tests start and kill.

``python training_job.py FOLDER key=value ...`` with keys of `JobConfig`.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

import mindspore
import numpy as np
import yaml
from mindspore import nn, ops

from scimind.config import LogConfig, bind
from scimind.config.training import CheckpointConfig, OptimizerConfig, TrainingConfig
from scimind.data import Batches, Bucket, Buckets, Prefetch
from scimind.errors import ScimindError
from scimind.ops.random import dropout
from scimind.seeding import numpy_generator
from scimind.train import FitReport, Hooks, RunFolder, TrainStep, fit, make_train_step


@dataclass(kw_only=True)
class JobConfig(TrainingConfig):
    """Training settings and what the tests vary.

    Attributes:
        width: Hidden units.
        poison: Batches (counted from 0) into which a NaN is put.
        slow_s: Seconds added to each batch, to leave time for signals.
        fp16: Scale the loss.
        lengths: Token buckets of the data, one compiled graph each.
    """

    steps: int = 40
    width: int = 16
    poison: tuple[int, ...] = ()
    slow_s: float = 0.0
    fp16: bool = False
    lengths: tuple[int, ...] = (4, 8)
    evaluate_every: int = 10
    log: LogConfig = field(default_factory=lambda: LogConfig(every=1, tensorboard=False))
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(learning_rate=1e-2, ema=0.95)
    )
    checkpoint: CheckpointConfig = field(default_factory=lambda: CheckpointConfig(every=5))


class Sequences:
    """Random sequences whose target is a smooth function of their mean: learnable, not trivial."""

    def __init__(self, count: int, seed: int, longest: int) -> None:
        generator = numpy_generator(seed, "sequences")
        self.lengths = generator.integers(1, longest + 1, count)
        self.values = generator.normal(size=(count, longest, 6)).astype(np.float32)
        self.direction = numpy_generator(0, "direction").normal(size=6).astype(np.float32)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        x = self.values[index, : self.lengths[index]]
        return x, np.tanh(x.mean(axis=0) @ self.direction)

    def sizes(self, index: int) -> dict[str, int]:
        return {"token": int(self.lengths[index])}

    def name(self, index: int) -> str:
        return f"sequence-{index}"


def collate(items, bucket: Bucket):
    length = bucket.sizes["token"]
    x = np.zeros((bucket.batch_size, length, 6), np.float32)
    mask = np.zeros((bucket.batch_size, length), np.float32)
    y = np.zeros(bucket.batch_size, np.float32)
    for row, (values, target) in enumerate(items):
        x[row, : len(values)] = values
        mask[row, : len(values)] = 1.0
        y[row] = target
    return {"x": x, "mask": mask, "y": y}


def with_noise(item, generator: np.random.Generator):
    x, y = item
    return x + 0.01 * generator.normal(size=x.shape).astype(np.float32), y


class Network(nn.Cell):
    """Tokens to hidden units, dropout, masked mean, one number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Dense(6, width)
        self.middle = nn.Dense(width, width)
        self.outer = nn.Dense(width, 1)

    def construct(self, key, x, mask):
        hidden = ops.tanh(self.inner(x))
        hidden = hidden + ops.tanh(self.middle(hidden))
        if self.training:
            hidden = dropout(hidden, key, 0.1)
        pooled = (hidden * mask.expand_dims(-1)).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return self.outer(pooled).reshape(-1)


class Loss(nn.Cell):
    metric_names = ("absolute_error", "long_only")

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def construct(self, key, x, mask, y):
        error = self.network(key, x, mask) - y
        absolute = ops.abs(error).mean()
        long_only = absolute if x.shape[1] > 4 else absolute * float("nan")
        return ops.square(error).mean(), ops.stack((absolute, long_only))


class Poisoned:
    """A stream with a NaN in chosen batches, and slower where asked."""

    def __init__(self, stream, config: JobConfig) -> None:
        self.stream, self.config, self.position = stream, config, 0

    def __iter__(self):
        import time

        for batch in self.stream:
            if self.position in self.config.poison:
                batch["x"][0, 0, 0] = np.nan
            self.position += 1
            time.sleep(self.config.slow_s)
            yield batch

    def state(self):
        return {"stream": self.stream.state(), "position": self.position}

    def restore(self, state):
        self.stream.restore(state["stream"])
        self.position = state["position"]


def make_network(config: JobConfig) -> Network:
    network = Network(config.width)
    for index, (_, parameter) in enumerate(network.parameters_and_names()):
        generator = numpy_generator(config.seed, "initial", index)
        values = 0.3 * generator.normal(size=parameter.shape).astype(np.float32)
        parameter.set_data(mindspore.Tensor(values))
    return network


def make_step(config: JobConfig) -> TrainStep:
    return make_train_step(
        Loss(make_network(config)),
        config.optimizer,
        accumulate=config.accumulate,
        loss_scale=config.fp16,
    )


def make_stream(config: JobConfig) -> Poisoned:
    buckets = Buckets([Bucket(8, {"token": length}) for length in config.lengths])
    source = Sequences(50, config.seed, max(config.lengths))
    stream = Batches(source, collate, buckets=buckets, seed=config.seed, transform=with_noise)
    return Poisoned(Prefetch(stream, depth=3), config)


class Validation:
    """Mean squared error on other sequences, in one compiled shape."""

    def __init__(self, config: JobConfig) -> None:
        source = Sequences(16, config.seed + 1, max(config.lengths))
        bucket = Bucket(16, {"token": max(config.lengths)})
        self.batch = collate([source[index] for index in range(16)], bucket)

    def __call__(self, network: nn.Cell) -> dict[str, float]:
        tensors = [mindspore.Tensor(self.batch[name]) for name in ("x", "mask")]
        key = mindspore.Tensor(np.zeros(2, np.int32))
        predicted = network(key, *tensors).asnumpy()
        return {"loss": float(np.square(predicted - self.batch["y"]).mean())}


def train(config: JobConfig, folder: str | Path) -> FitReport:
    with RunFolder(folder) as run:
        hooks = Hooks(evaluate=Validation(config))
        return fit(make_step(config), make_stream(config), config, run, hooks)


def main(arguments: list[str]) -> int:
    from scimind.device import setup

    logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
    tree: dict = {}
    for argument in arguments[1:]:
        keys, _, value = argument.partition("=")
        node = tree
        *path, last = keys.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[last] = yaml.safe_load(value)
    try:
        config = bind(tree, JobConfig)
        setup("cpu", threads=1)
        train(config, arguments[0])
    except ScimindError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Worker: the training step in MindSpore, `ms.jit`, float32."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import serve


def build(shape: serve.Shape, weights: dict, threads: int):
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from scimind import device

    device.setup("cpu", threads=threads)
    import mindspore as ms
    import numpy as np
    from mindspore import Parameter, ParameterTuple, Tensor, nn
    from mindspore import ops as ms_ops

    from scimind import nn as snn
    from scimind import ops

    class Block(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            self.norm1, self.norm2 = snn.LayerNorm(shape.dim), snn.LayerNorm(shape.dim)
            self.qkv = snn.Linear(shape.dim, 3 * shape.dim, rng=rng)
            self.output = snn.Linear(shape.dim, shape.dim, rng=rng)
            self.expand = snn.Linear(shape.dim, 4 * shape.dim, activation="gelu", rng=rng)
            self.contract = snn.Linear(4 * shape.dim, shape.dim, rng=rng)

        def construct(self, x, update):
            if update is None:
                normal = self.norm1(x)
            else:
                normal, x = self.norm1.add(update, x)
            heads, dim = shape.heads, shape.dim // shape.heads
            q, k, v = ops.split_query_key_value(self.qkv(normal), heads, heads, dim)
            mixed = ops.merge_heads(ops.attention(q, k, v))
            normal, x = self.norm2.add(self.output(mixed), x)
            first, last = self.expand, self.contract
            return x, ops.mlp(normal, first.weight, first.bias, last.weight, last.bias)

    class Network(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            self.token = snn.Embedding(shape.vocabulary, shape.dim, rng=rng)
            self.position = Parameter(Tensor(np.zeros((shape.length, shape.dim), np.float32)))
            self.blocks = nn.CellList([Block() for _ in range(shape.layers)])
            self.norm = snn.LayerNorm(shape.dim)
            self.head = snn.Linear(shape.dim, shape.vocabulary, rng=rng)

        def construct(self, tokens, labels):
            x, update = self.token(tokens) + self.position, None
            for block in self.blocks:
                x, update = block(x, update)
            normal, _ = self.norm.add(update, x)
            return ops.cross_entropy(self.head(normal), labels)

    network = Network()
    names = {parameter.name: parameter for parameter in network.trainable_params()}
    assert set(names) == set(weights), set(names) ^ set(weights)
    for name, parameter in names.items():
        parameter.set_data(Tensor(weights[name]))
    parameters = ParameterTuple(network.trainable_params())
    first = parameters.clone("first", init="zeros")
    second = parameters.clone("second", init="zeros")
    gradient_of = ms.value_and_grad(network, None, parameters)
    update = serve.ADAMW

    class Step(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.parameters, self.first, self.second = parameters, first, second

        def construct(self, tokens, labels, rate, correction1, correction2):
            loss, gradients = gradient_of(tokens, labels)
            done = ops.adamw_all(
                self.parameters,
                self.first,
                self.second,
                gradients,
                rate,
                one,
                correction1,
                correction2,
                update["beta1"],
                update["beta2"],
                update["eps"],
                (update["decay"],) * len(self.parameters),
            )
            return ms_ops.depend(loss, done)

    cell = Step()

    @ms.jit
    def compiled(tokens, labels, rate, correction1, correction2):
        return cell(tokens, labels, rate, correction1, correction2)

    tokens, labels = serve.data(shape)
    tokens, labels = Tensor(tokens), Tensor(labels)
    rate, one = Tensor(update["rate"], ms.float32), Tensor(1.0, ms.float32)
    count = 0

    def step() -> float:
        nonlocal count
        count += 1
        corrections = [
            Tensor(1.0 - update[name] ** count, ms.float32) for name in ("beta1", "beta2")
        ]
        return float(compiled(tokens, labels, rate, *corrections).asnumpy())

    step.chosen = ops.chosen
    return step, {"mindspore": ms.__version__, "numpy": np.__version__}


if __name__ == "__main__":
    serve.serve(build)

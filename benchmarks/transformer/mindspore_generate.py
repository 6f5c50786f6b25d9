"""Worker: prefill of a prompt or steps of cached decoding in MindSpore, `ms.jit`, float32."""

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

    from scimind import nn as snn
    from scimind import ops

    decoding = sys.argv[3] == "decode"
    capacity = 2 * shape.length

    class Block(nn.Cell):
        def __init__(self, name: str) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            self.norm1, self.norm2 = snn.LayerNorm(shape.dim), snn.LayerNorm(shape.dim)
            self.qkv = snn.Linear(shape.dim, 3 * shape.dim, rng=rng)
            self.output = snn.Linear(shape.dim, shape.dim, rng=rng)
            self.expand = snn.Linear(shape.dim, 4 * shape.dim, activation="gelu", rng=rng)
            self.contract = snn.Linear(4 * shape.dim, shape.dim, rng=rng)
            zeros = np.zeros(
                (shape.batch, shape.heads, capacity, shape.dim // shape.heads), np.float32
            )
            self.cache = ParameterTuple(
                [Parameter(Tensor(zeros), f"{name}.{part}", requires_grad=False) for part in "kv"]
            )

        def construct(self, x, update, start):
            normal, x = self.norm1.add(update, x)
            mixed = ops.cached_self_attention(self.qkv(normal), *self.cache, start)
            normal, x = self.norm2.add(self.output(mixed), x)
            first, last = self.expand, self.contract
            return x, ops.mlp(normal, first.weight, first.bias, last.weight, last.bias)

    class Trunk(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(0)
            self.token = snn.Embedding(shape.vocabulary, shape.dim, rng=rng)
            self.position = Parameter(Tensor(np.zeros((shape.length, shape.dim), np.float32)))
            self.blocks = nn.CellList([Block(f"cache{i}") for i in range(shape.layers)])
            self.norm = snn.LayerNorm(shape.dim)

        def construct(self, tokens, places, start):
            x, update = self.token(tokens), ops.embedding(places, self.position)
            for block in self.blocks:
                x, update = block(x, update, start)
            normal, _ = self.norm.add(update, x)
            return normal

    class Network(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = Trunk()
            self.head = snn.Linear(shape.dim, shape.vocabulary, rng=np.random.default_rng(0))

        def construct(self, tokens, places, start):
            return self.head(self.trunk(tokens, places, start))

    network = Network().set_train(False)
    names = {p.name.removeprefix("trunk."): p for p in network.trainable_params()}
    assert set(names) == set(weights), set(names) ^ set(weights)
    for name, parameter in names.items():
        parameter.set_data(Tensor(weights[name]))
    token = ops.fused(network, network.trainable_params())
    prompt = ops.fused(network.trunk, network.trunk.trainable_params())

    @ms.jit
    def compiled(tokens, places, start):
        if decoding:
            return token(tokens, places, start)
        return network.head(prompt(tokens, places, start)[:, -1:])

    def call(tokens: np.ndarray, start: int) -> np.ndarray:
        starts = np.full((shape.batch, 1), start, np.int32)
        places = (starts + np.arange(tokens.shape[1], dtype=np.int32)) % shape.length
        given = (np.ascontiguousarray(tokens), places, starts[:, 0])
        return compiled(*map(Tensor.from_numpy, given)).asnumpy()

    step = serve.generation(shape, call, decoding, capacity)
    step.chosen = ops.chosen
    return step, {"mindspore": ms.__version__, "numpy": np.__version__}


if __name__ == "__main__":
    serve.serve(build)

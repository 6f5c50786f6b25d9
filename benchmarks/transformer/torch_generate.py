"""Worker: prefill of a prompt or steps of cached decoding in PyTorch, eager, float32."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import serve


def build(shape: serve.Shape, weights: dict, threads: int):
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)
    decoding = sys.argv[3] == "decode"
    capacity = 2 * shape.length

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(shape.dim), nn.LayerNorm(shape.dim)
            self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
            self.output = nn.Linear(shape.dim, shape.dim)
            self.expand = nn.Linear(shape.dim, 4 * shape.dim)
            self.contract = nn.Linear(4 * shape.dim, shape.dim)
            self.cache = torch.zeros(
                2, shape.batch, shape.heads, capacity, shape.dim // shape.heads
            )

        def forward(self, x, start: int):
            batch, length, dim = x.shape
            heads = (batch, length, 3, shape.heads, dim // shape.heads)
            q, k, v = self.qkv(self.norm1(x)).view(heads).permute(2, 0, 3, 1, 4)
            self.cache[0, :, :, start : start + length] = k
            self.cache[1, :, :, start : start + length] = v
            k, v = self.cache[:, :, :, : start + length]
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
            x = x + self.output(mixed.transpose(1, 2).reshape(batch, length, dim))
            hidden = functional.gelu(self.expand(self.norm2(x)), approximate="tanh")
            return x + self.contract(hidden)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Embedding(shape.vocabulary, shape.dim)
            self.position = nn.Parameter(torch.zeros(shape.length, shape.dim))
            self.blocks = nn.ModuleList([Block() for _ in range(shape.layers)])
            self.norm = nn.LayerNorm(shape.dim)
            self.head = nn.Linear(shape.dim, shape.vocabulary)

        def forward(self, tokens, places, start: int):
            x = self.token(tokens) + self.position[places]
            for block in self.blocks:
                x = block(x, start)
            return self.head(self.norm(x[:, -1:]))

    network = Network()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})

    def call(tokens, start: int):
        with torch.inference_mode():
            places = (start + torch.arange(tokens.shape[1])) % shape.length
            return network(torch.from_numpy(tokens).long(), places, start).numpy()

    return serve.generation(shape, call, decoding, capacity), {"torch": torch.__version__}


if __name__ == "__main__":
    serve.serve(build)

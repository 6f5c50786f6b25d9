"""Worker: the training step in PyTorch, eager, float32, fused attention and AdamW as it comes."""

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

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(shape.dim), nn.LayerNorm(shape.dim)
            self.qkv = nn.Linear(shape.dim, 3 * shape.dim)
            self.output = nn.Linear(shape.dim, shape.dim)
            self.expand = nn.Linear(shape.dim, 4 * shape.dim)
            self.contract = nn.Linear(4 * shape.dim, shape.dim)

        def forward(self, x):
            batch, length, dim = x.shape
            heads = (batch, length, shape.heads, dim // shape.heads)
            q, k, v = (
                part.view(heads).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(dim, -1)
            )
            mixed = functional.scaled_dot_product_attention(q, k, v)
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

        def forward(self, tokens, labels):
            x = self.token(tokens) + self.position
            for block in self.blocks:
                x = block(x)
            logits = self.head(self.norm(x)).reshape(-1, shape.vocabulary)
            return functional.cross_entropy(logits, labels.reshape(-1))

    network = Network()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    update = serve.ADAMW
    optimizer = torch.optim.AdamW(
        network.parameters(),
        lr=update["rate"],
        betas=(update["beta1"], update["beta2"]),
        eps=update["eps"],
        weight_decay=update["decay"],
        fused=os.environ.get("TORCH_ADAMW", "fused") == "fused",
    )
    tokens, labels = (torch.from_numpy(part).long() for part in serve.data(shape))

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = network(tokens, labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step, {"torch": torch.__version__}


if __name__ == "__main__":
    serve.serve(build)

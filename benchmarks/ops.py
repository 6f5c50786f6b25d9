"""Operators of a transformer step: scimind (plain and kernel) against PyTorch, one thread.

Process CPU milliseconds per call, forward and forward with backward, the smallest of several
batches of calls; the sizes are those of one block at d = 256, batch 16 x 128.

    python benchmarks/ops.py --torch-python /path/to/venv/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROWS, DIM, HEADS = 2048, 256, 8
CASES = {
    "linear 256 -> 1024": [(ROWS, DIM), (4 * DIM, DIM), (4 * DIM,)],
    "linear + gelu": [(ROWS, DIM), (4 * DIM, DIM), (4 * DIM,)],
    "gelu": [(ROWS, 4 * DIM)],
    "silu": [(ROWS, 4 * DIM)],
    "layer_norm": [(ROWS, DIM), (DIM,), (DIM,)],
    "rms_norm": [(ROWS, DIM), (DIM,)],
    "softmax": [(16, HEADS, 128, 128)],
    "attention": [(16, HEADS, 128, DIM // HEADS)] * 3,
    "attention + bias": [(16, HEADS, 128, DIM // HEADS)] * 3 + [(16, HEADS, 128, 128)],
}


def inputs(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in CASES[name]]


def smallest(call) -> float:
    for _ in range(3):
        call()
    best = float("inf")
    for _ in range(6):
        start = time.process_time()
        for _ in range(5):
            call()
        best = min(best, (time.process_time() - start) / 5)
    return round(1e3 * best, 3)


def measure_mindspore() -> dict:
    from scimind import device

    device.setup("cpu", threads=1)
    import mindspore as ms
    from mindspore import nn

    from scimind import ops

    def biased(q, k, v, b):
        return ops.attention(q, k, v, None, b)

    def fused(x, w, b):
        return ops.linear(x, w, b, "gelu")

    functions = {
        "linear 256 -> 1024": ops.linear,
        "linear + gelu": fused,
        "gelu": ops.gelu,
        "silu": ops.silu,
        "layer_norm": ops.layer_norm,
        "rms_norm": ops.rms_norm,
        "softmax": ops.softmax,
        "attention": ops.attention,
        "attention + bias": biased,
    }

    class Function(nn.Cell):
        def __init__(self, function) -> None:
            super().__init__()
            self.function = function

        def construct(self, *x):
            return self.function(*x)

    class Gradient(nn.Cell):
        def __init__(self, function) -> None:
            super().__init__()
            self.function = function
            self.gradient = ms.ops.GradOperation(get_all=True, sens_param=True)

        def construct(self, *x):
            return self.gradient(self.function)(*x)

    def read(run, *x):
        out = run(*x)
        return [part.asnumpy() for part in (out if isinstance(out, tuple) else (out,))]

    def compiled(cell):
        @ms.jit
        def run(*x):
            return cell(*x)

        return run

    rows = {}
    for name, function in functions.items():
        tensors = [ms.Tensor(value) for value in inputs(name)]
        cell = Function(function)
        forward, gradient = compiled(cell), compiled(Gradient(cell))
        out = ms.Tensor(np.ones(forward(*tensors).shape, np.float32))
        rows[name] = [
            smallest(partial(read, forward, *tensors)),
            smallest(partial(read, gradient, *tensors, out)),
        ]
    return rows


def measure_torch() -> dict:
    import torch
    from torch.nn import functional as f

    torch.set_num_threads(1)

    def attend(q, k, v, b=None):
        return f.scaled_dot_product_attention(q, k, v, attn_mask=b)

    functions = {
        "linear 256 -> 1024": f.linear,
        "linear + gelu": lambda x, w, b: f.gelu(f.linear(x, w, b), approximate="tanh"),
        "gelu": lambda x: f.gelu(x, approximate="tanh"),
        "silu": f.silu,
        "layer_norm": lambda x, w, b: f.layer_norm(x, (DIM,), w, b),
        "rms_norm": lambda x, w: f.rms_norm(x, (DIM,), w),
        "softmax": lambda x: f.softmax(x, -1),
        "attention": attend,
        "attention + bias": attend,
    }
    rows = {}
    for name, function in functions.items():
        tensors = [torch.from_numpy(value).requires_grad_() for value in inputs(name)]
        out = torch.ones_like(function(*tensors))

        def forward(function=function, tensors=tensors):
            with torch.no_grad():
                function(*tensors)

        def both(function=function, tensors=tensors, out=out):
            torch.autograd.grad(function(*tensors), tensors, out)

        rows[name] = [smallest(forward), smallest(both)]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", help="python of an environment with torch")
    parser.add_argument("--measure", choices=["mindspore", "torch"], help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=HERE / "ops.json")
    options = parser.parse_args()
    if options.measure:
        rows = measure_mindspore() if options.measure == "mindspore" else measure_torch()
        print("\n" + json.dumps(rows))
        return
    columns = {}
    for column, python, kind, kernels in (
        ("torch", options.torch_python, "torch", "auto"),
        ("plain", sys.executable, "mindspore", "plain"),
        ("kernel", sys.executable, "mindspore", "auto"),
    ):
        done = subprocess.run(
            [python, __file__, "--measure", kind],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            env={**os.environ, "SCIMIND_KERNELS": kernels, "OMP_NUM_THREADS": "1"},
        )
        columns[column] = json.loads(done.stdout.strip().splitlines()[-1])
    sys.path.insert(0, str(HERE))
    from train_step import commit, processor

    report = {
        "benchmark": "ops",
        "unit": "process CPU ms: [forward, forward and backward], one thread",
        "command": " ".join(["python", "benchmarks/ops.py", *sys.argv[1:]]),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "hardware": processor(),
        "load_average": os.getloadavg()[0],
        "results": {
            name: {column: rows[name] for column, rows in columns.items()} for name in CASES
        },
    }
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print("| operator | PyTorch | plain | kernel |\n| --- | --- | --- | --- |")
    for name, row in report["results"].items():
        cells = " | ".join(f"{row[c][0]:.1f} / {row[c][1]:.1f}" for c in columns)
        print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()

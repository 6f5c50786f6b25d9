"""What both workers share: the problem, and a loop that times steps on request.

A request is one line of JSON on stdin, an answer one line on the stdout the process was born with.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass

import numpy as np

ADAMW = {"rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01}


@dataclass(frozen=True, kw_only=True)
class Shape:
    layers: int
    dim: int
    heads: int
    batch: int = 16
    length: int = 128
    vocabulary: int = 1024


def data(shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    both = rng.integers(0, shape.vocabulary, (2, shape.batch, shape.length))
    return both[0].astype(np.int32), both[1].astype(np.int32)


def initial(shape: Shape) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    dim, weights = shape.dim, {}

    def matrix(name: str, rows: int, columns: int, scale: float = 0.02) -> None:
        weights[name] = (rng.standard_normal((rows, columns)) * scale).astype(np.float32)

    def vector(name: str, size: int, value: float) -> None:
        weights[name] = np.full(size, value, np.float32)

    def layer(name: str, rows: int, columns: int) -> None:
        matrix(f"{name}.weight", rows, columns)
        vector(f"{name}.bias", rows, 0.0)

    def norm(name: str) -> None:
        vector(f"{name}.weight", dim, 1.0)
        vector(f"{name}.bias", dim, 0.0)

    matrix("token.weight", shape.vocabulary, dim)
    matrix("position", shape.length, dim)
    for index in range(shape.layers):
        block = f"blocks.{index}"
        norm(f"{block}.norm1")
        norm(f"{block}.norm2")
        layer(f"{block}.qkv", 3 * dim, dim)
        layer(f"{block}.output", dim, dim)
        layer(f"{block}.expand", 4 * dim, dim)
        layer(f"{block}.contract", dim, 4 * dim)
    norm("norm")
    layer("head", shape.vocabulary, dim)
    return weights


def generation(shape: Shape, call, decoding: bool, capacity: int):
    """A step: the prompt at once, or one more token of each sequence after it."""
    tokens = data(shape)[0]
    position = shape.length

    def step() -> float:
        nonlocal position
        if not decoding:
            return float(abs(call(tokens, 0)).mean())
        if position == capacity:
            position = shape.length
        column = position % shape.length
        out = call(tokens[:, column : column + 1].copy(), position)
        position += 1
        return float(abs(out).mean())

    if decoding:
        for start in range(shape.length):  # the cache of the prompt
            call(tokens[:, start : start + 1].copy(), start)
    return step


def serve(build) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print to stdout
    shape, threads = Shape(**json.loads(sys.argv[1])), int(sys.argv[2])
    started = time.perf_counter()
    step, versions = build(shape, initial(shape), threads)
    first_loss = step()
    answer = {"loss": first_loss, "first_step_s": time.perf_counter() - started, **versions}
    print(json.dumps(answer), file=answers, flush=True)
    for line in sys.stdin:
        wall, cpu, losses = [], [], []
        for _ in range(int(line)):
            cpu_start, wall_start = time.process_time(), time.perf_counter()
            losses.append(step())
            wall.append(1e3 * (time.perf_counter() - wall_start))
            cpu.append(1e3 * (time.process_time() - cpu_start))
        answer = {"wall_ms": wall, "cpu_ms": cpu, "loss": losses}
        chosen = getattr(step, "chosen", None)
        if chosen is not None:
            answer["chosen"] = chosen()
        print(json.dumps(answer), file=answers, flush=True)

"""The arguments of the calls, the same in both workers, and a comparison of their results."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from operator_workers.cases import Case, lengths


def _pages(case: Case, rng: np.random.Generator) -> np.ndarray:
    shape, pages = case.tensors["block_table"].shape, case.sizes["page"]
    count = math.prod(shape)
    if count <= pages:
        return rng.permutation(pages)[:count].reshape(shape).astype(np.int32)
    return rng.integers(0, pages, shape, dtype=np.int32)


def _start(case: Case, rng: np.random.Generator) -> np.ndarray:
    return lengths(case) - np.int32(case.sizes["new"])


def _blocks(case: Case, rng: np.random.Generator) -> np.ndarray:
    """The own block, the first, the one before the own, and others before it at random."""
    sizes = case.sizes
    shape = case.tensors["blocks"].shape
    own = np.arange(sizes["query"])[:, None] // sizes["block_size"]
    number = np.arange(sizes["key"] // sizes["block_size"])
    score = rng.random((*shape[:-1], len(number)))
    score += 4.0 * (number == own) + 2.0 * (number == 0) + 1.0 * (number == own - 1)
    score[np.broadcast_to(number > own, score.shape)] = -1.0
    best = np.argsort(-score, -1)[..., : shape[-1]]
    best = np.sort(np.where(best <= own, best, len(number)), -1)
    return np.where(best < len(number), best, -1).astype(np.int32)


def _angle(case: Case) -> np.ndarray:
    length, half = case.tensors["cos"].shape[-2:]
    rate = 10000.0 ** (-np.arange(half) / half)
    return (np.arange(length)[:, None] * rate).reshape(case.tensors["cos"].shape)


def _number(value: float) -> Callable[[Case, np.random.Generator], np.ndarray]:
    return lambda case, rng: np.array(value, np.float32)


VALUES: dict[str, Callable[[Case, np.random.Generator], np.ndarray]] = {
    "block_table": _pages,
    "blocks": _blocks,
    "correction1": _number(1 - 0.9**10),
    "correction2": _number(1 - 0.999**10),
    "cos": lambda case, rng: np.cos(_angle(case)).astype(np.float32),
    "factor": _number(1.0),
    "learning_rate": _number(1e-3),
    "length": lambda case, rng: lengths(case),
    "second": lambda case, rng: np.abs(_normal(rng, case.tensors["second"].shape)) + 0.1,
    "sin": lambda case, rng: np.sin(_angle(case)).astype(np.float32),
    "start": _start,
}
"""Arguments whose values are not just random ones of their family."""


def values(case: Case, index: int) -> dict[str, np.ndarray | None]:
    """The arguments of call number ``index``."""
    return {name: value(case, index, name) for name in case.tensors}


def value(case: Case, index: int, name: str) -> np.ndarray | None:
    """One of them."""
    tensor = case.tensors[name]
    rng = np.random.default_rng([index, list(case.tensors).index(name)])
    if tensor is None:
        return None
    if name in VALUES:
        return VALUES[name](case, rng)
    if tensor.family == "bool":
        return rng.random(tensor.shape) < 0.7
    if tensor.family == "int":
        return rng.integers(0, tensor.below, tensor.shape, dtype=np.int32)
    return _normal(rng, tensor.shape)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Large ones repeat, for which drawing would take longer than the measurement."""
    block = rng.standard_normal(min(math.prod(shape), (1 << 20) - 3), np.float32)
    return np.resize(block, shape)


def cotangents(case: Case, index: int) -> list[np.ndarray]:
    """The gradients of the results of call number ``index``."""
    return [cotangent(case, index, place) for place in range(len(case.results))]


def cotangent(case: Case, index: int, place: int) -> np.ndarray:
    """One of them."""
    return _normal(np.random.default_rng([index, 100 + place]), case.results[place].shape)


def digest(results: list[np.ndarray]) -> list[list[float]]:
    """Of each result the mean size and some elements, to see whether two are the same."""
    found = []
    for result in results:
        flat = result.reshape(-1).astype(np.float64)
        picked = flat[:: max(1, len(flat) // 64)][:64]
        found.append([float(np.abs(flat).mean()), *map(float, picked)])
    return found


def differs(case: Case, one: list[list[float]], other: list[list[float]]) -> str | None:
    """What differs between two digests, or nothing; integers may differ where reals are tied."""
    if len(one) != len(other):
        return f"{len(one)} results against {len(other)}"
    families = [result.family for result in case.results]
    for index, (a, b) in enumerate(zip(map(np.array, one), map(np.array, other), strict=True)):
        if a.shape != b.shape:
            return f"result {index} has another size"
        if abs(a[0] - b[0]) > 1e-3 * abs(b[0]):
            return f"mean size of result {index} is {a[0]:.6g} against {b[0]:.6g}"
        scale = abs(b[0]) + np.abs(b[1:]).max(initial=0.0)
        wrong = np.abs(a[1:] - b[1:]) > 1e-3 * scale
        if wrong.mean() > (0.1 if families == ["int"] else 0.0):
            place = int(np.argmax(wrong))
            return f"result {index} has {a[1 + place]:.6g} against {b[1 + place]:.6g}"
    return None

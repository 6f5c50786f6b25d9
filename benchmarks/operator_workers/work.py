"""The least work that any program has to do for a case, and how many calls make a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from operator_workers.cases import Case, Tensor, lengths

MOST_CALLS, MOST_BYTES = 32, 1 << 29
EXPONENTIAL = 20
"""Operations of an exponential: a polynomial of degree 5 and the reduction of its argument."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Floating-point operations and bytes to and from memory that no program can do without."""

    flops: float
    bytes: float

    def __add__(self, other: Work) -> Work:
        return Work(flops=self.flops + other.flops, bytes=self.bytes + other.bytes)


def _elements(case: Case) -> int:
    first = next(tensor for tensor in case.tensors.values() if tensor is not None)
    return math.prod(first.shape)


def _each(forward: float, backward: float = 0.0) -> Callable[[Case], tuple[float, float]]:
    """So many operations for each element of the first tensor."""
    return lambda case: (forward * _elements(case), backward * _elements(case))


def _attention(pairs: float, dim: float, width: float) -> tuple[float, float]:
    """Of ``pairs`` of a query and a key; the backward pass computes the probabilities again."""
    forward = 2 * (dim + width) + EXPONENTIAL + 4
    backward = 2 * (3 * dim + 2 * width) + EXPONENTIAL + 6
    return forward * pairs, backward * pairs


def _dense(case: Case) -> tuple[float, float]:
    s = case.sizes
    pairs = s["query"] * s["key"]
    if case.options["causal"]:  # the last query is aligned with the last key
        pairs = sum(max(s["key"] - s["query"] + i + 1, 0) for i in range(s["query"]))
    return _attention(s["batch"] * s["head"] * pairs, s["dim"], s["width"])


def _tokens(case: Case) -> int:
    """Filled places of a cache over all sequences."""
    return int(lengths(case).sum())


def _decode(case: Case) -> tuple[float, float]:
    s = case.sizes
    heads = s["group"] * s["share"] if "share" in s else s["head"]
    dim = s["rank"] + s["rope"] if "rank" in s else s["dim"]
    width = s["rank"] if "rank" in s else s.get("width", dim)
    return _attention(heads * s.get("new", 1) * _tokens(case), dim, width)[0], 0.0


def _ended(s: dict[str, Any]) -> int:
    """Pairs of a query and a compressed block that ended before it."""
    seen = (np.arange(s["query"]) - s["length"] + 1) // s["stride"] + 1
    return int(np.clip(seen, 0, s["block"]).sum())


def _compressed(case: Case) -> tuple[float, float]:
    s = case.sizes
    return _attention(s["batch"] * s["head"] * _ended(s), s["dim"], s["width"])


def _select(case: Case) -> tuple[float, float]:
    s = case.sizes
    logits = (2 * s["dim"] + EXPONENTIAL + 4) * s["head"] * _ended(s)
    scores = s["group"] * s["query"] * (s["query"] // s["block_size"]) / 2
    return s["batch"] * (logits + scores * (s["block_size"] // s["stride"] + 2)), 0.0


def _selected(case: Case) -> tuple[float, float]:
    s = case.sizes
    position = np.arange(s["query"])
    own, size = position // s["block_size"], s["block_size"]
    whole = np.minimum(own, s["count"] - 1) * size
    pairs = int((whole + position % size + 1).sum())
    return _attention(s["batch"] * s["head"] * pairs, s["dim"], s["width"])


def _product(forward: float = 0.0, backward: float = 0.0) -> Callable[[Case], tuple[float, float]]:
    """An affine map, followed by so many operations for each output."""

    def count(case: Case) -> tuple[float, float]:
        s = case.sizes
        outputs = math.prod(s["batch"]) * s["out"]
        bias = case.tensors["bias"] is not None
        return (2 * s["in"] + bias + forward) * outputs, (4 * s["in"] + bias + backward) * outputs

    return count


def _layers(case: Case) -> tuple[float, float]:
    """Two layers with an activation between them."""
    s = case.sizes
    rows, hidden, out = math.prod(s["batch"]), s["hidden"], s["out"]
    biases = [case.tensors[name] is not None for name in ("expand_bias", "contract_bias")]
    added = rows * (biases[0] * hidden + biases[1] * out)
    weights, values = hidden * (s["in"] + out), rows * hidden
    forward = 2 * rows * weights + added + (EXPONENTIAL + 7) * values
    return forward, 4 * rows * weights + added + (EXPONENTIAL + 15) * values


def _matrices(case: Case) -> tuple[float, float]:
    s = case.sizes
    product = 2.0 * math.prod(s["batch"]) * s["row"] * s["inner"] * s["column"]
    return product, 2 * product


def _triangle(case: Case) -> tuple[float, float]:
    s = case.sizes
    product = 2.0 * s["batch"] * s["row"] * s["column"] * s["inner"] * s["channel"]
    return product, 2 * product


def _rows_moved(case: Case) -> tuple[float, float]:
    s = case.sizes
    return 0.0, float(math.prod(s["batch"]) * s["dim"])


FLOPS: dict[str, Callable[[Case], tuple[float, float]]] = {
    "adamw_all": _each(16),
    "add_layer_norm": _each(9, 13),
    "add_rms_norm": _each(5, 9),
    "attention": _dense,
    "cached_attention": _decode,
    "cached_self_attention": _decode,
    "compressed_attention": _compressed,
    "cross_entropy": _each(EXPONENTIAL + 3, EXPONENTIAL + 3),
    "embedding": _rows_moved,
    "gated": _each(EXPONENTIAL + 3, EXPONENTIAL + 7),
    "gelu": _each(EXPONENTIAL + 7, EXPONENTIAL + 15),
    "latent_attention": _decode,
    "layer_norm": _each(8, 12),
    "linear": _product(),
    "linear_activation": _product(EXPONENTIAL + 7, EXPONENTIAL + 15),
    "matmul": _matrices,
    "merge_heads": _each(0),
    "mlp": _layers,
    "paged_attention": _decode,
    "random_bits": lambda case: (58.0 * case.sizes["count"], 0.0),  # on integers, 115 for a pair
    "rms_norm": _each(4, 8),
    "rope": _each(3, 3),
    "select_blocks": _select,
    "selected_attention": _selected,
    "silu": _each(EXPONENTIAL + 3, EXPONENTIAL + 7),
    "softmax": _each(EXPONENTIAL + 4, 4),
    "square_sum": _each(2),
    "split_heads": _each(0),
    "split_key_value": _each(0),
    "split_query_key_value": _each(0),
    "swiglu": _each(EXPONENTIAL + 4, EXPONENTIAL + 9),
    "triangle_incoming": _triangle,
    "triangle_outgoing": _triangle,
}
"""Operations of the forward and of the backward pass; additions and products count one each."""


LINEAR = {
    "embedding": "table",
    "merge_heads": "x",
    "rope": "x",
    "split_heads": "x",
    "split_key_value": "x",
    "split_query_key_value": "x",
}
"""The argument in which an operator is linear: its gradient does not need it."""


def size_of(tensor: Tensor | None) -> int:
    if tensor is None:
        return 0
    return math.prod(tensor.shape) * (1 if tensor.family == "bool" else 4)


def _read(case: Case) -> float:
    """Bytes of the arguments that the forward pass reads."""
    s, t = case.sizes, case.tensors
    sizes = {name: float(size_of(tensor)) for name, tensor in t.items()}
    if case.operator == "embedding":  # a row that is used twice can stay in the cache
        rows = min(math.prod(s["batch"]), s["entry"])
        return sizes["indices"] + 4.0 * rows * s["dim"]
    if "length" in t or "start" in t:
        capacity = s["capacity"] if "capacity" in s else s["blocks"] * s["slot"]
        caches = [name for name in t if name.endswith("_cache")]
        places = s["batch"] * capacity if "capacity" in s else s["page"] * s["slot"]
        for name in caches:
            sizes[name] *= _tokens(case) / places
    return sum(sizes.values())


def least_work(case: Case) -> dict[str, Work]:
    """What the forward pass, and forward and backward pass together, have to do.

    Each argument is read once and each result written once; the backward pass reads the arguments
    (but one in which the operator is linear) and the gradients of the results, and writes the
    gradients of the arguments.
    """
    s = case.sizes
    forward, backward = FLOPS[case.operator](case)
    results = sum(map(size_of, case.results))
    changed = sum(size_of(case.tensors[name]) for name in case.changes)
    if case.operator.startswith("cached_"):  # only the new rows
        per_token = sum(size_of(case.tensors[name]) // s["capacity"] for name in case.changes)
        changed = s["new"] * per_token
    first = Work(flops=forward, bytes=_read(case) + results + changed)
    if not case.gradient:
        return {"forward": first}
    gradients = sum(size_of(case.tensors[name]) for name in case.gradient)
    linear = LINEAR.get(case.operator)
    needed = sum(size_of(tensor) for name, tensor in case.tensors.items() if name != linear)
    second = Work(flops=backward, bytes=needed + results + gradients)
    return {"forward": first, "forward_backward": first + second}


def _fitting(case: Case, milliseconds: float, most: int) -> int:
    """Calls that take a good machine about so long and have not too much memory."""
    least = least_work(case)["forward"]
    seconds = max(least.flops / 60e9, least.bytes / 15e9)
    memory = sum(map(size_of, (*case.tensors.values(), *case.results)))
    most = min(most, MOST_BYTES // memory)
    return int(np.clip(round(1e-3 * milliseconds / seconds), 1, max(most, 1)))


def many_calls(case: Case) -> int:
    """Of the kernel, of PyTorch and of MindSpore's own operator in a run."""
    return case.calls if case.joined else _fitting(case, 8.0, MOST_CALLS)


def few_calls(case: Case) -> int:
    """Of the plain formulation, which may be many times slower."""
    return case.calls if case.joined else min(_fitting(case, 1.0, 4), case.calls)


def checked(case: Case) -> tuple[int, int]:
    """The calls whose results are compared, which every column makes."""
    return 0, few_calls(case) - 1

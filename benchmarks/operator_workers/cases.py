"""What is measured of each operator: variants, values, and the least work any program has to do.

Nothing here needs MindSpore or PyTorch: both workers and the test of completeness read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

MOST_CALLS = 16


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """A tensor argument or result: ``below`` bounds the values of an integer one."""

    family: str
    shape: tuple[int, ...]
    below: int = 100


@dataclass(frozen=True, kw_only=True)
class Case:
    """A call to measure.

    Args:
        operator: Name of the operator.
        variant: What is special about the call; empty for the usual one.
        sizes: Sizes of the named axes.
        tensors: The tensor arguments in order, None for an absent one.
        options: The scalar arguments in order.
        results: What it returns.
        gradient: Arguments with a gradient.
        changes: Arguments that it changes.
        calls: Independent calls in one run.
        joined: Whether the calls are one call of the operator, which takes a tuple of each tensor.
    """

    operator: str
    variant: str = ""
    sizes: dict[str, Any]
    tensors: dict[str, Tensor | None]
    options: dict[str, Any]
    results: list[Tensor]
    gradient: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    calls: int = 1
    joined: bool = False

    def message(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, message: dict[str, Any]) -> Case:
        def tensor(entry: dict[str, Any] | None) -> Tensor | None:
            return entry and Tensor(**{**entry, "shape": tuple(entry["shape"])})

        tensors = {name: tensor(entry) for name, entry in message["tensors"].items()}
        results = [tensor(entry) for entry in message["results"]]
        return cls(**{**message, "tensors": tensors, "results": results})

    def __str__(self) -> str:
        return " ".join(filter(None, (self.operator, self.variant, size_text(self.sizes))))


def size_text(sizes: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    return " ".join(f"{name}={text(value)}" for name, value in sizes.items())


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A way to call an operator.

    Args:
        name: What is special about it.
        absent: Optional tensors that are left out.
        axes: Axes of tensors whose rule permits several, by name.
        options: Scalar arguments other than the defaults and the sizes.
        sizes: Its sizes from the declared ones, or instead of them.
    """

    name: str = ""
    absent: tuple[str, ...] = ()
    axes: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    sizes: Callable[[dict[str, Any]], dict[str, Any]] | tuple[dict[str, Any], ...] = dict


def _quarter(sizes: dict[str, Any]) -> dict[str, Any]:
    return {**sizes, "group": sizes["head"] // 4}


def _rows(count: int) -> dict[str, Any]:
    return {"batch": count, "head": 4, "group": 4, "query": count, "key": count} | {
        "dim": 32,
        "width": 32,
    }


_NO_MASK, _ALONE = ("mask",), ("mask", "bias")
_ADAMW = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01}
VARIANTS: dict[str, tuple[Variant, ...]] = {
    "adamw": (Variant(options=_ADAMW),),
    "attention": (
        Variant(absent=_ALONE),
        Variant(name="causal", absent=_ALONE, options={"causal": True}),
        Variant(name="bias", absent=_NO_MASK),
        Variant(name="grouped queries", absent=_ALONE, sizes=_quarter),
        Variant(
            name="pair bias of all rows",
            absent=_NO_MASK,
            axes={"bias": "1 head query key"},
            sizes=(_rows(64), _rows(128), _rows(256)),
        ),
    ),
    "latent_attention": (Variant(options={"scale": 0.07}),),
    "rope": (Variant(axes={"cos": "1 1 length dim//2", "sin": "1 1 length dim//2"}),),
}

# Operators over many tensors at once, which have no rule: sizes of one tensor and their number.
JOINED: dict[str, tuple[dict[str, Any], ...]] = {
    name: (
        {"tensors": 16, "shape": (256, 256)},
        {"tensors": 16, "shape": (1024, 1024)},
        {"tensors": 4, "shape": (2048, 2048)},
    )
    for name in ("adamw_all", "square_sum")
}


def joined_case(operator: str, sizes: dict[str, Any]) -> Case:
    """A call of an operator over many tensors at once."""
    whole, scalar = Tensor(family="float", shape=sizes["shape"]), Tensor(family="float", shape=())
    names = ["x"]
    tensors: dict[str, Tensor | None] = {}
    options: dict[str, Any] = {}
    if operator == "adamw_all":
        names = ["parameter", "first", "second", "gradient"]
        scalars = ("learning_rate", "factor", "correction1", "correction2")
        tensors, options = dict.fromkeys(scalars, scalar), _ADAMW
    return Case(
        operator=operator,
        sizes=sizes,
        tensors={**dict.fromkeys(names, whole), **tensors},
        options=options,
        results=[Tensor(family="float", shape=(1,))],
        changes=names[:3] if operator == "adamw_all" else [],
        calls=sizes["tensors"],
        joined=True,
    )


# Values


def filled(batch: int, capacity: int) -> np.ndarray:
    """Lengths of the sequences in a cache: from just over the half of it to the whole."""
    return np.linspace(capacity / 2, capacity, batch + 1)[1:].astype(np.int32)


def _pages(case: Case, rng: np.random.Generator) -> np.ndarray:
    shape, pages = case.tensors["block_table"].shape, case.sizes["page"]
    count = math.prod(shape)
    if count <= pages:
        return rng.permutation(pages)[:count].reshape(shape).astype(np.int32)
    return rng.integers(0, pages, shape, dtype=np.int32)


def _length(case: Case, rng: np.random.Generator) -> np.ndarray:
    sizes = case.sizes
    capacity = sizes["capacity"] if "capacity" in sizes else sizes["blocks"] * sizes["slot"]
    return filled(sizes["batch"], capacity)


def _start(case: Case, rng: np.random.Generator) -> np.ndarray:
    return filled(case.sizes["batch"], case.sizes["capacity"]) - np.int32(case.sizes["new"])


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
    "length": _length,
    "power1": _number(0.9**10),
    "power2": _number(0.999**10),
    "second": lambda case, rng: rng.random(case.tensors["second"].shape, np.float32) + 0.1,
    "sin": lambda case, rng: np.sin(_angle(case)).astype(np.float32),
    "start": _start,
}
"""Arguments whose values are not just random ones of their family."""


def values(case: Case, index: int) -> dict[str, np.ndarray | None]:
    """The arguments of call number ``index``."""
    found = {}
    for place, (name, tensor) in enumerate(case.tensors.items()):
        rng = np.random.default_rng([index, place])
        if tensor is None:
            found[name] = None
        elif name in VALUES:
            found[name] = VALUES[name](case, rng)
        elif tensor.family == "bool":
            found[name] = rng.random(tensor.shape) < 0.7
        elif tensor.family == "int":
            found[name] = rng.integers(0, tensor.below, tensor.shape, dtype=np.int32)
        else:
            found[name] = rng.standard_normal(tensor.shape, np.float32)
    return found


def cotangents(case: Case, index: int) -> list[np.ndarray]:
    """The gradients of the results of call number ``index``."""
    return [
        np.random.default_rng([index, 100 + place]).standard_normal(result.shape, np.float32)
        for place, result in enumerate(case.results)
    ]


def checked(case: Case) -> tuple[int, int]:
    """The calls whose results are compared, which every column makes."""
    return 0, few_calls(case) - 1


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


# Work

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
    return int(_length(case, np.random.default_rng()).sum())


def _decode(case: Case) -> tuple[float, float]:
    s = case.sizes
    dim, width = (s["rank"] + s["rope"], s["rank"]) if "rank" in s else (s["dim"], s["width"])
    return _attention(s["head"] * s.get("query", 1) * _tokens(case), dim, width)[0], 0.0


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
    "adamw": _each(15),
    "adamw_all": _each(16),
    "add_layer_norm": _each(9, 13),
    "add_rms_norm": _each(5, 9),
    "attention": _dense,
    "cache_update": _each(0),
    "compressed_attention": _compressed,
    "cross_entropy": _each(EXPONENTIAL + 3, EXPONENTIAL + 3),
    "decode_attention": _decode,
    "embedding": _rows_moved,
    "gated": _each(EXPONENTIAL + 3, EXPONENTIAL + 7),
    "gelu": _each(EXPONENTIAL + 7, EXPONENTIAL + 15),
    "latent_attention": _decode,
    "layer_norm": _each(8, 12),
    "linear": _product(),
    "linear_activation": _product(EXPONENTIAL + 7, EXPONENTIAL + 15),
    "matmul": _matrices,
    "paged_attention": _decode,
    "random_bits": lambda case: (58.0 * case.sizes["count"], 0.0),  # on integers, 115 for a pair
    "rms_norm": _each(4, 8),
    "rope": _each(3, 3),
    "select_blocks": _select,
    "selected_attention": _selected,
    "silu": _each(EXPONENTIAL + 3, EXPONENTIAL + 7),
    "softmax": _each(EXPONENTIAL + 4, 4),
    "square_sum": _each(2),
    "swiglu": _each(EXPONENTIAL + 4, EXPONENTIAL + 9),
    "triangle_incoming": _triangle,
    "triangle_outgoing": _triangle,
}
"""Operations of the forward and of the backward pass; additions and products count one each."""


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
    if case.operator == "cache_update":
        return sizes["new"] + sizes["start"]
    if "length" in t:
        capacity = s["capacity"] if "capacity" in s else s["blocks"] * s["slot"]
        caches = [name for name in t if name.endswith("_cache")]
        places = s["batch"] * capacity if "capacity" in s else s["page"] * s["slot"]
        for name in caches:
            sizes[name] *= _tokens(case) / places
    return sum(sizes.values())


def work(case: Case) -> dict[str, Work]:
    """What the forward pass, and forward and backward pass together, have to do.

    Each argument is read once and each result written once; the backward pass reads the arguments
    (but one in which the operator is linear) and the gradients of the results, and writes the
    gradients of the arguments.
    """
    forward, backward = FLOPS[case.operator](case)
    results = sum(map(size_of, case.results))
    changed = sum(size_of(case.tensors[name]) for name in case.changes)
    if case.operator == "cache_update":
        changed = size_of(case.tensors["new"])
    first = Work(flops=forward, bytes=_read(case) + results + changed)
    if not case.gradient:
        return {"forward": first}
    gradients = sum(size_of(case.tensors[name]) for name in case.gradient)
    linear = {"embedding": "table", "rope": "x"}.get(case.operator)
    needed = sum(size_of(tensor) for name, tensor in case.tensors.items() if name != linear)
    second = Work(flops=backward, bytes=needed + results + gradients)
    return {"forward": first, "forward_backward": first + second}


def _fitting(case: Case, milliseconds: float, most: int) -> int:
    """Calls that take a good machine about so long."""
    least = work(case)["forward"]
    return int(np.clip(round(1e-3 * milliseconds / _seconds(least)), 1, most))


def _seconds(least: Work) -> float:
    return max(least.flops / 60e9, least.bytes / 15e9)


def calls(case: Case) -> int:
    """Of the kernel and of PyTorch in a run."""
    return case.calls if case.joined else _fitting(case, 8.0, MOST_CALLS)


def few_calls(case: Case) -> int:
    """Of formulations that are several times slower."""
    return case.calls if case.joined else min(_fitting(case, 1.0, 4), case.calls)

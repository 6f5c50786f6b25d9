"""What is measured of each operator.

Nothing here needs MindSpore or PyTorch: both workers and the test of completeness read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


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
        {"tensors": 64, "shape": (128, 128)},
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


def lengths(case: Case) -> np.ndarray:
    """Lengths of the sequences in a cache: from just over the half of it to the whole."""
    sizes = case.sizes
    capacity = sizes["capacity"] if "capacity" in sizes else sizes["blocks"] * sizes["slot"]
    return np.linspace(capacity / 2, capacity, sizes["batch"] + 1)[1:].astype(np.int32)

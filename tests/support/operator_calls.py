"""Random calls of declared operators, drawn from their rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from scimind.ops import Operator
from scimind.ops.rule import Rule, Scalar, Shape, Tensors, evaluate


@dataclass(frozen=True)
class Call:
    """Shapes of the tensors (None for absent ones), the scalars and a seed for the values."""

    shapes: tuple[Shape | None, ...]
    options: tuple[Scalar, ...]
    sizes: dict[str, Any]
    seed: int

    def arrays(self, entry: Operator) -> list[np.ndarray | None]:
        """Values in float64 (float32-representable), int32 within bounds, or bool."""
        rng = np.random.default_rng(self.seed)
        return [
            None if shape is None else _values(rng, tensor, shape, entry, self.sizes)
            for tensor, shape in zip(entry.rule.tensors, self.shapes, strict=True)
        ]


def _values(
    rng: np.random.Generator, tensor: Tensors, shape: Shape, entry: Operator, sizes: dict[str, Any]
) -> np.ndarray:
    if tensor.family == "bool":
        return rng.random(shape) < 0.7
    if tensor.family == "int":
        bound = evaluate(entry.below[tensor.name], sizes) if tensor.name in entry.below else 100
        return rng.integers(0, max(bound, 1), shape, dtype=np.int32)
    return rng.standard_normal(shape).astype(np.float32).astype(np.float64)


@st.composite
def calls(draw: st.DrawFn, entry: Operator, smallest: int = 1, largest: int = 7) -> Call:
    """A call that keeps the rule, with axes of ``smallest`` to ``largest``."""
    rule = entry.rule
    options = tuple(draw(scalar(option)) for option in rule.options)
    sizes = _sizes(draw, rule, smallest, largest)
    sizes |= {
        option.name: value
        for option, value in zip(rule.options, options, strict=True)
        if isinstance(value, int) and not isinstance(value, bool)
    }
    shapes = tuple(
        None if tensor.optional and draw(st.booleans()) else shape_of_tensor(draw, tensor, sizes)
        for tensor in rule.tensors
    )
    return Call(shapes, options, sizes, draw(st.integers(0, 2**31)))


def _sizes(draw: st.DrawFn, rule: Rule, smallest: int, largest: int) -> dict[str, Any]:
    size = st.integers(smallest, largest)
    sizes: dict[str, Any] = {}
    for tensor in rule.tensors:
        for axis in tensor.axes:
            name = axis.lstrip("#*")
            if axis.startswith("*"):
                sizes.setdefault(name, tuple(draw(st.lists(size, min_size=0, max_size=2))))
            elif name.isidentifier() and name not in sizes:
                sizes[name] = draw(size)
    for whole, part in rule.multiples:
        sizes[whole] = evaluate(part, sizes) * draw(st.integers(min(smallest, 1), 3))
    return sizes


def shape_of_tensor(draw: st.DrawFn, tensor: Tensors, sizes: dict[str, Any]) -> Shape:
    """A shape of these sizes, some axes that may be repeated being 1."""
    shape: list[int] = []
    for axis in tensor.axes:
        if axis.startswith("*"):
            shape.extend(sizes[axis[1:]])
        elif axis.startswith("#") and draw(st.booleans()):
            shape.append(1)
        else:
            shape.append(evaluate(axis.lstrip("#"), sizes))
    return tuple(shape)


def scalar(option: Any) -> st.SearchStrategy[Scalar]:
    """Values of a scalar argument."""
    kinds: dict[str, st.SearchStrategy[Scalar]] = {
        "bool": st.booleans(),
        "int": st.integers(1, 4),
        "float": st.sampled_from((0.0625, 0.25, 1.0)),
    }
    values = st.sampled_from(option.choices) if option.choices else kinds[option.kind]
    return st.none() | values if option.optional else values

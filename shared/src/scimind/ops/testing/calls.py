"""Random calls of an operator, drawn from its rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from scimind.ops.operator import Operator
from scimind.ops.rule import Option, Rule, Scalar, Shape, Tensors, evaluate

Values = Sequence[Scalar] | Callable[[np.random.Generator, Shape], np.ndarray]
"""What an argument may be: the scalars to choose from, or a function that fills a tensor."""


@dataclass(frozen=True)
class Call:
    """A call of an operator.

    Args:
        shapes: Shapes of the tensors, None for absent ones.
        options: The scalars.
        sizes: Sizes of the named axes, and the integer scalars.
        seed: Seed of the values.
        given: How to fill tensors that cannot have any values.
        dtype: Dtype of the float tensors.
    """

    shapes: tuple[Shape | None, ...]
    options: tuple[Scalar, ...]
    sizes: dict[str, Any]
    seed: int
    given: Mapping[str, Values] = field(default_factory=dict)
    dtype: str = "float32"

    @property
    def present(self) -> tuple[Shape, ...]:
        """Shapes of the tensors that are not absent."""
        return tuple(shape for shape in self.shapes if shape is not None)

    @property
    def size(self) -> int:
        """Number of elements of all tensors."""
        return sum(map(math.prod, self.present))

    @property
    def empty(self) -> bool:
        """Whether an axis has size 0."""
        return any(0 in shape for shape in self.present)

    def arrays(self, entry: Operator) -> dict[str, np.ndarray | None]:
        """Values by name: float64 (float32-representable), int32 within bounds, or bool."""
        rng = np.random.default_rng(self.seed)
        return {
            tensor.name: None if shape is None else self._values(rng, tensor, shape, entry)
            for tensor, shape in zip(entry.rule.tensors, self.shapes, strict=True)
        }

    def _values(
        self, rng: np.random.Generator, tensor: Tensors, shape: Shape, entry: Operator
    ) -> np.ndarray:
        fill = self.given.get(tensor.name)
        if tensor.family == "bool":
            return np.asarray(fill(rng, shape) if callable(fill) else rng.random(shape) < 0.7, bool)
        if tensor.family == "int":
            below = entry.below.get(tensor.name)
            bound = 100 if below is None else max(evaluate(below, self.sizes), 1)
            drawn = fill(rng, shape) if callable(fill) else rng.integers(0, bound, shape)
            return np.asarray(drawn, np.int32)
        drawn = fill(rng, shape) if callable(fill) else rng.standard_normal(shape)
        return np.asarray(drawn, np.float32).astype(np.float64)

    def describe(self, rule: Rule) -> str:
        """The call as a line of text."""
        tensors = zip(rule.tensors, self.shapes, strict=True)
        options = zip(rule.options, self.options, strict=True)
        arguments = [f"{tensor.name}: {shape}" for tensor, shape in tensors]
        arguments += [f"{option.name}={value!r}" for option, value in options]
        return f"{rule.op}({', '.join(arguments)}) with values of seed {self.seed}"


def draw_call(
    entry: Operator,
    random: Random,
    sizes: Sequence[int],
    given: Mapping[str, Values] | None = None,
    dtype: str = "float32",
) -> Call:
    """A call that keeps the rule.

    Args:
        entry: The operator.
        random: Where the choices come from.
        sizes: Sizes of an axis to choose from.
        given: What arguments may be that cannot be anything.
        dtype: Dtype of the float tensors.
    """
    rule, given = entry.rule, given or {}
    least, limit = dict(rule.at_least), dict(rule.less_than)
    options = tuple(
        draw_scalar(
            option,
            random,
            least.get(option.name),
            given.get(option.name),
            limit.get(option.name, math.inf),
        )
        for option in rule.options
    )
    known = _sizes(rule, random, sizes)
    known |= {
        option.name: value
        for option, value in zip(rule.options, options, strict=True)
        if isinstance(value, int) and not isinstance(value, bool)
    }
    known |= rule.derive(known)
    shapes = tuple(
        None if tensor.optional and random.random() < 0.5 else draw_shape(tensor, known, random)
        for tensor in rule.tensors
    )
    return Call(shapes, options, known, random.randrange(2**31), given, dtype)


def _sizes(rule: Rule, random: Random, sizes: Sequence[int]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for tensor in rule.tensors:
        for axis in tensor.axes:
            name = axis.lstrip("#*")
            if name in known or not name.isidentifier():
                continue
            if axis.startswith("*"):
                known[name] = tuple(random.choice(sizes) for _ in range(random.randint(0, 2)))
            else:
                known[name] = random.choice(sizes)
    for whole, part in rule.multiples:
        factor = random.choice(sizes) if part.isdigit() else random.randint(min(1, *sizes), 3)
        known[whole] = evaluate(part, known) * factor
    return known


def draw_shape(tensor: Tensors, sizes: Mapping[str, Any], random: Random) -> Shape:
    """A shape of these sizes, some axes that may be repeated being 1."""
    shape: list[int] = []
    for axis in tensor.axes:
        if axis.startswith("*"):
            shape.extend(sizes[axis[1:]])
        elif axis.startswith("#") and random.random() < 0.5:
            shape.append(1)
        else:
            shape.append(evaluate(axis.lstrip("#"), sizes))
    return tuple(shape)


def draw_scalar(
    option: Option,
    random: Random,
    least: int | float | None = None,
    given: Values | None = None,
    limit: int | float = math.inf,
) -> Scalar:
    """A value of a scalar argument, of those in ``given`` if there are any.

    Args:
        option: The argument.
        random: Where the choice comes from.
        least: Its smallest value.
        given: What it may be that cannot be anything.
        limit: What it stays below.
    """
    if given is not None and not callable(given):
        return random.choice(given)
    if option.optional and random.random() < 0.5:
        return None
    if option.choices:
        return random.choice(option.choices)
    if option.kind == "bool":
        return random.random() < 0.5
    if option.kind == "int":
        first = 1 if least is None else math.ceil(least)
        return random.randint(first, math.ceil(min(first + 4, limit)) - 1)
    smallest = 0.0 if least is None else least
    return random.choice([x for x in _FLOATS if smallest <= x < limit] or [smallest])


_FLOATS = (0.0625, 0.25, 1.0)

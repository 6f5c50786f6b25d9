"""Random calls of compiled kernels, as cases for `sanitized.Process`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operator_calls import Call, calls, scalar, shape_of_tensor
from scimind.ops import Operator
from scimind.ops.kernels.cpp import _Plan
from scimind.ops.rule import Option, Scalar, Shape, Tensors, evaluate, shape_of
from scimind.ops.tracing import Trace

Case = dict[str, Any]
DTYPES = {"float": "float32", "int": "int32", "bool": "bool"}
# Kernels of any number of tensors, and what each tensor of a network has of them.
JOINED = {"adamw_all": ("parameter", "first", "second", "gradient"), "square_sum": ("tensor",)}
FUSED = ("fused", "fused_sum", "fused_copy")  # see scimind.ops.tracing
INT32 = np.iinfo(np.int32)
ODD_SCALARS: dict[str, tuple[Scalar, ...]] = {
    "int": (-1000, -1, 0, 7, 1000),
    "float": (-1.0, 0.0, 1e30, math.inf),
}


def cases_of(entry: Operator, scale: int) -> list[Case]:
    """``scale`` times 20 cases: with axes of size 0, with small ones, and with larger ones."""
    kinds = [(calls(entry, 0, 2), 8 * scale), (calls(entry, 1, 9), 8 * scale)]
    if entry.sizes:
        kinds.append((measured(entry), 4 * scale))
    found: list[Case] = []
    for some, count in kinds:

        @settings(
            max_examples=count,
            database=None,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(call=some)
        def collect(call: Call) -> None:
            if allowed(entry, call, call.options):
                found.append(case_of(entry, call))

        collect()
    return found


@st.composite
def measured(draw: st.DrawFn, entry: Operator) -> Call:
    """A call up to the smallest sizes that the operator is measured at."""
    rule, sizes = entry.rule, dict(entry.sizes[0])

    def below(top: int) -> int:
        return draw(st.integers(max(1, top // 2), top) | st.integers(1, top))

    options = tuple(
        below(sizes.pop(o.name)) if o.name in sizes else draw(scalar(o)) for o in rule.options
    )
    for name, top in sizes.items():
        sizes[name] = tuple(map(below, top)) if isinstance(top, tuple) else below(top)
    for whole, part in rule.multiples:
        divisor = evaluate(part, sizes)
        sizes[whole] = max(1, sizes[whole] // divisor) * divisor
    named = zip(rule.options, options, strict=True)
    sizes |= {o.name: v for o, v in named if isinstance(v, int) and not isinstance(v, bool)}
    sizes |= rule.derive(sizes)
    shapes = tuple(
        None if tensor.optional and draw(st.booleans()) else shape_of_tensor(draw, tensor, sizes)
        for tensor in rule.tensors
    )
    return Call(shapes, options, sizes, draw(st.integers(0, 2**31)))


def allowed(entry: Operator, call: Call, options: tuple[Scalar, ...]) -> bool:
    """Whether the kernel takes the call with these scalars."""
    when = entry.kernels[0].when
    names = (option.name for option in entry.rule.options)
    present = {
        tensor.name: shape is not None
        for tensor, shape in zip(entry.rule.tensors, call.shapes, strict=True)
        if tensor.optional
    }
    return when is None or when({**call.sizes, **dict(zip(names, options, strict=True)), **present})


def case_of(entry: Operator, call: Call) -> Case:
    """A call of the forward kernel, then of the gradient's; some have odd values."""
    rule, kernel = entry.rule, entry.kernels[0]
    plan = _Plan(kernel, rule)
    rng = np.random.default_rng(call.seed)
    odd = float(rng.choice((0.0, 0.1, 0.5)))
    options = _odd_options(rng, entry, call, plan) if odd else call.options
    shapes = {output.name: shape_of(output.axes, call.sizes) for output in plan.outputs}
    given_shapes = dict(zip((tensor.name for tensor in rule.tensors), call.shapes, strict=True))
    values = {
        tensor.name: _value(entry, tensor, given_shapes[tensor.name], call, odd)
        for tensor in rule.tensors
    }
    steps = [
        {
            "symbol": rule.op,
            "takes": [tensor.name for tensor in rule.tensors],
            "gives": {o.name: _tensor(shapes[o.name], o.family) for o in plan.outputs},
            "checks": list(shapes),
        }
    ]
    if kernel.backward is not None:
        for result in rule.results:
            values[f"d{result.name}"] = _value(entry, result, shapes[result.name], call, odd)
        steps.append(_gradient(plan, call, {**given_shapes, **shapes}))
    numbers = [o.number(v) for o, v in zip(rule.options, options, strict=True)]
    return {
        "values": values,
        "options": numbers if rule.options else None,
        "seed": call.seed,
        "offset": int(rng.integers(2)),
        "steps": steps,
    }


def joined_case(symbol: str, seed: int) -> Case:
    """A call of a kernel of `JOINED`, with some empty tensors and some that threads share."""
    rng = np.random.default_rng(seed)
    odd = float(rng.choice((0.0, 0.1, 0.5)))
    shapes = [
        tuple(map(int, rng.choice((0, 1, 2, 3, 17, 33), rng.integers(3))))
        for _ in range(rng.integers(1, 5))
    ]
    if seed % 4 == 0:
        shapes.insert(int(rng.integers(len(shapes) + 1)), (70_000,))
    values = {
        f"{role}{index}": {**_tensor(shape, "float"), "odd": odd}
        for role in JOINED[symbol]
        for index, shape in enumerate(shapes)
    }
    options = None
    if symbol == "adamw_all":
        for name in ("rate", "factor", "correction1", "correction2"):
            values[name] = {**_tensor((), "float"), "odd": odd}
        options = [0.9, 0.99, 1e-8, *rng.choice((0.0, 0.1), len(shapes)).tolist()]
    step = {"symbol": symbol, "takes": list(values), "gives": {"out": _tensor((1,), "float")}}
    return {
        "values": values,
        "options": options,
        "seed": seed,
        "offset": int(rng.integers(2)),
        "steps": [{**step, "checks": ["out"]}],
    }


def fused_case(symbol: str, seed: int) -> Case:
    """A call of a kernel of `FUSED`: sums, copies, or a program of them."""
    rng = np.random.default_rng(seed)
    shape = tuple(map(int, rng.choice((0, 1, 2, 3, 17, 33), rng.integers(4))))
    if seed % 4 == 0:
        shape = (70_000,)
    count = {"fused": int(rng.integers(1, 5)), "fused_sum": 2, "fused_copy": 1}[symbol]
    odd = float(rng.choice((0.0, 0.1, 0.5)))
    values = {f"x{index}": {**_tensor(shape, "float"), "odd": odd} for index in range(count)}
    gives = {"out": _tensor(shape, "float")}
    if symbol == "fused":
        text, results = _program(rng, [shape] * count)
        values = {"program": {"text": text, "dtype": "int8"}, **values}
        gives = {f"out{index}": gives["out"] for index in range(results)}
    step = {"symbol": symbol, "takes": list(values), "gives": gives, "checks": list(gives)}
    offset = int(rng.integers(2))
    return {"values": values, "options": None, "seed": seed, "offset": offset, "steps": [step]}


def _program(rng: np.random.Generator, shapes: Sequence[Shape]) -> tuple[str, int]:
    """A program of sums with its number of results; @ stands for the library."""
    trace = Trace("@", [(shape, "float32") for shape in shapes], [])
    known = list(trace.inputs)
    for _ in range(rng.integers(12)):
        known.append(trace.sum(*(known[i] for i in rng.integers(len(known), size=2))))
    results = [known[i] for i in rng.integers(len(known), size=rng.integers(1, 4))]
    return trace.program(results), len(results)


def _gradient(plan: _Plan, call: Call, shapes: dict[str, Shape | None]) -> dict[str, Any]:
    """The step of the gradient; what it gives for absent arguments is not checked."""
    gives = {}
    for tensor in plan.given:
        passed = tensor.name in plan.takes
        shape = shapes[tensor.name] if passed else shape_of(tensor.axes, call.sizes)
        gives[f"d{tensor.name}"] = _tensor((1,) if shape is None else shape, "float")
    return {
        "symbol": f"{plan.rule.op}_grad",
        "takes": plan.takes,
        "gives": gives,
        "checks": [f"d{tensor.name}" for tensor in plan.given if shapes[tensor.name] is not None],
    }


def _odd_options(
    rng: np.random.Generator, entry: Operator, call: Call, plan: _Plan
) -> tuple[Scalar, ...]:
    """The scalars, where those that decide no shape may be odd."""
    axes = " ".join(axis for output in plan.outputs for axis in output.axes)
    fixed = set(re.findall(r"\w+", axes))

    def odd(option: Option, value: Scalar) -> Scalar:
        choices = ODD_SCALARS.get(option.kind, ())
        if option.name in fixed or not choices or rng.random() < 0.5:
            return value
        return choices[int(rng.integers(len(choices)))]

    pairs = zip(entry.rule.options, call.options, strict=True)
    options = tuple(odd(option, value) for option, value in pairs)
    return options if allowed(entry, call, options) else call.options


def _tensor(shape: Shape, family: str) -> dict[str, Any]:
    return {"shape": shape, "dtype": DTYPES[family]}


def _value(
    entry: Operator, tensor: Tensors, shape: Shape | None, call: Call, odd: float
) -> dict[str, Any] | None:
    """How a tensor is filled; ``odd`` is the part of odd values, such as NaN or a wrong index."""
    if shape is None:
        return None
    low, high = int(INT32.min), int(INT32.max)
    if tensor.name in entry.below:
        low, high = 0, evaluate(entry.below[tensor.name], call.sizes)
    return {**_tensor(shape, tensor.family), "low": low, "high": high, "odd": odd}

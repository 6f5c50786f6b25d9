"""What a call has to obey; every error names the operator, the argument and the rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scimind.ops.kernels.triton.arrays import Arrays

FLOATS = ("float32", "float16", "bfloat16")


def require(condition: bool, op: str, problem: str) -> None:
    """Raise ``ValueError`` with ``problem`` unless ``condition`` holds."""
    if not condition:
        raise ValueError(f"{op}: {problem}")


def sizes_of(op: str, arrays: Arrays, tensors: Mapping[str, tuple[Any, str]]) -> dict[str, int]:
    """Sizes of the named axes.

    Args:
        op: Name of the operator.
        arrays: What the tensors are.
        tensors: By name, each with its rule, such as ``"float[page slot dim]"``; ``float`` is the
            dtype of the first such tensor, ``single`` always float32, ``int`` int32.

    Raises:
        ValueError: A tensor has another number of axes, another size, or another dtype.
    """
    sizes: dict[str, int] = {}
    origin: dict[str, str] = {}
    data: tuple[str, str] | None = None
    for name, (tensor, rule) in tensors.items():
        kind, axes = rule.rstrip("]").split("[")
        require(arrays.owns(tensor), op, f"{name} is a {type(tensor).__name__}; the rule is {rule}")
        dtype, shape = arrays.dtype(tensor), tuple(tensor.shape)
        if kind == "float":
            data = data or (name, dtype)
            require(
                dtype in FLOATS,
                op,
                f"{name} has dtype {dtype}; the rule is {rule}, of {', '.join(FLOATS)}",
            )
            require(
                dtype == data[1],
                op,
                f"{name} has dtype {dtype}; the rule is {rule}, of one dtype, and {data[0]} has "
                f"{data[1]}",
            )
        else:
            wanted = {"single": "float32", "int": "int32"}[kind]
            require(dtype == wanted, op, f"{name} has dtype {dtype}; the rule is {rule}: {wanted}")
        require(
            len(shape) == len(axes.split()), op, f"{name} has shape {shape}; the rule is {rule}"
        )
        for axis, size in zip(axes.split(), shape, strict=True):
            require(
                sizes.setdefault(axis, size) == size,
                op,
                f"{name} has shape {shape}; the rule is {rule}, and {axis} is {sizes[axis]} in "
                f"{origin.get(axis)}",
            )
            origin.setdefault(axis, name)
    return sizes


def share(op: str, sizes: Mapping[str, int]) -> int:
    """Query heads that use the same keys.

    Raises:
        ValueError: The heads are no multiple of the groups.
    """
    head, group = sizes["head"], sizes["group"]
    require(
        group > 0 and head % group == 0,
        op,
        f"query has {head} heads and key {group} groups; head has to be a multiple of group",
    )
    return head // group


def positive(op: str, **numbers: int) -> None:
    """Raise ``ValueError`` unless all are positive integers."""
    for name, number in numbers.items():
        require(
            isinstance(number, int) and not isinstance(number, bool) and number > 0,
            op,
            f"{name} is {number!r}; it has to be a positive integer",
        )

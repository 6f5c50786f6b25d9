"""Operators over all parameters of a network at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mindspore import Tensor as MsTensor
from mindspore import dtype as mstype
from mindspore import ops
from mindspore.ops import constexpr

from scimind.ops.kernels import native
from scimind.ops.kernels.cpp import variadic
from scimind.ops.registry import FUNCTIONS, choose, register
from scimind.ops.rule import RuleError
from scimind.typing import Float, Tensor

_SOURCE = Path(__file__).resolve().parent / "kernels" / "cpu" / "update.cc"
native.announce(_SOURCE)


def _ready() -> bool:
    return native.load(_SOURCE) is not None


@constexpr  # type: ignore[untyped-decorator]
def _primitive(symbol: str) -> Any:
    return variadic(_SOURCE, symbol, (1,))


@constexpr  # type: ignore[untyped-decorator]
def _constants(*values: float) -> Any:
    return MsTensor(np.array(values), mstype.float64)


def adamw_all(
    parameters: tuple[Tensor, ...],
    first: tuple[Tensor, ...],
    second: tuple[Tensor, ...],
    gradients: tuple[Tensor, ...],
    learning_rate: Float[Tensor, ""],
    factor: Float[Tensor, ""],
    correction1: Float[Tensor, ""],
    correction2: Float[Tensor, ""],
    beta1: float,
    beta2: float,
    eps: float,
    decays: tuple[float, ...],
) -> Tensor:
    """AdamW updates of all parameters, in one pass over memory.

    ``m = β₁m + (1-β₁)g``, ``v = β₂v + (1-β₂)g²``, ``p = (1 - lr·decay) p - lr m̂ / (√v̂ + eps)``
    with ``m̂ = m / (1 - β₁ᵗ)`` and ``v̂ = v / (1 - β₂ᵗ)``.

    Args:
        parameters: Parameters, changed in place.
        first: Their first moments, changed in place.
        second: Their second moments, changed in place.
        gradients: Their gradients.
        learning_rate: Scalar.
        factor: The gradients are multiplied by it first.
        correction1: ``1 - β₁ᵗ`` with t counted from 1.
        correction2: ``1 - β₂ᵗ``.
        beta1: β₁.
        beta2: β₂.
        eps: Added to the root.
        decays: Decoupled weight decay of each parameter.

    Returns:
        A value that has to be consumed (``ops.depend``) inside a graph, or the update is pruned.

    Raises:
        RuleError: There are no parameters, or not one of each for each of them, of its shape.

    Source: Loshchilov and Hutter, arXiv 1711.05101.
    """
    _check_adamw(
        [tensor.shape for tensor in parameters],
        [tensor.shape for tensor in first],
        [tensor.shape for tensor in second],
        [tensor.shape for tensor in gradients],
        len(decays),
    )
    scalars = (learning_rate, factor, correction1, correction2)
    dtype = _dtype_of_all(
        [tensor.dtype for tensor in (*parameters, *first, *second, *gradients, *scalars)]
    )
    return FUNCTIONS["adamw_all"][choose("adamw_all", dtype)](
        parameters, first, second, gradients, learning_rate, factor, correction1, correction2,
        beta1, beta2, eps, decays,
    )  # fmt: skip


@constexpr  # type: ignore[untyped-decorator]
def _check_adamw(parameters: Any, first: Any, second: Any, gradients: Any, decays: int) -> None:
    if not parameters:
        raise RuleError("adamw_all: parameters is empty; it has to have at least one")
    count = len(parameters)
    if decays != count:
        raise RuleError(f"adamw_all: decays has {decays} values; the parameters are {count}")
    for name, shapes in (("first", first), ("second", second), ("gradients", gradients)):
        if len(shapes) != count:
            raise RuleError(f"adamw_all: {name} has {len(shapes)} tensors; parameters has {count}")
        for index in range(count):
            if tuple(shapes[index]) != tuple(parameters[index]):
                raise RuleError(
                    f"adamw_all: {name}[{index}] has shape {tuple(shapes[index])}; the rule is "
                    f"that of parameters[{index}], {tuple(parameters[index])}"
                )


@register("adamw_all", name="plain")
def _adamw_all(
    parameters: Any,
    first: Any,
    second: Any,
    gradients: Any,
    learning_rate: Any,
    factor: Any,
    correction1: Any,
    correction2: Any,
    beta1: float,
    beta2: float,
    eps: float,
    decays: tuple[float, ...],
) -> Any:
    """AdamW updates of all parameters in place, in one pass over memory on the CPU."""
    root = ops.sqrt(correction2)
    # η m̂ / (√v̂ + ε) = (η root / correction1) m / (√v + ε root): MindSpore's operator corrects the
    # bias only with powers in float32, and adds ε before it; with zero powers it leaves it to us.
    rate, zero = learning_rate * root / correction1, ops.zeros_like(root)
    done = rate
    for i in range(len(parameters)):
        if decays[i] > 0:
            shrunk = parameters[i] * (1.0 - learning_rate * decays[i])
            done = ops.depend(done, ops.assign(parameters[i], shrunk))
        updated = ops.Adam()(
            parameters[i], first[i], second[i], zero, zero, rate,
            beta1, beta2, eps * root, gradients[i] * factor,
        )  # fmt: skip
        done = ops.depend(done, updated)
    return done


@register(
    "adamw_all", name="cpu/kernel", device="cpu", dtypes=("float32",), priority=10, ready=_ready
)
def _adamw_all_kernel(
    parameters: Any,
    first: Any,
    second: Any,
    gradients: Any,
    learning_rate: Any,
    factor: Any,
    correction1: Any,
    correction2: Any,
    beta1: float,
    beta2: float,
    eps: float,
    decays: tuple[float, ...],
) -> Any:
    return _primitive("adamw_all")(
        *parameters, *first, *second, *gradients,
        learning_rate, factor, correction1, correction2,
        _constants(beta1, beta2, eps, *decays),
    )  # fmt: skip


def square_sum(tensors: tuple[Tensor, ...]) -> Float[Tensor, "1"]:
    """Sum of the squares of all elements of all tensors, in float32.

    Raises:
        RuleError: There are no tensors.
    """
    _check_square_sum(len(tensors))
    dtype = _dtype_of_all([tensor.dtype for tensor in tensors])
    return FUNCTIONS["square_sum"][choose("square_sum", dtype)](tensors)


@constexpr  # type: ignore[untyped-decorator]
def _dtype_of_all(dtypes: Any) -> Any:
    """That of the tensors; of different ones one that the kernel does not take."""
    return next((dtype for dtype in dtypes if dtype != mstype.float32), mstype.float32)


@constexpr  # type: ignore[untyped-decorator]
def _check_square_sum(count: int) -> None:
    if not count:
        raise RuleError("square_sum: tensors is empty; it has to have at least one")


@register("square_sum", name="plain")
def _square_sum(tensors: Any) -> Any:
    """Sum of the squares of all elements of all tensors."""
    total = ops.zeros((1,), mstype.float32)
    for tensor in tensors:
        if 0 not in tensor.shape:  # MindSpore 2.10 leaves such a sum unwritten
            total = total + ops.square(tensor.astype(mstype.float32)).sum()
    return total


@register("square_sum", name="cpu/product", device="cpu", priority=1)
def _square_sum_product(tensors: Any) -> Any:
    """MindSpore's CPU reduction is a scalar loop: the matrix product is three times faster."""
    total = ops.zeros((1,), mstype.float32)
    for tensor in tensors:
        if 0 in tensor.shape:
            continue
        row = tensor.astype(mstype.float32).reshape((1, -1))
        total = total + ops.matmul(row, row.reshape((-1, 1))).reshape((1,))
    return total


@register(
    "square_sum", name="cpu/kernel", device="cpu", dtypes=("float32",), priority=10, ready=_ready
)
def _square_sum_kernel(tensors: Any) -> Any:
    return _primitive("square_sum")(*tensors)

"""Matrix products, affine maps and embedding tables."""

from __future__ import annotations

import contextlib
from typing import Literal

import numpy as np
from mindspore import ops
from mindspore.ops import constexpr

from scimind.ops.activations import gelu, silu
from scimind.ops.operator import Cpp, operator, plain
from scimind.ops.product import product
from scimind.ops.registry import compute_dtype
from scimind.ops.rule import RuleError
from scimind.typing import Float, Int, Tensor

ACTIVATIONS = (None, "gelu", "silu", "relu")

_SIZES = (
    {"batch": (256,), "in": 256, "out": 256},
    {"batch": (2048,), "in": 256, "out": 1024},
    {"batch": (4096,), "in": 1024, "out": 1024},
)
_gelu, _silu = plain(gelu), plain(silu)


@operator(
    Cpp("kernels/cpu/linear.cc", backward="x weight bias dout -> dx dweight dbias"),
    name="linear",
    half=("x", "weight", "bias"),
    sizes=_SIZES,
)
def _linear(
    x: Float[Tensor, "*batch in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
) -> Float[Tensor, "*batch out"]:
    """``x weightᵀ + bias``."""
    if 0 in x.shape or 0 in weight.shape:  # MindSpore leaves sums over nothing unwritten
        y = ops.zeros((*x.shape[:-1], weight.shape[0]), x.dtype)
        return y if bias is None or 0 in y.shape else y + bias
    rows = x.reshape((-1, x.shape[-1])) if x.ndim != 2 else x
    y = ops.MatMul(transpose_b=True)(rows, weight)
    if bias is not None:
        # A product of rank one: its gradient is a product too, and MindSpore's BiasAddGrad and sum
        # over rows are scalar loops on the CPU.
        ones = ops.ones((y.shape[0], 1), y.dtype)
        y = y + ops.MatMul()(ones, bias.reshape((1, -1)))
    return y.reshape((*x.shape[:-1], weight.shape[0])) if x.ndim != 2 else y


plain_linear = plain(_linear)


@operator(
    Cpp(
        "kernels/cpu/linear.cc",
        saved={"z": "*batch out"},
        backward="x weight bias z dout -> dx dweight dbias",
    ),
    half=("x", "weight", "bias"),
    sizes=_SIZES,
)
def linear_activation(
    x: Float[Tensor, "*batch in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
    activation: Literal["gelu", "silu", "relu"] = "gelu",
) -> Float[Tensor, "*batch out"]:
    """``activation(x weightᵀ + bias)``; GELU in its tanh form."""
    y = plain_linear(x, weight, bias)
    if activation == "gelu":
        return _gelu(y)
    if activation == "silu":
        return _silu(y)
    return ops.relu(y)


def linear(
    x: Float[Tensor, "*batch in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
    activation: str | None = None,
) -> Float[Tensor, "*batch out"]:
    """``activation(x weightᵀ + bias)``.

    Args:
        x: Inputs.
        weight: One row per output.
        bias: Added to every row.
        activation: None, ``"gelu"`` (tanh form), ``"silu"`` or ``"relu"``.

    With mixed precision the product is computed in half precision; the result has the dtype of x.
    """
    if activation is None:
        return _linear(x, weight, bias)
    return linear_activation(x, weight, bias, activation)  # type: ignore[arg-type]


@operator(
    Cpp("kernels/cpu/matmul.cc", backward="left right dout -> dleft dright"),
    name="matmul",
    half=("left", "right"),
    sizes=(
        {"batch": (4096,), "row": 3, "inner": 3, "column": 8},
        {"batch": (16, 8), "row": 128, "inner": 32, "column": 128},
        {"batch": (4,), "row": 512, "inner": 512, "column": 512},
    ),
)
def _matmul(
    left: Float[Tensor, "*batch row inner"], right: Float[Tensor, "*batch inner column"]
) -> Float[Tensor, "*batch row column"]:
    """Products of matrices, one for each index of the batch."""
    return product(left, right)


def matmul(
    left: Float[Tensor, "*left row inner"], right: Float[Tensor, "*right inner column"]
) -> Float[Tensor, "*batch row column"]:
    """Product of two activations, batched; batch axes of size 1 or missing ones are repeated.

    With mixed precision it is computed in half precision; the result has the dtype of ``left``.
    """
    if not (isinstance(left, Tensor) and isinstance(right, Tensor)):
        return _matmul(left, right)  # which refuses them
    if left.shape[:-2] == right.shape[:-2]:
        return _matmul(left, right)
    shape = _repeated(left.shape, right.shape)
    dtype = compute_dtype(left.dtype)
    if 0 in left.shape or 0 in right.shape:
        return ops.zeros(shape, left.dtype)
    return ops.matmul(left.astype(dtype), right.astype(dtype)).astype(left.dtype)


@constexpr  # type: ignore[untyped-decorator]
def _repeated(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a product whose batch axes are repeated."""
    with contextlib.suppress(ValueError):
        if min(len(left), len(right)) >= 2 and left[-1] == right[-2]:
            return (*np.broadcast_shapes(left[:-2], right[:-2]), left[-2], right[-1])
    raise RuleError(
        f"matmul: left has shape {left} and right {right}; the rule is (*batch row inner) and "
        "(*batch inner column), whose batch axes are equal, 1 or missing"
    )


@operator(
    Cpp("kernels/cpu/embedding.cc", backward="indices table dout -> dtable"),
    below={"indices": "entry"},
    sizes=(
        {"batch": (16, 128), "entry": 1024, "dim": 256},
        {"batch": (16384,), "entry": 1024, "dim": 256},
        {"batch": (16384,), "entry": 50257, "dim": 256},
    ),
)
def embedding(
    indices: Int[Tensor, "*batch"], table: Float[Tensor, "entry dim"]
) -> Float[Tensor, "*batch dim"]:
    """Rows of ``table``; an index outside it gives zeros."""
    entries = table.shape[0]
    if 0 in indices.shape or 0 in table.shape:
        return ops.zeros((*indices.shape, table.shape[1]), table.dtype)
    inside = ops.logical_and(indices >= 0, indices < entries)
    rows = ops.gather(table, ops.select(inside, indices, ops.zeros_like(indices)), 0)
    return ops.where(inside.expand_dims(-1), rows, ops.zeros_like(rows))

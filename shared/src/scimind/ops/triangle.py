"""The triangle multiplicative update: what two edges of a triangle say about the third."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.ops.product import product
from scimind.typing import Bool, Float, Tensor

_SOURCE = "kernels/cpu/triangle.cc"
_SIZES = (
    {"batch": 1, "row": 32, "column": 32, "inner": 32, "channel": 64},
    {"batch": 1, "row": 64, "column": 64, "inner": 64, "channel": 128},
    {"batch": 1, "row": 128, "column": 128, "inner": 128, "channel": 128},
)


@operator(
    Cpp(_SOURCE, backward="left right dout -> dleft dright"),
    half=("left", "right"),
    sizes=_SIZES,
)
def triangle_outgoing(
    left: Float[Tensor, "batch row inner channel"],
    right: Float[Tensor, "batch column inner channel"],
) -> Float[Tensor, "batch row column channel"]:
    """``out[i, j] = Σ_k left[i, k] right[j, k]`` for each channel; see `triangle_multiply`."""
    rows, columns = left.transpose((0, 3, 1, 2)), right.transpose((0, 3, 1, 2))
    return product(rows, columns, turn_right=True).transpose((0, 2, 3, 1))


@operator(
    Cpp(_SOURCE, backward="left right dout -> dleft dright"),
    half=("left", "right"),
    sizes=_SIZES,
)
def triangle_incoming(
    left: Float[Tensor, "batch inner row channel"],
    right: Float[Tensor, "batch inner column channel"],
) -> Float[Tensor, "batch row column channel"]:
    """``out[i, j] = Σ_k left[k, i] right[k, j]`` for each channel; see `triangle_multiply`."""
    rows, columns = left.transpose((0, 3, 1, 2)), right.transpose((0, 3, 1, 2))
    return product(rows, columns, turn_left=True).transpose((0, 2, 3, 1))


def triangle_multiply(
    left: Float[Tensor, "batch _ _ channel"],
    right: Float[Tensor, "batch _ _ channel"],
    incoming: bool = False,
) -> Float[Tensor, "batch row column channel"]:
    """Update of the edge ij from the edges ik and jk, or from ki and kj, summed over k.

    Args:
        left: Edges ik, shape (batch, row, inner, channel); ki when ``incoming``, then
            (batch, inner, row, channel).
        right: Edges jk, shape (batch, column, inner, channel); kj when ``incoming``, then
            (batch, inner, column, channel).
        incoming: Whether the edges point at i and j.

    With mixed precision it is computed in half precision; the result has the dtype of ``left``.

    Source: Jumper et al., Nature 596 (2021), supplementary algorithms 11 and 12, step 4.
    """
    if incoming:
        return triangle_incoming(left, right)
    return triangle_outgoing(left, right)


@operator(
    Cpp(_SOURCE, backward="x gate mask dout -> dx dgate"),
    sizes=(
        {"batch": (1, 32, 32), "channel": 64},
        {"batch": (1, 64, 64), "channel": 128},
        {"batch": (1, 128, 128), "channel": 128},
    ),
)
def gated(
    x: Float[Tensor, "*batch channel"],
    gate: Float[Tensor, "*batch channel"],
    mask: Bool[Tensor, "*batch 1"] | None = None,
) -> Float[Tensor, "*batch channel"]:
    """``x sigmoid(gate)``, and 0 where ``mask`` is False.

    Source: Jumper et al., Nature 596 (2021), supplementary algorithm 11, steps 2 and 5.
    """
    y = x * ops.sigmoid(gate)
    return y if mask is None else y * mask.astype(y.dtype)

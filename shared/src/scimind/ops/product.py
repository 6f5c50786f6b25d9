"""Matrix products of plain formulations."""

from __future__ import annotations

from mindspore import ops

from scimind.typing import Float, Tensor


def product(
    left: Float[Tensor, "*batch _ _"],
    right: Float[Tensor, "*batch _ _"],
    turn_left: bool = False,
    turn_right: bool = False,
) -> Float[Tensor, "*batch row column"]:
    """Products of matrices of one batch, of which either may be transposed first.

    MindSpore leaves sums over nothing unwritten, in the product and in its gradient: they are 0.
    """
    if 0 in left.shape or 0 in right.shape:
        row, column = left.shape[-1 if turn_left else -2], right.shape[-2 if turn_right else -1]
        return ops.zeros((*left.shape[:-2], row, column), left.dtype)
    if left.ndim == 2:
        return ops.MatMul(turn_left, turn_right)(left, right)
    return ops.BatchMatMul(turn_left, turn_right)(left, right)

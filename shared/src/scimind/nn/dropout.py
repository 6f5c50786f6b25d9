"""Dropout without hidden state."""

from __future__ import annotations

from mindspore import nn

from scimind import ops
from scimind.typing import Float, Int, Tensor


class Dropout(nn.Cell):
    """Zero elements with probability ``rate`` in training; the randomness is the key given.

    Args:
        rate: Probability, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"dropout rate {rate} is outside [0, 1)")
        self.rate = rate

    def construct(
        self, x: Float[Tensor, "*shape"], key: Int[Tensor, "2"]
    ) -> Float[Tensor, "*shape"]:
        """Apply dropout in training, nothing in evaluation."""
        if self.training and self.rate > 0.0:
            return ops.dropout(x, key, self.rate)
        return x

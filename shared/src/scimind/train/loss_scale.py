"""Dynamic loss scale: keeps half-precision gradients above the smallest number."""

from __future__ import annotations

from mindspore import Parameter, Tensor, nn, ops
from mindspore import dtype as mstype

SMALLEST = 1.0
LARGEST = 2.0**24


class LossScale(nn.Cell):
    """A factor on the loss that doubles after calm steps and halves after an overflow.

    Source: Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2.

    Args:
        initial: First factor.
        interval: Finite steps in a row before it doubles.
    """

    def __init__(self, initial: float = 2.0**15, interval: int = 1000) -> None:
        super().__init__(auto_prefix=False)
        self.interval = interval
        self.scale = Parameter(Tensor(initial, mstype.float32), "scale", requires_grad=False)
        self.calm = Parameter(Tensor(0, mstype.int32), "calm", requires_grad=False)

    def state(self) -> dict[str, Parameter]:
        """What a checkpoint must hold."""
        return {"scale": self.scale, "calm": self.calm}

    def construct(self, finite: Tensor) -> Tensor:
        """Adapt the scale after a step; returns the new one."""
        calm = ops.select(finite, self.calm + 1, ops.zeros_like(self.calm))
        grow = calm >= self.interval
        doubled = ops.minimum(self.scale * 2.0, Tensor(LARGEST, mstype.float32))
        halved = ops.maximum(self.scale * 0.5, Tensor(SMALLEST, mstype.float32))
        after = ops.select(finite, ops.select(grow, doubled, self.scale), halved)
        ops.assign(self.calm, ops.select(grow, ops.zeros_like(calm), calm))
        ops.assign(self.scale, after)
        return after

    @property
    def exhausted(self) -> bool:
        """Whether the scale cannot go lower, so that an overflow is not its fault."""
        return float(self.scale.asnumpy()) <= SMALLEST

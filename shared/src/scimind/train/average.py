"""Exponential moving average of the parameters."""

from __future__ import annotations

from mindspore import Parameter, ParameterTuple, Tensor, nn, ops
from mindspore import dtype as mstype

from scimind.train.optimizer import NamedParameters


class MovingAverage(nn.Cell):
    """Averages θ̄ = d θ̄ + (1-d) θ, updated inside the graph after each optimizer update.

    The decay d = min(decay, (1+t)/(10+t)) grows with the number of updates t, so early averages
    are not dominated by the initial values (the warm-up of TensorFlow's
    ``ExponentialMovingAverage``).

    Args:
        parameters: Names and parameters to average.
        decay: Largest decay.
    """

    def __init__(self, parameters: NamedParameters, decay: float) -> None:
        super().__init__(auto_prefix=False)
        self.decay = decay
        self.names = tuple(name for name, _ in parameters)
        self.trained = ParameterTuple([value for _, value in parameters])
        self.averages = ParameterTuple(
            [
                Parameter(Tensor(value.asnumpy().copy()), f"average/{name}", requires_grad=False)
                for name, value in parameters
            ]
        )

    def state(self) -> dict[str, Parameter]:
        """The averages by the names of their parameters."""
        return dict(zip(self.names, self.averages, strict=True))

    def construct(self, updates: Tensor) -> Tensor:
        """Move the averages after update number ``updates``; returns 1-d."""
        t = updates.astype(mstype.float32)
        share = 1.0 - ops.minimum((1.0 + t) / (10.0 + t), Tensor(self.decay, mstype.float32))
        for i in range(len(self.trained)):
            average = self.averages[i]
            ops.assign(average, average + share * (self.trained[i] - average))
        return share

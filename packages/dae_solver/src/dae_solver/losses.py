"""What is trained: relative errors of the predicted trajectory and of its correction."""

from __future__ import annotations

from mindspore import Tensor, nn, ops

from dae_solver.model.network import OperatorNetwork
from scimind.typing import Float

EPSILON = 1e-6


def distance(
    found: Float[Tensor, "batch mode"],
    target: Float[Tensor, "batch mode"],
    weight: Float[Tensor, " mode"],
) -> Float[Tensor, " batch"]:
    """Weighted Euclidean distance, which large errors do not dominate as its square would."""
    return ops.sqrt((ops.square((found - target) * weight)).sum(axis=1) + EPSILON)


class OperatorLoss(nn.Cell):
    """Sum of the mean distances of predictor and corrector.

    Args:
        network: Both.
        predictor: Weight of each coefficient of a trajectory.
        corrector: Weight of each coefficient of a change.
    """

    metric_names = ("predictor", "corrector")

    def __init__(
        self,
        network: OperatorNetwork,
        predictor: Float[Tensor, " mode"],
        corrector: Float[Tensor, " mode"],
    ) -> None:
        super().__init__()
        self.network = network
        self.predictor_weight, self.corrector_weight = predictor, corrector

    def construct(
        self,
        key: Tensor,
        features: Float[Tensor, "batch feature"],
        target: Float[Tensor, "batch mode"],
        other_features: Float[Tensor, "batch feature"],
        iterate: Float[Tensor, "batch mode"],
        residual: Float[Tensor, "batch mode"],
        size: Float[Tensor, "batch one"],
        change: Float[Tensor, "batch mode"],
    ) -> tuple[Tensor, Tensor]:
        """Loss, and its two parts."""
        predicted = self.network.predictor(features)
        corrected = self.network.corrector(other_features, iterate, residual, size)
        first = distance(predicted, target, self.predictor_weight).mean()
        second = distance(corrected, change, self.corrector_weight).mean()
        return first + second, ops.stack((first, second))

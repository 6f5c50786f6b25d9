"""What is trained: errors of the predicted trajectory, of its correction, and of the physics."""

from __future__ import annotations

import numpy as np
from mindspore import Tensor, nn, ops

from dae_solver.differentiable import DifferentiableGrid
from dae_solver.model.network import OperatorNetwork
from dae_solver.model.operator import TrajectoryOperator
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


class CollocationLoss(nn.Cell):
    """How far predicted windows are from solving the equations, without knowing their course.

    It is the residual of `dae_solver.hybrid.residual`, here with gradients: ``x(t) - x(0)`` less
    the integral of ``f`` at the nodes, voltages from ``g = 0``, scaled as the modes are and
    relative to the spread of all trajectories.

    Args:
        grid: The equations.
        operator: Modes and nodes.
    """

    def __init__(self, grid: DifferentiableGrid, operator: TrajectoryOperator) -> None:
        super().__init__()
        modes, integrate = operator.modes, operator.window.integrate
        rows, self.nodes = len(modes.weight), len(integrate)
        self.rows, self.states = rows, rows - 1
        # States from rows with angles against their centre, and rows from states.
        absolute, against = np.eye(rows - 1, rows), np.eye(rows, rows - 1)
        absolute[modes.angles, -1] = 1.0
        against[-1] = 0.0
        against[-1, modes.angles] = modes.inertia
        against[modes.angles] -= against[-1]
        center = np.eye(1, rows, rows - 1)
        decode = modes.basis.T * modes.spread / np.repeat(modes.weight, self.nodes)[:, None]
        weight = modes.weight[:, None] / np.linalg.norm(modes.spread)
        self.decode, self.absolute = grid.tensor(decode), grid.tensor(absolute)
        self.against, self.center = grid.tensor(against), grid.tensor(center)
        self.integrate, self.weight = grid.tensor(integrate), grid.tensor(weight)
        self.kernels, self.voltages = grid.kernels, grid.voltages
        self.half = grid.kernels.algebraics // 2

    def construct(
        self,
        coefficients: Float[Tensor, "batch mode"],
        x: Float[Tensor, "batch state"],
        y: Float[Tensor, "batch algebraic"],
        p: Float[Tensor, "batch row"],
        network: Float[Tensor, "batch algebraic algebraic"],
    ) -> Float[Tensor, " batch"]:
        """Norm of the residual of each window.

        Args:
            coefficients: Scaled, as the predictor gives them.
            x: States at the start.
            y: Voltages there.
            p: Parameters of the equations.
            network: Admittances.
        """
        rows = ops.matmul(self.decode, ops.transpose(coefficients, (1, 0)))
        rows = ops.reshape(rows, (self.rows, -1))  # [row, node batch]
        copies = (1, self.nodes)
        p = ops.tile(ops.transpose(p, (1, 0)), copies)
        network = ops.tile(ops.transpose(network, (1, 2, 0)), (1, 1, self.nodes))
        x = ops.add(ops.tile(ops.transpose(x, (1, 0)), copies), ops.matmul(self.absolute, rows))
        x = self.kernels.limit(x, p)
        turn = ops.matmul(self.center, rows)
        cosine, sine = ops.cos(turn), ops.sin(turn)
        real, imag = ops.split(ops.tile(ops.transpose(y, (1, 0)), copies), self.half, 0)
        guess = ops.concat((real * cosine - imag * sine, imag * cosine + real * sine), 0)
        y = self.voltages(x, p, network, guess)
        f = ops.reshape(self.kernels.f(x, y, p), (self.states, self.nodes, -1))
        moved = ops.reshape(ops.matmul(self.integrate, f), (self.states, -1))
        left = (ops.matmul(self.against, moved) - rows) * self.weight
        square = ops.reshape(ops.square(left).sum(axis=0), (self.nodes, -1)).sum(axis=0)
        return ops.sqrt(square + EPSILON)


class PhysicsOperatorLoss(nn.Cell):
    """That of `OperatorLoss`, and the mean residual of windows whose course is unknown.

    Args:
        network: Predictor and corrector.
        predictor: Weight of each coefficient of a trajectory.
        corrector: Weight of each coefficient of a change.
        physics: The residual.
        share: Its weight.
    """

    metric_names = ("predictor", "corrector", "physics")

    def __init__(
        self,
        network: OperatorNetwork,
        predictor: Float[Tensor, " mode"],
        corrector: Float[Tensor, " mode"],
        physics: CollocationLoss,
        share: float,
    ) -> None:
        super().__init__()
        self.network = network
        self.known = OperatorLoss(network, predictor, corrector)
        self.physics, self.share = physics, share

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
        start_features: Float[Tensor, "start feature"],
        x: Float[Tensor, "start state"],
        y: Float[Tensor, "start algebraic"],
        p: Float[Tensor, "start row"],
        network: Float[Tensor, "start algebraic algebraic"],
    ) -> tuple[Tensor, Tensor]:
        """Loss, and its three parts."""
        loss, parts = self.known(
            key, features, target, other_features, iterate, residual, size, change
        )
        third = self.physics(self.network.predictor(start_features), x, y, p, network).mean()
        return loss + self.share * third, ops.concat((parts, ops.reshape(third, (1,))), 0)

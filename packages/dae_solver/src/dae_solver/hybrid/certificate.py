"""From residuals to a bound of the angle error."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dae_solver.model.operator import TrajectoryOperator
from scimind.errors import InputError
from scimind.typing import Float


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a trajectory's scores say about its error.

    The score of a window is how far its last correction moved an angle, in degrees, together with
    ``residual`` times the size of the residual before it; that of a trajectory is the sum over its
    windows. The bound of the error is ``factor`` times the score, plus the error of the classical
    engine where it integrated. The factor is the ratio that a share of ``1 - alpha`` of the
    calibration trajectories does not exceed, by split conformal prediction.

    Attributes:
        bound: For which it was calibrated, degrees.
        factor: Bound over score.
        residual: Degrees for a residual of size 1.
        classical: Error of the classical engine at this step, degrees per second.
        step: Of the classical engine, seconds.
        corrections: Most corrections of a window before the classical engine takes it.
        alpha: Share of trajectories whose error may exceed the bound.
        trajectories: So many were used for the calibration.

    Source: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, JASA 113, 1094 (2018).
    """

    bound: float
    factor: float
    residual: float
    classical: float
    step: float
    corrections: int
    alpha: float = float("nan")
    trajectories: int = 0

    def score(
        self, operator: TrajectoryOperator, change: Float[np.ndarray, "mode window"], size: Any
    ) -> Float[np.ndarray, " window"]:
        """Score of windows whose residual has a size and is removed by a change."""
        modes = operator.modes
        nodes = len(operator.window.nodes)
        angles = modes.basis.reshape(len(modes.basis), -1, nodes)[:, modes.angles]
        weight = modes.weight[modes.angles][:, None]
        moved = (angles / weight).reshape(len(modes.basis), -1).T @ change
        found: np.ndarray = np.hypot(np.degrees(np.abs(moved).max(0)), self.residual * size)
        return found

    @classmethod
    def of(cls, operator: TrajectoryOperator, bound: float) -> Certificate:
        """The calibration for a bound; that of the next smaller one where there is none.

        Raises:
            InputError: The operator is calibrated for larger bounds only.
        """
        known = [cls(**each) for each in operator.facts.get("certificates", [])]
        fitting = [each for each in known if each.bound <= bound * (1 + 1e-9)]
        if not fitting:
            listed = ", ".join(f"{each.bound:g}" for each in known) or "none"
            raise InputError(
                f"certify={bound:g} deg is below what the operator is calibrated for ({listed}); "
                "train with angle=[…] for it, or use solver='classical'",
                rule="operator.certificate",
            )
        return max(fitting, key=lambda each: each.bound)

    def facts(self) -> dict[str, Any]:
        """For the file of an operator."""
        return asdict(self)


def conformal_quantile(ratios: Float[np.ndarray, " trajectory"], alpha: float) -> float:
    """The smallest bound that a new ratio exceeds with probability at most ``alpha``.

    Raises:
        InputError: There are too few ratios to promise that.
    """
    number = len(ratios)
    rank = int(np.ceil((1.0 - alpha) * (number + 1)))
    if rank > number:
        raise InputError(
            f"alpha={alpha:g} needs at least {int(np.ceil(1.0 / alpha)) - 1} calibration "
            f"trajectories; there are {number}",
            rule="operator.calibration",
        )
    return float(np.sort(ratios)[rank - 1])

"""From residuals to a bound of the angle error."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dae_solver.model.operator import TrajectoryOperator
from scimind.errors import InputError
from scimind.typing import Float

log = logging.getLogger(__name__)

# Share of what the first correction moves that is believed to be left, and the rate from which on
# further ones lead nowhere.
FIRST, SLOWEST = 0.3, 0.8

# From this spread of the angles on, degrees, errors grow by e with every so many degrees, up to
# separation, where they are no longer asked for.
UNSTEADY, GROWS, SEPARATION = 80.0, 30.0, 180.0
LARGEST_GROWTH = float(np.exp((SEPARATION - UNSTEADY) / GROWS))


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What a trajectory's scores say about its error.

    A correction of a predicted window leaves about a fixed share of how far it moved the angles.
    From the second one on derivatives are taken at other points than in the one before, so that a
    correction moves them by the error of the discretisation too, and as far as they may be wrong
    after it. That, in degrees, together with ``residual`` times the size of the residual before it,
    is the score of a window; that of a trajectory is the sum over its windows. Near the limit of
    stability errors grow, see :meth:`growth`. The bound of the error is ``factor`` times the score,
    plus the error of the classical engine where it integrated, both times the growth, plus a
    ``floor``. The factor is the ratio that a share of ``1 - alpha`` of the calibration trajectories
    does not exceed, by split conformal prediction.

    Attributes:
        bound: For which it was calibrated, degrees.
        factor: Bound over score.
        residual: Degrees for a residual of size 1.
        floor: Added to the bound of each trajectory that moves, degrees.
        classical: Error of the classical engine at this step, degrees: of trajectories whose
            angles stay together; of all of them where it is ``alone`` without a ``fine_step``.
        step: Of the classical engine, seconds.
        corrections: Most corrections of a window before the classical engine takes it.
        alone: Whether the classical engine does everything, because so few windows of the operator
            are good enough for this bound that asking it does not pay.
        single: Whether the classical engine may take its steps in single precision; its error is
            that of such steps.
        fine_step: Of the engine alone for scenarios whose bound is too large with ``step``,
            seconds; 0 where ``step`` does for all.
        fine_classical: Its error then, degrees: that of all trajectories.
        alpha: Share of trajectories whose error may exceed the bound.
        trajectories: So many were used for the calibration.
        digest: Of the operator that was calibrated; empty where nobody noted it.
        void: Whether it is of other weights than those that it is asked for: the operator is not
            believed, and the classical engine does everything.

    Source: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, JASA 113, 1094 (2018).
    """

    bound: float
    factor: float
    residual: float
    floor: float
    classical: float
    step: float
    corrections: int
    alone: bool = False
    single: bool = False
    fine_step: float = 0.0
    fine_classical: float = 0.0
    alpha: float = float("nan")
    trajectories: int = 0
    digest: str = ""
    void: bool = False

    def score(
        self,
        moved: Float[np.ndarray, "*part window"],
        size: Float[np.ndarray, " window"],
        *,
        first: bool,
    ) -> Float[np.ndarray, "*part window"]:
        """Scores, from how far the last correction moved, and the residual before it."""
        left = FIRST * moved if first else moved
        found: np.ndarray = np.hypot(left, self.residual * size)
        return found

    @staticmethod
    def growth(spread: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """How much more errors grow where angles come apart so far, radians.

        Machines that pass the top of their power-angle curve are drawn apart instead of together;
        that the growth is exponential in the spread from there on is what calibration runs show.
        """
        beyond = np.clip(np.degrees(spread), UNSTEADY, SEPARATION) - UNSTEADY
        found: np.ndarray = np.exp(beyond / GROWS)
        return found

    @staticmethod
    def moved(
        operator: TrajectoryOperator, change: Float[np.ndarray, "mode window"]
    ) -> Float[np.ndarray, "node window"]:
        """How far a change of the coefficients moves an angle up to each node, degrees."""
        size = np.abs(operator.modes.angles_of(change)).max(0)
        found: np.ndarray = np.degrees(np.maximum.accumulate(size))
        return found

    @classmethod
    def of(cls, operator: TrajectoryOperator, bound: float) -> Certificate:
        """The calibration for a bound; that of the next smaller one where there is none.

        Raises:
            InputError: The operator is calibrated for larger bounds only.
        """
        known = operator.facts.get("certificates", [])
        fitting = [each for each in known if each["bound"] <= bound * (1 + 1e-9)]
        if not fitting:
            listed = ", ".join(f"{each['bound']:g}" for each in known) or "none"
            raise InputError(
                f"certify={bound:g} deg is below what the operator is calibrated for ({listed}); "
                "train with angle=[…] for it, or use solver='classical'",
                rule="operator.certificate",
            )
        found = cls(**max(fitting, key=lambda each: each["bound"]))
        if not found.digest or found.digest == operator.digest:
            return found
        log.warning(
            "the operator's weights are not those that its certificate was made with: it is not "
            "believed, and the classical engine does everything; train it anew"
        )
        return replace(found, void=True)

    @property
    def idle(self) -> bool:
        """Whether the operator is never asked."""
        return self.alone or self.void

    @property
    def shortest_step(self) -> float:
        """Of the classical engine, seconds."""
        return self.fine_step or self.step

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

"""What limits of the margin do: receiver operating characteristic, with and without abstention."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.physics.abstention import Calibration
from scimind.typing import Bool, Float


def rates(
    calibration: Calibration,
) -> tuple[Float[np.ndarray, " limit"], Float[np.ndarray, " limit"]]:
    """Without abstention: unstable scenarios called stable, and stable ones called unstable.

    Args:
        calibration: Its margins are called stable above a limit, for every limit.
    """
    limits = np.unique(np.concatenate([[-np.inf], calibration.stable, calibration.unstable]))
    missed = (calibration.unstable > limits[:, None]).mean(1)
    return missed, (calibration.stable <= limits[:, None]).mean(1)


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What limits do on scenarios that they were not made from.

    Attributes:
        alpha: That the limits promise.
        abstained: Share of all scenarios inside the band.
        missed: Share of the unstable ones that are called stable.
        alarms: Share of the stable ones that are called unstable.
    """

    alpha: float
    abstained: float
    missed: float
    alarms: float


def operating_points(
    calibration: Calibration, alphas: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
) -> list[OperatingPoint]:
    """One half of the scenarios gives the limits, the other half the shares.

    Alphas that a half cannot promise are left out.
    """
    half = Calibration(
        case=calibration.case,
        load_model=calibration.load_model,
        look=calibration.look,
        stable=calibration.stable[::2],
        unstable=calibration.unstable[::2],
    )
    stable, unstable = calibration.stable[1::2], calibration.unstable[1::2]
    number = min(len(half.stable), len(half.unstable))
    found = []
    for alpha in alphas:
        if np.ceil(1.0 / alpha - 1e-9) - 1 > number or not (len(stable) and len(unstable)):
            continue
        above, below = half.limits(alpha)
        doubt = [_inside(margins, above, below) for margins in (stable, unstable)]
        found.append(
            OperatingPoint(
                alpha=alpha,
                abstained=float(np.concatenate(doubt).mean()),
                missed=float((unstable[~doubt[1]] > 0.0).sum() / len(unstable)),
                alarms=float((stable[~doubt[0]] <= 0.0).sum() / len(stable)),
            )
        )
    return found


def _inside(
    margins: Float[np.ndarray, " scenario"], above: float, below: float
) -> Bool[np.ndarray, " scenario"]:
    """In the band, or not decided, which infinities stand for."""
    found: np.ndarray = ((margins <= above) & (margins >= below)) | np.isinf(margins)
    return found

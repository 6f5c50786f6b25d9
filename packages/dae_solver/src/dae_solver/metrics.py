"""How far trajectories are from tight ones, and whether certificates held.

All errors are the largest of a trajectory, and angles and voltages count until the tight trajectory
separates: after that the angles of two solutions drift apart by whole turns. Of the angle against
the centre of inertia, so that the common speed, which nobody measures, does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scimind.typing import Float


def _largest(
    t: Float[np.ndarray, " time"],
    error: Float[np.ndarray, "*batch time"],
    separated: Float[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    before = t < np.asarray(separated)[..., None]
    return np.asarray(np.where(before, np.nan_to_num(error, nan=np.inf), 0.0).max(-1))


def _of_machines(
    truth: Float[np.ndarray, "*batch time machine"], found: Float[np.ndarray, "*batch time machine"]
) -> Float[np.ndarray, "*batch time"]:
    """Largest error of those that the truth has connected; NaN where it has ended."""
    unknown = np.isnan(truth)
    if not unknown.any():
        return np.asarray(np.abs(found - truth).max(-1))
    tripped = unknown & ~unknown.all(-1, keepdims=True)
    return np.asarray(np.where(tripped, 0.0, np.abs(found - truth)).max(-1))


def angle_error(
    t: Float[np.ndarray, " time"],
    truth: Float[np.ndarray, "*batch time machine"],
    found: Float[np.ndarray, "*batch time machine"],
    separated: Float[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    """Largest error of an angle until separation, degrees.

    Args:
        t: Output times, seconds.
        truth: Angles against the centre of inertia, radians; NaN of machines that have tripped,
            which do not count.
        found: The same of the trajectory that is judged; NaN where it ended too early, which makes
            an infinite error.
        separated: When the true one separates, infinity where it does not, seconds.
    """
    return np.asarray(np.degrees(_largest(t, _of_machines(truth, found), separated)))


def voltage_error(
    t: Float[np.ndarray, " time"],
    truth: Float[np.ndarray, "*batch time bus"],
    found: Float[np.ndarray, "*batch time bus"],
    separated: Float[np.ndarray, "*batch"],
) -> Float[np.ndarray, "*batch"]:
    """Largest error of a voltage magnitude until separation, pu; arguments as in `angle_error`."""
    return _largest(t, np.abs(found - truth).max(-1), separated)


def separation_error(
    truth: Float[np.ndarray, "*batch"], found: Float[np.ndarray, "*batch"]
) -> Float[np.ndarray, "*batch"]:
    """Distance of the times of separation, seconds: 0 where both or neither keep synchronism.

    Where one of them separates and the other one never does, it is infinite.
    """
    both = np.isinf(truth) & np.isinf(found)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.0, np.abs(found - truth))


def share_above(error: Float[np.ndarray, " scenario"], bound: float) -> float:
    """Share of the trajectories whose error exceeds a bound."""
    return float((error > bound).mean())


def coverage(
    error: Float[np.ndarray, " scenario"], certificate: Float[np.ndarray, " scenario"]
) -> float:
    """Share of the certificates that hold; NaN where no trajectory has one."""
    has = ~np.isnan(certificate)
    return float((error[has] <= certificate[has]).mean()) if has.any() else float("nan")


def quantile(error: Float[np.ndarray, " scenario"], share: float) -> float:
    """The smallest error of the sample that this share does not exceed; it may be infinite."""
    return float(np.quantile(error, share, method="inverted_cdf"))


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Errors of many trajectories.

    Attributes:
        p50: Median.
        p90: 90 % quantile.
        max: The largest.
        scenarios: So many are behind these numbers.
        excluded: So many are not, because nothing is known that they could be compared with.
    """

    p50: float
    p90: float
    max: float
    scenarios: int
    excluded: int

    @classmethod
    def of(cls, error: Float[np.ndarray, " scenario"], *, excluded: int = 0) -> Errors:
        """Of errors of single trajectories.

        Raises:
            ValueError: There are none.
        """
        if not len(error):
            raise ValueError("no trajectories to summarise; give at least one")
        return cls(
            p50=quantile(error, 0.5),
            p90=quantile(error, 0.9),
            max=float(error.max()),
            scenarios=len(error),
            excluded=excluded,
        )

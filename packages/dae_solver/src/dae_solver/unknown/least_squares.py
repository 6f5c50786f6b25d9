"""Levenberg-Marquardt where residuals for many parameter values come at the price of few.

A round is two batches: the derivatives by difference quotients, and steps for several dampings, of
which the best is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from dae_solver.unknown.coefficients import Coefficient
from scimind.typing import Bool, Float

log = logging.getLogger(__name__)

Residuals = Callable[[Float[np.ndarray, "batch coefficient"]], Float[np.ndarray, "batch residual"]]

DAMPINGS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e3)
QUOTIENT = 1e-3  # of the scale of a coefficient
MOST_STARTS = 64
# A step that lowers the sum of squares by less than this, or this share of it, is the last one.
LEAST_GAIN, LEAST_SHARE = 0.01, 1e-6
SMALL = 1e-4  # of the scale: so is a step that is the last one


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A minimum of ``sum r^2`` with the prior.

    Attributes:
        theta: All coefficients; those not ``free`` as they were given.
        free: Which were fitted.
        r: Residuals in standard deviations.
        jacobian: Their derivatives by the free coefficients.
        cost: ``sum r^2``, without the prior.
        rounds: Done.
        converged: The last step was small, or none was better.
    """

    theta: Float[np.ndarray, " coefficient"]
    free: Bool[np.ndarray, " coefficient"]
    r: Float[np.ndarray, " residual"] = field(repr=False)
    jacobian: Float[np.ndarray, "residual free"] = field(repr=False)
    cost: float
    rounds: int
    converged: bool


def minimise(
    residuals: Residuals,
    coefficients: Sequence[Coefficient],
    theta: Float[np.ndarray, " coefficient"],
    *,
    free: Bool[np.ndarray, " coefficient"] | None = None,
    rounds: int = 20,
) -> Fit:
    """Minimise from ``theta``.

    Args:
        residuals: Of a batch of parameter values.
        coefficients: Their scales, ranges and priors.
        theta: Where to start.
        free: Which may move; all by default.
        rounds: At most.

    Source: Marquardt, SIAM J. Appl. Math. 11, 431 (1963); damping by the diagonal.
    """
    every = np.ones(len(theta), bool) if free is None else np.asarray(free, bool)
    return minimise_all(residuals, coefficients, [(theta, every)], rounds=rounds)[0]


def minimise_all(
    residuals: Residuals,
    coefficients: Sequence[Coefficient],
    starts: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    rounds: int = 20,
) -> list[Fit]:
    """Several searches side by side, whose simulations share batches.

    Args:
        residuals: Of a batch of parameter values.
        coefficients: See :func:`minimise`.
        starts: Values and which of them may move, of each search.
        rounds: At most.
    """
    found: list[Fit | None] = [None] * len(starts)
    under_way = {
        k: _search(coefficients, theta, free, rounds) for k, (theta, free) in enumerate(starts)
    }
    asked = {k: next(search) for k, search in under_way.items()}
    while asked:
        values = residuals(np.concatenate(list(asked.values())))
        first, following = 0, {}
        for k, points in asked.items():
            own = values[first : first + len(points)]
            first += len(points)
            try:
                following[k] = under_way[k].send(own)
            except StopIteration as end:
                found[k] = end.value
        asked = following
    return [fit for fit in found if fit is not None]


def _search(
    coefficients: Sequence[Coefficient], theta: np.ndarray, free: np.ndarray, rounds: int
) -> Generator[np.ndarray, np.ndarray, Fit]:
    """A search that asks for residuals by yielding values of all coefficients."""
    theta = np.array(theta, float)
    chosen = np.flatnonzero(free)
    own = [coefficients[k] for k in chosen]
    scale, low, high = _ranges(own)
    weight = np.array([1.0 / c.prior**2 for c in own])
    mean = np.array([c.nominal for c in own])

    def placed(values: np.ndarray) -> np.ndarray:
        every = np.repeat(theta[None], len(values), 0)
        every[:, chosen] = values
        return every

    def prior(values: np.ndarray) -> Any:
        return ((values - mean) ** 2 * weight).sum(-1)

    now = np.clip(theta[chosen], low, high)
    r = (yield placed(now[None]))[0]
    best = float(r @ r) + float(prior(now))
    factor, converged, done = 1.0, not len(chosen), 0
    jacobian = np.zeros((len(r), 0))
    while len(chosen):
        points = _points(now, scale, low, high)
        jacobian = _quotients((yield placed(points)), points)
        if converged or done == rounds:
            break
        done += 1
        a = jacobian.T @ jacobian + np.diag(weight)
        b = jacobian.T @ r + weight * (now - mean)
        while True:
            dampings = np.array(DAMPINGS) * factor
            trials = np.stack([_step(a, b, scale, now, low, high, d) for d in dampings])
            values = yield placed(trials)
            costs = (values * values).sum(1) + prior(trials)
            k = int(np.argmin(np.where(np.isnan(costs), np.inf, costs)))
            if costs[k] < best or factor > 1.0:
                break
            factor *= 1e4
        # Where not even the shortest step helps, this is the minimum to rounding.
        gain = best - float(costs[k])
        small = bool((np.abs(trials[k] - now) <= SMALL * scale).all())
        converged = not gain > LEAST_GAIN + LEAST_SHARE * best or small
        if gain > 0:
            now, r, best = trials[k], values[k], float(costs[k])
        factor = 1.0
        log.debug("round %d: %.6g", done, best)
    theta[chosen] = now
    return Fit(
        theta=theta,
        free=free,
        r=r,
        jacobian=jacobian,
        cost=float(r @ r),
        rounds=done,
        converged=converged,
    )


def _ranges(own: Sequence[Coefficient]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scales and ranges of coefficients."""
    return (
        np.array([c.scale for c in own]),
        np.array([c.low for c in own]),
        np.array([c.high for c in own]),
    )


def _points(
    now: np.ndarray, scale: np.ndarray, low: np.ndarray, high: np.ndarray
) -> Float[np.ndarray, "twice coefficient"]:
    """Each coefficient moved up, then each moved down, within the ranges.

    Both sides are needed: where weights nearly cancel, the error of one-sided quotients is larger
    than what is left, and the search creeps.
    """
    up = np.minimum(now + QUOTIENT * scale, high) - now
    down = np.maximum(now - QUOTIENT * scale, low) - now
    return np.concatenate([now + np.diag(up), now + np.diag(down)])


def _quotients(
    values: Float[np.ndarray, "twice residual"], points: Float[np.ndarray, "twice coefficient"]
) -> Float[np.ndarray, "residual coefficient"]:
    """Derivatives of the residuals; zero where a simulation failed."""
    half = len(points) // 2
    step = np.diag(points[:half] - points[half:])
    with np.errstate(invalid="ignore"):
        difference = (values[:half] - values[half:]) / step[:, None]
    difference[~np.isfinite(difference)] = 0.0
    return np.ascontiguousarray(difference.T)


def derivatives(
    residuals: Residuals,
    coefficients: Sequence[Coefficient],
    theta: Float[np.ndarray, " coefficient"],
) -> tuple[Float[np.ndarray, " residual"], Float[np.ndarray, "residual coefficient"]]:
    """Residuals and their derivatives by all coefficients, at one place."""
    points = _points(theta, *_ranges(coefficients))
    values = residuals(np.concatenate([theta[None], points]))
    return values[0], _quotients(values[1:], points)


def _step(
    a: np.ndarray,
    b: np.ndarray,
    scale: np.ndarray,
    now: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    damping: float,
) -> Float[np.ndarray, " coefficient"]:
    """The damped step, with coefficients that would leave their range held at its end."""
    moving = np.ones(len(now), bool)
    new = now.copy()
    for _ in range(len(now)):
        rows = np.flatnonzero(moving)
        held = new - now
        right = -b[rows] - a[np.ix_(rows, ~moving)] @ held[~moving]
        matrix = a[np.ix_(rows, rows)] * np.outer(scale[rows], scale[rows])
        diagonal = np.diag(matrix).copy()
        matrix[np.diag_indices(len(rows))] += damping * diagonal + 1e-12 * diagonal.max() + 1e-300
        new[rows] = now[rows] + scale[rows] * np.linalg.solve(matrix, scale[rows] * right)
        out = moving & ((new < low) | (new > high))
        if not out.any():
            break
        new[out] = np.clip(new[out], low[out], high[out])
        moving &= ~out
        if not moving.any():
            break
    return np.clip(new, low, high)


def best_start(
    residuals: Residuals,
    coefficients: Sequence[Coefficient],
    theta: Float[np.ndarray, " coefficient"],
) -> Float[np.ndarray, " coefficient"]:
    """The best of the values that coefficients are tried at; all combinations where they are few.

    Where they are many, one coefficient after the other is tried with the best of those before.
    """
    theta = np.array(theta, float)
    places = [k for k, each in enumerate(coefficients) if each.tries]
    if not places:
        return theta
    choices = [(theta[k], *coefficients[k].tries) for k in places]
    if np.prod([len(each) for each in choices]) <= MOST_STARTS:
        rounds = [(places, list(product(*choices)))]
    else:
        rounds = [([k], [(v,) for v in own]) for k, own in zip(places, choices, strict=True)]
    for at, values in rounds:
        trials = np.repeat(theta[None], len(values), 0)
        trials[:, at] = values
        found = residuals(trials)
        costs = (found * found).sum(1)
        theta = trials[int(np.argmin(costs))]
    return theta

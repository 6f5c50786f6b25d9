"""Levenberg-Marquardt where residuals for many parameter values come at the price of few.

A round is two batches: the derivatives by difference quotients, and steps for several dampings, of
which the best is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from dae_solver.unknown.coefficients import Coefficient
from scimind.typing import Bool, Float

log = logging.getLogger(__name__)

Residuals = Callable[[Float[np.ndarray, "batch coefficient"]], Float[np.ndarray, "batch residual"]]

DAMPINGS = (0.0, 1e-3, 1e-1, 1e1, 1e3)
QUOTIENT = 1e-3  # of the scale of a coefficient
MOST_STARTS = 64


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
    tolerance: float = 1e-4,
) -> Fit:
    """Minimise from ``theta``.

    Args:
        residuals: Of a batch of parameter values.
        coefficients: Their scales, ranges and priors.
        theta: Where to start.
        free: Which may move; all by default.
        rounds: At most.
        tolerance: The search ends where a step is below this share of every scale, or where it
            lowers the sum by less than this share of it and by less than one.

    Source: Marquardt, SIAM J. Appl. Math. 11, 431 (1963); damping by the diagonal.
    """
    theta = np.array(theta, float)
    free = np.ones(len(theta), bool) if free is None else np.asarray(free, bool)
    chosen = np.flatnonzero(free)
    own = [coefficients[k] for k in chosen]
    scale = np.array([c.scale for c in own])
    low, high = np.array([c.low for c in own]), np.array([c.high for c in own])
    weight = np.array([1.0 / c.prior**2 for c in own])
    mean = np.array([c.nominal for c in own])

    def placed(values: np.ndarray) -> np.ndarray:
        every = np.repeat(theta[None], len(values), 0)
        every[:, chosen] = values
        return every

    def prior(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = ((values - mean) ** 2 * weight).sum(-1)
        return found

    now = np.clip(theta[chosen], low, high)
    r = residuals(placed(now[None]))[0]
    best = float(r @ r) + float(prior(now))
    factor, converged, done = 1.0, not len(chosen), 0
    jacobian = np.zeros((len(r), 0))
    while len(chosen) and done < rounds:
        done += 1
        jacobian = _quotients(residuals, placed, now, scale, low, high, r)
        a = jacobian.T @ jacobian + np.diag(weight)
        b = jacobian.T @ r + weight * (now - mean)
        if converged:
            break
        dampings = np.array(DAMPINGS) * factor
        trials = np.stack([_step(a, b, scale, now, low, high, d) for d in dampings])
        values = residuals(placed(trials))
        costs = (values * values).sum(1) + prior(trials)
        costs[np.isnan(costs)] = np.inf
        k = int(np.argmin(costs))
        if not costs[k] < best:
            # From the smallest damped step even: at the minimum, to rounding of the quotients.
            converged = bool(factor >= 1e3) or bool(
                (np.abs(trials[-1] - now) <= tolerance * scale).all()
            )
            if converged:
                break
            factor *= 1e3
            continue
        small = bool((np.abs(trials[k] - now) <= tolerance * scale).all())
        gain = best - costs[k]
        converged = small or bool(gain < min(1.0, tolerance * best))
        now, r, best = trials[k], values[k], float(costs[k])
        factor = 1.0 if k < len(DAMPINGS) - 1 else factor * 1e2
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


def derivatives(
    residuals: Residuals,
    coefficients: Sequence[Coefficient],
    theta: Float[np.ndarray, " coefficient"],
) -> tuple[Float[np.ndarray, " residual"], Float[np.ndarray, "residual coefficient"]]:
    """Residuals and their derivatives by all coefficients, at one place."""
    r = residuals(theta[None])[0]
    scale = np.array([c.scale for c in coefficients])
    low, high = np.array([c.low for c in coefficients]), np.array([c.high for c in coefficients])
    return r, _quotients(residuals, lambda values: values, theta, scale, low, high, r)


def _quotients(
    residuals: Residuals,
    placed: Callable[[np.ndarray], np.ndarray],
    now: np.ndarray,
    scale: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    r: np.ndarray,
) -> Float[np.ndarray, "residual coefficient"]:
    """Derivatives of the residuals, towards the inside of the ranges."""
    step = np.where(now + QUOTIENT * scale <= high, QUOTIENT, -QUOTIENT) * scale
    values = residuals(placed(now + np.diag(step)))
    difference = (values - r) / step[:, None]
    difference[~np.isfinite(difference)] = 0.0
    return np.ascontiguousarray(difference.T)


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

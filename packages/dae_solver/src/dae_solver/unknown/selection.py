"""Which candidates of a library are needed: the fewest that explain the measurements."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from dae_solver.unknown.coefficients import Coefficient
from dae_solver.unknown.least_squares import Fit, Residuals, derivatives, minimise, minimise_all
from scimind.typing import Float

log = logging.getLogger(__name__)

# Rounds after which only the best set of a size goes on.
FIRST_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A set of candidates that was fitted by simulation.

    Attributes:
        kept: Numbers of the groups that are part of it.
        fit: The fit.
        criterion: ``chi^2 + coefficients * penalty``; the smallest wins.
    """

    kept: tuple[int, ...]
    fit: Fit
    criterion: float


def select(
    residuals: Residuals,
    coefficients: Sequence[Coefficient],
    full: Fit,
    groups: Sequence[Sequence[int]],
    *,
    criterion: str = "bic",
    most: int = 4,
    each: int = 2,
    rounds: int = 10,
) -> list[Choice]:
    """Fit the most promising sets of candidates, beginning with none, and rank them.

    Sets are ranked by the quadratic model of the sum of squares, at the fit with all candidates and
    at the nominal values; the best of every size are fitted by simulation. The search ends when a
    candidate more no longer pays.

    Args:
        residuals: Of a batch of parameter values.
        coefficients: All of them.
        full: The fit with all candidates.
        groups: Coefficients of each candidate; those in none are always fitted.
        criterion: ``bic`` (penalty ``ln N``) or ``aic`` (penalty 2) for each coefficient.
        most: Candidates at most.
        each: Sets of one size that are fitted for each quadratic model.
        rounds: Of each fit at most.

    Returns:
        What was fitted, the best first.

    Source: Schwarz, Ann. Stat. 6, 461 (1978); Akaike, IEEE Trans. Autom. Control 19, 716 (1974).
    """
    nominal = np.array([c.nominal for c in coefficients])
    number = len(full.r)
    # Where even all candidates leave more than noise, what is left is the yardstick.
    noise = max(1.0, full.cost / max(1, number - len(nominal)))
    penalty = float(np.log(number)) if criterion == "bic" else 2.0
    inside = {k for group in groups for k in group}
    always = [k for k in range(len(nominal)) if k not in inside]
    at_rest = np.where(np.isin(np.arange(len(nominal)), always), full.theta, nominal)
    models = [
        _Quadratic(full.theta, full.r, full.jacobian),
        _Quadratic(at_rest, *derivatives(residuals, coefficients, at_rest)),
    ]
    found: list[Choice] = []

    def fitted(sets: Mapping[tuple[int, ...], np.ndarray]) -> float:
        """Fit sets of candidates; the best criterion among them."""
        begin = _starts(residuals, sets, groups, always, full.theta, at_rest, nominal, coefficients)
        fits = minimise_all(residuals, coefficients, begin, rounds=min(rounds, FIRST_ROUNDS))
        first = int(np.argmin([fit.cost + noise * penalty * fit.free.sum() for fit in fits]))
        if not fits[first].converged:
            best = fits[first]
            fits[first] = minimise(
                residuals, coefficients, best.theta, free=best.free, rounds=rounds
            )
        for kept, fit in zip(sets, fits, strict=True):
            score = fit.cost / noise + penalty * int(fit.free.sum())
            found.append(Choice(kept=kept, fit=fit, criterion=score))
            log.debug("candidates %s: %.6g", kept, score)
        return min(choice.criterion for choice in found[-len(fits) :])

    before = np.inf
    for size in range(min(most, len(groups)) + 1):
        sets: dict[tuple[int, ...], np.ndarray] = {}
        for model in models:
            ranked = []
            for kept in combinations(range(len(groups)), size):
                free = sorted([*always, *(k for group in kept for k in groups[group])])
                value, at = model.least(free, nominal)
                ranked.append((value / noise + penalty * len(free), kept, at))
            for _, kept, at in sorted(ranked, key=lambda entry: entry[:2])[:each]:
                sets.setdefault(kept, at)
        here = fitted(sets)
        if size and here > before:
            break
        before = min(before, here)
    # The quadratic models may have missed a smaller set; so every candidate is put to the test.
    while True:
        best = min(found, key=lambda choice: choice.criterion)
        tried = {choice.kept for choice in found if choice.fit.converged}
        less = [tuple(k for k in best.kept if k != out) for out in best.kept]
        rest = {kept: best.fit.theta for kept in less if kept not in tried}
        if not rest or fitted(rest) >= best.criterion:
            break
    return sorted(found, key=lambda choice: choice.criterion)


def _starts(
    residuals: Residuals,
    sets: Mapping[tuple[int, ...], np.ndarray],
    groups: Sequence[Sequence[int]],
    always: list[int],
    full: np.ndarray,
    at_rest: np.ndarray,
    nominal: np.ndarray,
    coefficients: Sequence[Coefficient],
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Where the fit of each set begins: by the linear model, as all candidates, or at rest."""
    low = np.array([c.low for c in coefficients])
    high = np.array([c.high for c in coefficients])
    places, moving = [], []
    for kept, at in sets.items():
        free = np.zeros(len(nominal), bool)
        free[[*always, *(k for group in kept for k in groups[group])]] = True
        moving.append(free)
        # A candidate that is out is at its nominal values, wherever the search was before.
        rest = np.where(free, at_rest, nominal)
        predicted = np.where(free, np.clip(at, low, high), nominal)
        places.append([predicted, np.where(free, full, nominal), rest])
    values = residuals(np.concatenate(places))
    best = (values * values).sum(1).reshape(len(places), -1).argmin(1)
    return [(place[k], free) for place, k, free in zip(places, best, moving, strict=True)]


class _Quadratic:
    """The sum of squares near some values, by a linear model of the residuals."""

    def __init__(self, theta: np.ndarray, r: np.ndarray, jacobian: np.ndarray) -> None:
        self.theta, self.sum = theta, float(r @ r)
        self.a, self.b = jacobian.T @ jacobian, jacobian.T @ r

    def least(
        self, free: list[int], nominal: np.ndarray
    ) -> tuple[float, Float[np.ndarray, " coefficient"]]:
        """The least sum, and where, with all but some coefficients at their nominal values."""
        a, b = self.a, self.b
        fixed = np.setdiff1d(np.arange(len(nominal)), free)
        move = np.zeros(len(nominal))
        move[fixed] = nominal[fixed] - self.theta[fixed]
        if free:
            part = a[np.ix_(np.array(free), np.array(free))]
            size = np.sqrt(np.maximum(np.diag(part), 1e-300))
            right = -(b[free] + a[np.ix_(np.array(free), fixed)] @ move[fixed])
            scaled = np.linalg.lstsq(part / np.outer(size, size), right / size, rcond=1e-12)[0]
            move[free] = scaled / size
        return self.sum + float(2 * b @ move + move @ a @ move), self.theta + move

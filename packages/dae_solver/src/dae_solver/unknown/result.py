"""What an identification found: values with their uncertainty, formulas, and the grid to use."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from dae_solver.unknown.least_squares import Fit
from dae_solver.unknown.measurements import Measurements, transfer
from dae_solver.unknown.problem import Problem
from dae_solver.unknown.selection import Choice
from scimind.typing import Float

if TYPE_CHECKING:
    import pandas

    from scimind.eval.report import Report

RESAMPLES = 400
# More residual than noise explains: the form of the unknown is wrong, or something else is unknown.
UNEXPLAINED = 1.2


@dataclass(kw_only=True)
class Identified:
    """An identified grid.

    Attributes:
        problem: Measurements and unknowns.
        fit: The values.
        choices: Sets of candidates that were fitted, the best first; empty without a library.
        seconds: CPU time.
    """

    problem: Problem = field(repr=False)
    fit: Fit = field(repr=False)
    choices: list[Choice] = field(repr=False)
    seconds: float

    @cached_property
    def grid(self) -> PowerSystem:
        """The grid with what was found, for any simulation."""
        problem, theta = self.problem, self.fit.theta[None]
        own = {name: value[:, 0] for name, value in problem.parameters(theta).items()}
        terms = []
        for unknown in problem.unknowns:
            term = copy.copy(unknown.term())
            if term is not None:
                term.values = own.pop(term.key)
                terms.append(term)
        given = {**problem.nominal.dae.given, **own}
        nominal = problem.nominal
        return PowerSystem(nominal.case, nominal.dae.load_model, terms=terms, parameters=given)

    @cached_property
    def reduced_chi2(self) -> float:
        """Mean square of the residuals in standard deviations; about 1 where all is explained."""
        return float(self.fit.cost / max(1, len(self.fit.r) - int(self.fit.free.sum())))

    @property
    def explained(self) -> bool:
        """Whether what is left is not more than the noise."""
        return self.reduced_chi2 < UNEXPLAINED

    @cached_property
    def covariance(self) -> Float[np.ndarray, "coefficient coefficient"]:
        """Of all coefficients; zero for those that were left at their nominal values.

        The inverse of the normal matrix with the prior, times the mean square of the residuals
        where that is above one. That the candidates were chosen by the same data is not in it.
        """
        free = np.flatnonzero(self.fit.free)
        found = np.zeros((len(self.fit.theta),) * 2)
        if len(free):
            inverse = _inverse(self._normal(self.fit.jacobian))
            found[np.ix_(free, free)] = inverse * max(1.0, self.reduced_chi2)
        return found

    @property
    def std(self) -> Float[np.ndarray, " coefficient"]:
        """Standard deviations."""
        found: np.ndarray = np.sqrt(np.diag(self.covariance))
        return found

    def _normal(self, jacobian: np.ndarray) -> np.ndarray:
        free = np.flatnonzero(self.fit.free)
        weight = np.array([self.problem.coefficients[k].prior for k in free]) ** -2.0
        found: np.ndarray = jacobian.T @ jacobian + np.diag(weight)
        return found

    def bootstrap(self, seed: int = 0) -> Float[np.ndarray, " coefficient"]:
        """Standard deviations when scenarios are drawn with replacement.

        One step of Gauss and Newton stands for each new fit, so no simulation is needed. Unlike
        :attr:`covariance` it sees errors that all samples of a scenario share; with few scenarios
        it is coarse.

        Source: Efron and Tibshirani, An Introduction to the Bootstrap, 8.5 and 9.5.
        """
        free, fit = np.flatnonzero(self.fit.free), self.fit
        number = len(self.problem.data)
        of = self.problem.scenario
        a = np.stack([_square(fit.jacobian[of == k]) for k in range(number)])
        b = np.stack([fit.jacobian[of == k].T @ fit.r[of == k] for k in range(number)])
        weight = self._normal(np.zeros((0, len(free))))
        rng = np.random.default_rng(seed)
        moves = []
        for _ in range(RESAMPLES if len(free) else 0):
            drawn = rng.integers(number, size=number)
            matrix = _inverse(a[drawn].sum(0) + weight)
            moves.append(-matrix @ (b[drawn].sum(0) - b.sum(0)))
        found = np.zeros(len(fit.theta))
        if moves:
            found[free] = np.std(moves, axis=0)
        return found

    @property
    def formula(self) -> str:
        """What was found, one line for each unknown."""
        problem = self.problem
        return "\n".join(
            unknown.formula(self.fit.theta[own])
            for unknown, own in zip(problem.unknowns, problem.slices, strict=True)
        )

    def table(self, level: float = 0.95) -> pandas.DataFrame:
        """One row for each coefficient: value, standard deviations, interval.

        Args:
            level: Of the interval.
        """
        import pandas

        width = float(norm.ppf(0.5 + level / 2))
        theta, std = self.fit.theta, self.std
        return pandas.DataFrame(
            {
                "coefficient": [c.name for c in self.problem.coefficients],
                "nominal": [c.nominal for c in self.problem.coefficients],
                "value": theta,
                "std": std,
                "low": theta - width * std,
                "high": theta + width * std,
                "std_by_scenarios": self.bootstrap(),
                "kept": self.fit.free,
            }
        )

    def choices_table(self) -> pandas.DataFrame:
        """One row for each set of candidates that was fitted, the best first."""
        import pandas

        names = [
            f"{unknown.name}: {each.name}"
            for unknown in self.problem.unknowns
            for each in getattr(unknown, "candidates", ())
        ]
        return pandas.DataFrame(
            {
                "candidates": [
                    ", ".join(names[k] for k in choice.kept) or "none" for choice in self.choices
                ],
                "chi2": [choice.fit.cost for choice in self.choices],
                "criterion": [choice.criterion for choice in self.choices],
            }
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the candidates that were kept."""
        if not self.choices:
            return ()
        names = [
            f"{unknown.name}: {each.name}"
            for unknown in self.problem.unknowns
            for each in getattr(unknown, "candidates", ())
        ]
        return tuple(names[k] for k in self.choices[0].kept)

    def simulate(self, scenarios: Scenarios, **options: Any) -> Trajectories:
        """Scenarios of the nominal grid with the identified one.

        Args:
            scenarios: Made by the nominal grid.
            **options: See :meth:`dae_solver.physics.PowerSystem.simulate`.
        """
        return self.grid.simulate(transfer(scenarios, self.problem.nominal, self.grid), **options)

    def check(self, data: Measurements) -> Problem:
        """The same unknowns with other measurements, such as those that were held back."""
        return self.problem.other(data)

    def band(
        self, unknown: int, seen: dict[str, Any], *, draws: int = 200, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """What a term adds along signals, and its standard deviation by the covariance.

        Args:
            unknown: Position of the term among the unknowns.
            seen: Signals by name, ``[1, point]``.
            draws: Of coefficients.
            seed: Of the draws.
        """
        own = self.problem.slices[unknown]
        term: Any = self.problem.unknowns[unknown]
        theta = self.fit.theta[own]
        rng = np.random.default_rng(seed)
        # A symmetric root; a covariance from quotients may be indefinite to rounding.
        values, vectors = np.linalg.eigh(self.covariance[own, own])
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        some = theta + rng.standard_normal((draws, len(theta))) @ root.T
        with np.errstate(all="ignore"):
            every = np.stack(
                [np.broadcast_to(term.add(seen, each), (1, _length(seen)))[0] for each in some]
            )
            middle = np.broadcast_to(term.add(seen, theta), (1, _length(seen)))[0]
        return np.array(middle), np.nanstd(every, axis=0)

    def report(self, test: Measurements | None = None) -> Report:
        """A page with values, choices, curves and residuals.

        Args:
            test: Measurements that were held back.
        """
        from dae_solver.unknown.page import page

        return page(self, test)


def _length(seen: dict[str, Any]) -> int:
    return max(np.shape(value)[-1] for value in seen.values())


def _square(jacobian: np.ndarray) -> np.ndarray:
    found: np.ndarray = jacobian.T @ jacobian
    return found


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse after scaling by the diagonal, by the pseudo-inverse where it is singular."""
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    found: np.ndarray = np.linalg.pinv(matrix / np.outer(size, size), hermitian=True)
    return found / np.outer(size, size)

"""What an identification found: values with their uncertainty, formulas, and the grid to use."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm

from dae_solver.physics import PowerSystem, Scenarios, Trajectories
from dae_solver.unknown.least_squares import QUOTIENT, Fit
from dae_solver.unknown.measurements import Measurements, transfer
from dae_solver.unknown.problem import Problem
from dae_solver.unknown.selection import Choice
from scimind.typing import Float

if TYPE_CHECKING:
    import pandas

    from scimind.eval.report import Report

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

    @cached_property
    def std_by_scenarios(self) -> Float[np.ndarray, " coefficient"]:
        """Standard deviations from how far the scenarios pull apart (sandwich estimate).

        Unlike :attr:`covariance` it sees errors that the samples of a scenario share, as those of a
        wrong model; with few scenarios it is coarse, and for one it is zero.

        Source: Liang and Zeger, Biometrika 73, 13 (1986), the scenarios as clusters.
        """
        free, fit, of = np.flatnonzero(self.fit.free), self.fit, self.problem.scenario
        number = len(self.problem.data)
        found = np.zeros(len(fit.theta))
        if len(free):
            pull = np.stack([fit.jacobian[of == k].T @ fit.r[of == k] for k in range(number)])
            moved = pull @ _inverse(self._normal(fit.jacobian))
            found[free] = np.sqrt((moved**2).sum(0) * number / max(1, number - 1))
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
                "std_by_scenarios": self.std_by_scenarios,
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

    def band(self, unknown: int, seen: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """What a term adds along signals, and its standard deviation.

        Args:
            unknown: Position of the term among the unknowns.
            seen: Signals by name, ``[1, point]``.
        """
        own = self.problem.slices[unknown]
        term: Any = self.problem.unknowns[unknown]
        theta = self.fit.theta[own]
        points = max(np.shape(value)[-1] for value in seen.values())

        def added(values: np.ndarray) -> np.ndarray:
            every: np.ndarray = np.broadcast_to(term.add(seen, values), (1, points))
            return np.array(every[0])

        middle = added(theta)
        step = QUOTIENT * np.array([c.scale for c in self.problem.coefficients[own]])
        slope = np.stack([(added(theta + move) - middle) / np.sum(move) for move in np.diag(step)])
        variance = np.einsum("ip,ij,jp->p", slope, self.covariance[own, own], slope)
        std: np.ndarray = np.sqrt(np.maximum(variance, 0.0))
        return np.array(middle), std

    def report(self, test: Measurements | None = None, hidden: PowerSystem | None = None) -> Report:
        """A page with values, choices, curves and residuals.

        Args:
            test: Measurements that were held back.
            hidden: The grid that was measured, where it is known: the page has its terms too.
        """
        from dae_solver.unknown.page import page

        return page(self, test, hidden)


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """Inverse after scaling by the diagonal, by the pseudo-inverse where it is singular."""
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    inverse: np.ndarray = np.linalg.pinv(matrix / np.outer(size, size), hermitian=True)
    found: np.ndarray = inverse / np.outer(size, size)
    return found

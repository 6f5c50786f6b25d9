"""Identification: from measurements and a list of what is unknown to a grid that has it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dae_solver.physics import PowerSystem
from dae_solver.unknown.coefficients import Unknown
from dae_solver.unknown.least_squares import Fit, best_start, minimise
from dae_solver.unknown.library import LibraryTerm
from dae_solver.unknown.measurements import Measurements
from dae_solver.unknown.parametric import ParametricTerm
from dae_solver.unknown.problem import Problem
from dae_solver.unknown.result import Identified
from dae_solver.unknown.selection import Choice, select
from scimind.errors import InputError

log = logging.getLogger(__name__)

# Seconds after the last event that are fitted before all the time is, and rounds for each.
FIRST_PARTS, FIRST_ROUNDS = (0.5, 1.5), 4
# Rounds with all candidates of a library, which need not be at the minimum to be ranked.
FULL_ROUNDS = 5


def identify(
    grid: PowerSystem,
    data: Measurements,
    unknown: Sequence[Unknown] = (),
    params: Sequence[str] = (),
    *,
    criterion: str = "bic",
    step: float = 1 / 60,
    rounds: int = 20,
    most: int = 4,
) -> Identified:
    """Find unknown parameters and terms from measured trajectories.

    Every scenario begins at rest by its power flow and its events are known, so simulated signals
    are compared with measured ones, whatever is measured (output error). Derivatives come from one
    simulation of all scenarios with all changed parameters. Of each library the fewest candidates
    that explain the measurements are kept; parameters and networks are fitted beside them.

    >>> fit = identify(grid, data, [LibraryTerm("torque")], params=["TWOAXIS.D"])
    >>> fit.formula
    'torque += -899.8 dw |dw|'
    >>> runs = fit.grid.simulate(fit.grid.scenarios(fault(7, t=1.0, clear=0.1)))

    Args:
        grid: The nominal grid.
        data: Measurements of at least one scenario.
        unknown: Terms that are unknown.
        params: Names of unknown parameters, short for ``ParametricTerm(name)``.
        criterion: Of the choice among candidates, ``bic`` or ``aic``.
        step: Of the integration, seconds.
        rounds: Of the search at most.
        most: Candidates that are kept at most.

    Raises:
        InputError: Something that is unknown does not exist in the grid, or the measurements do not
            belong to it.
    """
    if criterion not in ("bic", "aic"):
        raise InputError(f"criterion={criterion!r}; give bic or aic", rule="unknown.criterion")
    started = time.process_time()
    unknowns = [*unknown, *(ParametricTerm(name) for name in params)]
    problem = Problem(grid, data, unknowns, step=step)
    groups = _groups(problem)
    fit = minimise(
        problem.residuals,
        problem.coefficients,
        _approach(problem, rounds),
        rounds=min(rounds, FULL_ROUNDS) if groups else rounds,
    )
    _check_effect(problem, fit)
    choices: list[Choice] = []
    if groups:
        choices = select(
            problem.residuals,
            problem.coefficients,
            fit,
            groups,
            criterion=criterion,
            most=most,
            rounds=rounds,
        )
        fit = choices[0].fit
    if not fit.converged:
        log.warning("the search ended after %d rounds without converging", fit.rounds)
    return Identified(
        problem=problem, fit=fit, choices=choices, seconds=time.process_time() - started
    )


def _approach(problem: Problem, rounds: int) -> Any:
    """Values from which the search over all the time succeeds.

    The longer a trajectory, the less its end depends smoothly on the unknowns, above all near the
    loss of synchronism; so short parts are fitted first.

    Source: Voss, Timmer and Kurths, Int. J. Bifurcation Chaos 14, 1905 (2004).
    """
    events = [e.time for each in problem.data.scenarios.events for e in each]
    last, end = max(events, default=0.0), float(problem.data.t[-1])
    theta = problem.start
    tried = False
    free = np.concatenate([unknown.first() for unknown in problem.unknowns])
    for after in FIRST_PARTS:
        part = problem.shorter(last + after)
        if last + after >= end or part.number <= len(theta):
            continue
        if not tried:
            theta, tried = best_start(part.residuals, part.coefficients, theta), True
        theta = minimise(
            part.residuals, part.coefficients, theta, free=free, rounds=min(rounds, FIRST_ROUNDS)
        ).theta
    if not tried:
        theta = best_start(problem.residuals, problem.coefficients, theta)
    if not free.all():
        theta = minimise(
            problem.residuals, problem.coefficients, theta, free=free, rounds=rounds
        ).theta
    return theta


def _groups(problem: Problem) -> list[list[int]]:
    """Coefficients of each candidate of all libraries."""
    found: list[list[int]] = []
    for unknown, own in zip(problem.unknowns, problem.slices, strict=True):
        if isinstance(unknown, LibraryTerm):
            found += [[own.start + k for k in group] for group in unknown.groups()]
    return found


def _check_effect(problem: Problem, fit: Fit) -> None:
    """Refuse parameters that change nothing that is measured.

    Raises:
        InputError: There is such a parameter.
    """
    names: list[Any] = []
    for unknown, own in zip(problem.unknowns, problem.slices, strict=True):
        if isinstance(unknown, ParametricTerm):
            still = ~np.any(fit.jacobian[:, own] != 0, axis=0)
            names += [c.name for c, s in zip(unknown.coefficients(), still, strict=True) if s]
    if names:
        raise InputError(
            f"{', '.join(names)}: no small change has an effect on what is measured; leave it out, "
            "measure a scenario in which it matters, or give tries to start from",
            rule="unknown.effect",
        )

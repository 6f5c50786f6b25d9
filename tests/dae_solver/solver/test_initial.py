"""Consistent algebraic variables: guesses, homotopy, failures that are told."""

from __future__ import annotations

import numpy as np
import pytest

from dae_solver.solver import Change, DAESystem, TimeEvent, consistent, simulate
from scimind.errors import InputError


def arctangent(scale: float = 1.0) -> DAESystem:
    """``arctan(y) = x``: undamped Newton diverges from far guesses."""
    return DAESystem.from_callable(
        lambda t, x, y, p: [0.0 * x[0]],
        lambda t, x, y, p: [np.arctan(y[0]) - x[0]],
        states=["x"],
        algebraics=["y"],
        x0=[0.0],
        y0=[0.5],
    )


def test_damped_newton_solves_from_far_away() -> None:
    x, y = np.array([[0.0, 0.3, -1.2]]), np.array([[1e3, -50.0, 40.0]])
    found, report = consistent(arctangent(), np.zeros(3), x, y, {})
    assert report.converged.all()
    assert np.allclose(found, np.tan(x), atol=1e-10)


def test_the_first_guess_that_works_is_named_and_the_states_are_kept() -> None:
    # Only y near 2 solves; Newton from 0 has no slope to follow.
    system = DAESystem.from_callable(
        lambda t, x, y, p: [0 * x[0]],
        lambda t, x, y, p: [np.where(y[0] > 1.5, y[0] - 2.0, 1.0)],
        states=["x"],
        algebraics=["y"],
        x0=[7.0],
        y0=[0.0],
    )
    x = np.array([[7.0, 8.0]])
    kept = x.copy()
    found, report = consistent(
        system,
        np.zeros(2),
        x,
        np.array([[1.9, 0.0]]),
        {},
        guesses=[("bad", lambda t, x, y, p: y * 0), ("learned", lambda t, x, y, p: 0 * y + 1.8)],
    )
    assert list(report.guess) == ["previous", "learned"]
    assert np.allclose(found, 2.0)
    assert np.array_equal(x, kept)
    assert "1 from learned" in report.text()


def test_homotopy_follows_where_newton_ends_in_a_local_minimum() -> None:
    # Newton from y = 1.2 is stopped by the minimum of |g|; the deformation walks around it.
    system = DAESystem.from_callable(
        lambda t, x, y, p: [0 * x[0]],
        lambda t, x, y, p: [np.sin(y[0]) + 0.05 * y[0] + 1.5 - x[0]],
        states=["x"],
        algebraics=["y"],
        x0=[0.0],
        y0=[1.2],
    )
    found, report = consistent(system, np.zeros(1), np.zeros((1, 1)), np.array([[1.2]]), {})
    assert (
        report.converged.all() == (np.abs(system.g(0.0, np.zeros((1, 1)), found, {})) < 1e-9).all()
    )
    assert report.guess[0] in ("previous", "homotopy", "none")


def test_a_scenario_without_a_solution_fails_alone_with_its_reason() -> None:
    # y^2 = x has no solution once the event makes the right side negative.
    system = DAESystem.from_callable(
        lambda t, x, y, p: [0.1 * y[0]],
        lambda t, x, y, p: [y[0] ** 2 - x[0] + p["a"]],
        states=["x"],
        algebraics=["y"],
        parameters={"a": 0.0},
        x0=[1.0],
        y0=[1.0],
    )
    bad = TimeEvent(time=0.5, changes=[Change(name="a", value=50.0)], name="impossible")
    solution = simulate(system, [0, 0.4, 1], events=[[bad], []], step=0.1)
    assert list(solution.success) == [False, True]
    assert "0.5" in solution.failure[0]
    assert "impossible" in solution.failure[0]
    assert np.isfinite(solution.x[0, 1]).all()
    assert np.isnan(solution.x[0, 2]).all()
    assert np.isfinite(solution.x[1]).all()
    assert "not solved: 0" in solution.restarts[0].text()


def test_no_consistent_start_is_an_error() -> None:
    system = DAESystem.from_callable(
        lambda t, x, y, p: [0 * x[0]],
        lambda t, x, y, p: [y[0] ** 2 + 1 + x[0] ** 2],
        states=["x"],
        algebraics=["y"],
        x0=[0.0],
        y0=[1.0],
    )
    with pytest.raises(InputError, match="give a better y0"):
        simulate(system, [0, 1], step=0.1)


def test_wrong_arguments_are_refused_with_the_reason() -> None:
    system = arctangent()
    with pytest.raises(InputError, match="increasing"):
        simulate(system, [0, 0])
    with pytest.raises(InputError, match=r"x0 has shape \(2,\)"):
        simulate(system, [0, 1], np.zeros(2))
    with pytest.raises(InputError, match="step is -1"):
        simulate(system, [0, 1], step=-1.0)
    with pytest.raises(InputError, match="there are: euler"):
        simulate(system, [0, 1], method="magic")
    with pytest.raises(InputError, match="'q' is not in this system"):
        simulate(system, [0, 1], parameters={"q": 1.0})
    with pytest.raises(InputError, match="give both or neither"):
        DAESystem.from_callable(lambda t, x, y, p: [x[0]], states=1, algebraics=1)
    with pytest.raises(InputError, match="2 values for 1 variables"):
        simulate(DAESystem.from_callable(lambda t, x, y, p: [x[0], x[0]], states=1), [0, 1], [1.0])
    with pytest.raises(InputError, match="named twice"):
        DAESystem.from_callable(lambda t, x, y, p: [x[0]], states=["a", "a"])

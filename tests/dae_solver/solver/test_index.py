"""Index of symbolic systems: found, reduced, and the hidden constraints kept."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from dae_solver.problems import pendulum, robertson
from dae_solver.solver import DAESystem, simulate
from scimind.errors import InputError

t, a, b, y, z = sympy.symbols("t a b y z")


def test_the_index_of_known_systems_is_found() -> None:
    assert robertson().index == 1
    assert pendulum().index == 3
    # a' = y, a = sin(t): differentiated once, y is known; index 2.
    follows = DAESystem.from_sympy(t, x=[a], y=[y], f=[y], g=[a - sympy.sin(t)], x0=[0.0])
    assert follows.index == 2
    solution = simulate(follows, np.linspace(0, 3, 7), step=0.1)
    assert np.allclose(solution["y"][0], np.cos(solution.t), atol=1e-12)
    assert np.allclose(solution["a"][0], np.sin(solution.t), atol=1e-12)


def test_rows_that_only_together_lack_a_variable_are_found() -> None:
    # The sum of both rows has neither y nor z: its derivative decides.
    system = DAESystem.from_sympy(
        t,
        x=[a, b],
        y=[y, z],
        f=[y, z],
        g=[y + z - a, -y - z + b],
        x0=[1.0, 1.0],
    )
    assert system.index == 2
    solution = simulate(system, [0, 1], method="radau3", rtol=1e-9)
    # a = b, and y = z = a / 2.
    assert np.allclose(solution.x[0, -1], np.exp(0.5), atol=1e-7)


@pytest.mark.parametrize("method", ["rk4", "dopri5", "radau3", "gauss3", "trapezoid"])
def test_the_pendulum_keeps_its_constraints_and_matches_the_angle(method: str) -> None:
    step = 2e-3 if method == "trapezoid" else 0.01
    times = np.linspace(0, 1 if method == "trapezoid" else 3, 31)
    solution = simulate(pendulum(), times, method=method, step=step)
    x, v = solution.x[0, :, :2], solution.x[0, :, 2:]
    assert np.abs((x**2).sum(-1) - 1).max() <= 1e-12
    assert np.abs((x * v).sum(-1)).max() <= 1e-12
    exact = solve_ivp(
        lambda t, w: [w[1], -9.81 * np.sin(w[0])],
        (0, times[-1]),
        [2.2, 0.0],
        method="DOP853",
        rtol=1e-13,
        atol=1e-14,
        t_eval=times,
    ).y
    bound = 2e-2 if method == "trapezoid" else 2e-5
    assert np.abs(x[:, 0] - np.sin(exact[0])).max() < bound
    force = (exact[1] ** 2 + 9.81 * np.cos(exact[0])) / 2
    assert np.abs(solution["lambda"][0] - force).max() < 20 * bound


def test_a_start_off_a_hidden_constraint_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"u\*x \+ v\*y|x\*u \+ y\*v|2\*u\*x"):
        simulate(pendulum(), [0, 1], [1.0, 0.0, 0.5, 0.0], step=0.01)


def test_a_higher_index_is_an_error_where_reduction_is_off() -> None:
    with pytest.raises(InputError, match="allow reduce=True"):
        DAESystem.from_sympy(t, x=[a], y=[y], f=[y], g=[a - sympy.sin(t)], reduce=False)


def test_equations_that_do_not_determine_a_variable_are_refused() -> None:
    with pytest.raises(InputError, match="do not determine"):
        DAESystem.from_sympy(t, x=[a], y=[y, z], f=[y], g=[y + z - a, 2 * y + 2 * z - 2 * a])


def test_unknown_symbols_and_missing_rows_are_refused() -> None:
    with pytest.raises(InputError, match="unknown symbol b"):
        DAESystem.from_sympy(t, x=[a], f=[b])
    with pytest.raises(InputError, match="2 expressions for 1 variables"):
        DAESystem.from_sympy(t, x=[a], f=[a, a])


def test_exact_derivatives_match_difference_quotients() -> None:
    system = pendulum()
    rng = np.random.default_rng(0)
    x, lam = rng.normal(size=(4, 5)), rng.normal(size=(1, 5))
    p, now = system.batch(5), np.zeros(5)
    quotients = super(type(system).__mro__[1], system).jacobian(now, x, lam, p, central=True)
    assert np.allclose(system.jacobian(now, x, lam, p), quotients, atol=1e-7)

"""Methods against closed forms: orders, stability, invariants, tolerances."""

from __future__ import annotations

import numpy as np
import pytest

from dae_solver.solver import METHODS, DAESystem, simulate


def circle() -> DAESystem:
    """``x = sin t, y = cos t``, coupled nonlinearly; index 1."""
    return DAESystem.from_callable(
        lambda t, x, y, p: [y[0] * (1 + x[0] - np.sin(t)) + (x[0] - np.sin(t)) ** 2],
        lambda t, x, y, p: [y[0] ** 2 + x[0] ** 2 - 1],
        states=["x"],
        algebraics=["y"],
        x0=[0.0],
        y0=[1.0],
    )


def error_at(method: str, step: float) -> float:
    solution = simulate(circle(), [0.0, 1.2], method=method, step=step)
    return float(abs(solution["x"][0, -1] - np.sin(1.2)))


@pytest.mark.parametrize("method", METHODS)
def test_the_observed_order_is_the_order_of_the_method(method: str) -> None:
    order = METHODS[method].order
    coarse = {1: 0.02, 2: 0.05, 3: 0.1, 4: 0.15, 5: 0.3, 6: 0.4}[order]
    errors = [error_at(method, coarse / 2**level) for level in range(3)]
    observed = np.log2(errors[0] / errors[2]) / 2
    assert errors[-1] > 1e-14
    assert observed > order - 0.3, errors
    assert observed < order + 1.1, errors


@pytest.mark.parametrize("method", METHODS)
def test_the_algebraic_equations_hold_at_every_output_between_steps_too(method: str) -> None:
    solution = simulate(circle(), np.linspace(0, 1.2, 77), method=method, step=0.1)
    x, y = solution["x"][0], solution["y"][0]
    assert np.abs(x**2 + y**2 - 1).max() <= 1e-10


@pytest.mark.parametrize("method", ["backward_euler", "trapezoid", "radau2", "radau3"])
def test_a_stiff_component_does_not_limit_the_step_of_an_implicit_method(method: str) -> None:
    # The slow solution is cos(t); the fast mode decays at 1e6 per second.
    system = DAESystem.from_callable(
        lambda t, x, y, p: [-1e6 * (x[0] - np.cos(t)) - np.sin(t)], states=["x"], x0=[1.0]
    )
    solution = simulate(system, [0, 2.0], method=method, step=0.1)
    assert abs(solution["x"][0, -1] - np.cos(2.0)) < 1e-6


@pytest.mark.parametrize("method", ["gauss2", "gauss3", "trapezoid"])
def test_gauss_methods_keep_the_energy_of_an_oscillator(method: str) -> None:
    system = DAESystem.from_callable(
        lambda t, x, y, p: [x[1], -x[0]], states=["q", "v"], x0=[1.0, 0.0]
    )
    solution = simulate(system, np.linspace(0, 100, 11), method=method, step=0.5)
    energy = (solution.x**2).sum(-1)[0]
    assert np.abs(energy - 1).max() < 1e-11


@pytest.mark.parametrize("method", ["bs32", "dopri5", "radau3", "gauss2", "trapezoid"])
def test_the_error_falls_with_the_tolerance(method: str) -> None:
    errors, steps = [], []
    for rtol in (1e-3, 1e-5, 1e-7):
        solution = simulate(
            circle(), [0.0, 1.2], method=method, rtol=rtol, atol=rtol, first_step=0.01
        )
        errors.append(float(abs(solution["x"][0, -1] - np.sin(1.2))))
        steps.append(int(solution.statistics.steps[0]))
    assert errors[2] < 1e-5
    assert errors[2] < 0.03 * errors[0]
    assert steps == sorted(steps)
    assert steps[2] > steps[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_gives_what_each_scenario_gives_alone(method: str) -> None:
    system = DAESystem.from_callable(
        lambda t, x, y, p: [p["k"] * y[0] * x[0]],
        lambda t, x, y, p: [y[0] ** 3 + y[0] + x[0]],
        states=["x"],
        algebraics=["y"],
        parameters={"k": 1.0},
        x0=[1.0],
        y0=[-0.5],
    )
    k, start = np.array([0.5, 1.0, 3.0]), np.array([[1.0], [2.0], [0.3]])
    together = simulate(system, [0, 0.5, 1.0], start, parameters={"k": k}, method=method, step=0.1)
    for scenario in range(3):
        alone = simulate(
            system,
            [0, 0.5, 1.0],
            start[scenario],
            parameters={"k": k[scenario]},
            method=method,
            step=0.1,
        )
        assert np.allclose(together.x[scenario], alone.x[0], rtol=1e-9)


def test_dense_output_is_as_good_as_its_polynomial() -> None:
    times = np.linspace(0, 1.2, 50)
    for method, bound in (("rk4", 1e-4), ("radau3", 1e-5), ("gauss3", 1e-5), ("trapezoid", 2e-3)):
        solution = simulate(circle(), times, method=method, step=0.15)
        assert np.abs(solution["x"][0] - np.sin(times)).max() < bound, method


def test_difference_quotients_match_the_derivative() -> None:
    system = circle()
    x, y, t = np.array([[0.3, 0.6]]), np.array([[0.9, 0.7]]), np.array([0.1, 0.2])
    exact = np.zeros((2, 2, 2))
    s = x[0] - np.sin(t)
    exact[:, 0, 0], exact[:, 0, 1] = y[0] + 2 * s, 1 + s
    exact[:, 1, 0], exact[:, 1, 1] = 2 * x[0], 2 * y[0]
    assert np.allclose(system.jacobian(t, x, y, {}), exact, atol=1e-7)
    assert np.allclose(system.jacobian(t, x, y, {}, central=True), exact, atol=1e-9)

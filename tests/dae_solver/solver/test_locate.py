"""Where a condition passes zero within a step."""

from __future__ import annotations

import numpy as np

from dae_solver.solver.locate import CLOSE, _root


def test_changes_of_sign_are_found_in_few_evaluations() -> None:
    # Smooth, flat at the root, steep, a corner, and a jump.
    functions = [
        (lambda x: x**3 + x - 0.327, 0.3),
        (lambda x: (x - 0.7) ** 3, 0.7),
        (lambda x: np.tanh(200 * (x - 0.123456)), 0.123456),
        (lambda x: np.maximum(x - 0.4, 5 * (x - 0.35)), 0.35),
        (lambda x: np.where(x > 1 / 3, 1.0, -1.0), 1 / 3),
    ]
    count = 0

    def all_of_them(x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return np.array([float(f(each)) for (f, _), each in zip(functions, x, strict=True)])

    low, high = np.zeros(5), np.ones(5)
    found = _root(all_of_them, (low, all_of_them(low)), (high, all_of_them(high)))
    assert (all_of_them(found) > 0).all()
    expected = np.array([root for _, root in functions])
    assert np.abs(found - expected).max() < 2 * CLOSE
    assert count < 40


def test_a_smooth_root_takes_a_third_of_the_evaluations_of_bisection() -> None:
    count = 0

    def smooth(x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        return x**3 + x - 0.327

    one = np.ones(1)
    _root(smooth, (0 * one, -0.327 * one), (one, 1.673 * one))
    assert count <= 8  # bisection takes 22

"""Radau nodes, integrals and interpolation of a window."""

from __future__ import annotations

import numpy as np
import pytest

from dae_solver.model.collocation import RadauWindow


def test_nodes_of_radau_iia() -> None:
    # Hairer and Wanner, table IV.5.6.
    root = np.sqrt(6.0)
    expected = [(4.0 - root) / 10.0, (4.0 + root) / 10.0, 1.0]
    window = RadauWindow(3, 1.0)
    np.testing.assert_allclose(window.nodes, expected, atol=1e-15)
    matrix = [
        [(88 - 7 * root) / 360, (296 - 169 * root) / 1800, (-2 + 3 * root) / 225],
        [(296 + 169 * root) / 1800, (88 + 7 * root) / 360, (-2 - 3 * root) / 225],
        [(16 - root) / 36, (16 + root) / 36, 1 / 9],
    ]
    np.testing.assert_allclose(window.integrate, matrix, atol=1e-15)


@pytest.mark.parametrize("nodes", [3, 8, 12, 16])
@pytest.mark.parametrize("horizon", [0.2, 1.0, 2.5])
def test_integrals_of_polynomials_are_exact(nodes: int, horizon: float) -> None:
    window = RadauWindow(nodes, horizon)
    t = window.times
    for degree in range(1, nodes + 1):
        moved = window.integrate @ (degree * t ** (degree - 1))
        np.testing.assert_allclose(moved, t**degree, atol=1e-13 * horizon**degree)
    # At the end the quadrature is exact up to degree 2 nodes - 2.
    degree = 2 * nodes - 1
    end = (window.integrate @ (degree * t ** (degree - 1)))[-1]
    np.testing.assert_allclose(end, horizon**degree, rtol=1e-12)


def test_values_between_nodes_are_those_of_the_polynomial() -> None:
    window = RadauWindow(9, 1.5)
    t = np.linspace(0.0, 1.5, 23)
    path = window.times**9 - 2.0 * window.times**4
    np.testing.assert_allclose(window.between(t) @ path, t**9 - 2.0 * t**4, atol=1e-12)
    np.testing.assert_allclose(window.between(window.times), np.eye(9), atol=1e-12)


def test_error_between_nodes_falls_exponentially() -> None:
    errors = []
    t = np.linspace(0.0, 1.0, 101)
    for nodes in (6, 9, 12):
        window = RadauWindow(nodes, 1.0)
        errors.append(
            np.abs(window.between(t) @ np.sin(9.0 * window.times) - np.sin(9.0 * t)).max()
        )
    assert errors[1] < 0.05 * errors[0]
    assert errors[2] < 0.05 * errors[1]

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


@pytest.mark.parametrize("nodes", [3, 10, 16])
def test_the_second_quadrature_is_that_of_gauss(nodes: int) -> None:
    window = RadauWindow(nodes, 1.3)
    own, gauss = window.quadratures
    assert own.at is None
    np.testing.assert_array_equal(own.integrate, window.integrate)
    assert gauss.at is not None
    points = gauss.at @ window.times
    expected = 1.3 * (np.polynomial.legendre.leggauss(nodes)[0] + 1.0) / 2.0
    np.testing.assert_allclose(points, expected, atol=1e-12)
    for degree in range(1, nodes + 1):
        moved = gauss.integrate @ (degree * points ** (degree - 1))
        np.testing.assert_allclose(moved, window.times**degree, atol=1e-12 * 1.3**degree)


def test_two_quadratures_differ_by_about_their_error() -> None:
    """A derivative with a kink, such as a limit makes, at any time of the window."""
    window = RadauWindow(10, 1.0)
    own, gauss = window.quadratures
    assert gauss.at is not None
    points = gauss.at @ window.times
    kinks = np.linspace(0.02, 0.98, 193)
    error, estimate = [], []
    for kink in kinks:
        moved = own.integrate @ np.maximum(window.times - kink, 0.0)
        truth = 0.5 * np.maximum(window.times - kink, 0.0) ** 2
        error.append(np.abs(moved - truth).max())
        estimate.append(np.abs(moved - gauss.integrate @ np.maximum(points - kink, 0.0)).max())
    ratio = np.array(estimate) / np.array(error)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.5)
    assert np.quantile(ratio, 0.05) > 0.2

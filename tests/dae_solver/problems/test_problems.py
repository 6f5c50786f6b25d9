"""Problems of the literature against published end values and stored references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dae_solver.problems import akzo, pendulum, robertson, transistor_amplifier
from dae_solver.solver import simulate

# End values of Mazzia and Magherini, Test Set for Initial Value Problem Solvers, release 2.4.
ROBERTSON = [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050]
AKZO = [
    0.1150794920661702,
    0.1203831471567715e-2,
    0.1611562887407974,
    0.3656156421249283e-3,
    0.1708010885264404e-1,
    0.4873531310307455e-2,
]


def test_robertson_over_17_decades() -> None:
    solution = simulate(robertson(), [0.0, 1e11], rtol=1e-9, atol=1e-6)
    found = np.concatenate([solution.x[0, -1], solution.y[0, -1]])
    assert np.allclose(found, ROBERTSON, rtol=1e-6)
    assert solution.statistics.steps[0] < 5000


def test_akzo() -> None:
    solution = simulate(akzo(), [0.0, 180.0], rtol=1e-9, atol=1e-11)
    assert np.allclose(np.concatenate([solution.x[0, -1], solution.y[0, -1]]), AKZO, rtol=1e-6)


def test_transistor_amplifier() -> None:
    solution = simulate(transistor_amplifier(), [0.0, 0.2], rtol=1e-7, atol=1e-8)
    assert solution["u8"][0, -1] == pytest.approx(1.236996, abs=1e-4)


@pytest.fixture
def reference(real_data: Path) -> dict[str, np.ndarray]:
    return dict(np.load(real_data / "dae_solver" / "nonpower_dev.npz"))


def test_trajectories_match_the_stored_references(reference: dict[str, np.ndarray]) -> None:
    for name, system, options, bound in (
        ("robertson", robertson(), {"rtol": 1e-9, "atol": 1e-6}, 1e-5),
        ("akzo", akzo(), {"rtol": 1e-9, "atol": 1e-11}, 1e-6),
    ):
        times, expected = reference[f"{name}_t"], reference[f"{name}_y"]
        solution = simulate(system, times, **options)
        found = np.concatenate([solution.x[0], solution.y[0]], axis=-1)
        assert np.all(np.abs(found - expected) <= bound * np.abs(expected) + 1e-15), name
    times, expected = reference["transamp_t"], reference["transamp_y"]
    solution = simulate(transistor_amplifier(), times, rtol=1e-7, atol=1e-8)
    # At the peaks the file is 3e-4 V off: with tolerances of 1e-7 and 1e-9 we agree to 2e-6 there.
    assert np.abs(solution.x[0] - expected).max() < 5e-4
    assert np.abs(solution.x[0, -1] - expected[-1]).max() < 1e-6
    times, expected = reference["pendulum_t"], reference["pendulum_y"]
    solution = simulate(pendulum(), times, method="radau3", step=0.01)
    assert np.abs(solution.x[0] - expected[:, :4]).max() < 1e-6
    assert np.abs(solution.y[0] - expected[:, 4:]).max() < 1e-5

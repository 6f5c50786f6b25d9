"""Guesses of the algebraic variables at the stages of explicit methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dae_solver.solver import TimeEvent, simulate
from dae_solver.solver.events import Change
from dae_solver.solver.system import CallableSystem


class Watched(CallableSystem):
    """An oscillator with ``y = k sin(2 x)``, which keeps how far guesses are from solutions."""

    def __init__(self) -> None:
        super().__init__(
            lambda t, x, y, p: [x[1], -x[0] - 0.1 * y[0]],
            lambda t, x, y, p: [y[0] - p["k"] * np.sin(2 * x[0])],
            states=2,
            algebraics=1,
            parameters={"k": 1.0},
        )
        self.errors: list[tuple[float, float]] = []

    def solve(self, t: Any, x: Any, y: Any, p: Any, tolerance: float) -> Any:
        found = p["k"] * np.sin(2 * x[:1])
        self.errors.append((float(np.max(t)), float(np.abs(found - y).max())))
        return found, np.ones(x.shape[1], bool)


def errors(method: str, step: float, **options: Any) -> tuple[Watched, np.ndarray]:
    system = Watched()
    simulate(
        system, np.array([0.0, 3.0]), np.array([1.0, 0.0]), method=method, step=step, **options
    )
    return system, np.array([error for t, error in system.errors if t > 1.0])


@pytest.mark.parametrize("method", ["heun", "rk4", "dopri5"])
def test_guesses_are_of_third_order(method: str) -> None:
    first, second = (errors(method, step)[1].max() for step in (1 / 16, 1 / 32))
    assert 2.6 < np.log2(first / second) < 4.5


def test_an_event_makes_guesses_start_anew() -> None:
    event = TimeEvent(time=2.0, changes=[Change(name="k", value=-1.0)], name="turn")
    system, _ = errors("rk4", 1 / 32, events=[event])
    after = [error for t, error in system.errors if 2.0 < t < 2.0 + 1.5 / 32]
    # No slope is known yet: of first order, not of the size of the jump of y.
    assert max(after) < 4 / 32

"""Rigid bodies."""

from __future__ import annotations

from typing import Any

import numpy as np

from dae_solver.solver import DAESystem, StateEvent


def pendulum(angle: float = 2.2, gravity: float = 9.81) -> DAESystem:
    """A point on a rod in Cartesian coordinates: the constraint on its position has index 3.

    Mass and length are 1, SI units. The rod holds with ``lambda``; ``x^2 + y^2 = 1`` and what
    follows for the velocity stay satisfied.

    Args:
        angle: At the start, from the lowest point, radians; the point is at rest.
        gravity: m/s^2.
    """
    import sympy

    t, x, y, u, v, force = sympy.symbols("t x y u v lambda")
    g = sympy.Symbol("g")
    return DAESystem.from_sympy(
        t,
        x=[x, y, u, v],
        y=[force],
        f=[u, v, -2 * force * x, -2 * force * y - g],
        g=[x**2 + y**2 - 1],
        p={g: gravity},
        x0=[float(np.sin(angle)), float(-np.cos(angle)), 0.0, 0.0],
        y0=[0.0],
    )


def bouncing_ball() -> tuple[DAESystem, list[StateEvent]]:
    """A ball that falls and bounces with a coefficient of restitution ``e``.

    From the height ``h`` it lands first at ``sqrt(2 h / g)`` and then after each
    ``2 e^k sqrt(2 h / g)``. SI units.

    Returns:
        The system and its state event.
    """
    system = DAESystem.from_callable(
        lambda t, x, y, p: [x[1], -p["g"]],
        states=["height", "speed"],
        parameters={"g": 9.81, "e": 0.8},
        x0=[1.0, 0.0],
    )

    def bounce(t: Any, x: Any, y: Any, p: Any) -> list[Any]:
        return [x[0], -p["e"] * x[1]]

    landing = StateEvent(
        condition=lambda t, x, y, p: x[0], direction=-1, reset=bounce, name="bounce"
    )
    return system, [landing]

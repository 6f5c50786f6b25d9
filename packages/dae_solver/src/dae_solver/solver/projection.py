"""Projection of states onto what is zero along every solution."""

from __future__ import annotations

from typing import Any

import numpy as np

from dae_solver.solver.newton import size_of
from dae_solver.solver.parameters import Parameters
from dae_solver.solver.quotients import quotients
from dae_solver.solver.system import DAESystem
from scimind.typing import Float

ITERATIONS = 6
TOLERANCE = 1e-13


def project(
    system: DAESystem, t: Any, x: Float[np.ndarray, "state scenario"], p: Parameters
) -> Float[np.ndarray, "state scenario"]:
    """The states nearest to ``x`` (in units of their scale) whose invariants are zero.

    Source: Hairer and Wanner, Solving Ordinary Differential Equations II, VII.2 (projection
    methods).
    """
    r = system.invariants(t, x, p)
    if r is None:
        return x
    x = np.array(x)
    scale = system.x_scale[:, None]
    for _ in range(ITERATIONS):
        r = np.asarray(r)
        if np.all(size_of(r) <= TOLERANCE):
            break
        slope = quotients(system.invariants, t, x, p, system.x_scale) * system.x_scale
        with np.errstate(all="ignore"):
            good = np.isfinite(slope).all((1, 2)) & np.isfinite(r).all(0)
        change = np.zeros_like(x)
        if good.any():
            step = np.linalg.pinv(slope[good], rcond=1e-12) @ r.T[good][..., None]
            change[:, good] = step[..., 0].T
        x = x - scale * change
        r = system.invariants(t, x, p)
    return x

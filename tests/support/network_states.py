"""Random states of a grid, and the voltages there by Newton's method."""

from __future__ import annotations

import numpy as np

from dae_solver.physics import PowerSystem
from dae_solver.physics.dae import PowerDAE
from dae_solver.solver.parameters import take
from dae_solver.solver.system import DAESystem


def angles_of(dae: PowerDAE) -> np.ndarray:
    """Rows of the states that turn with the frame."""
    loops = [k for k, name in enumerate(dae.states) if name.startswith("angle_")]
    return np.concatenate([dae.rows("delta"), np.array(loops, int)])


def random_states(
    dae: PowerDAE, grid: PowerSystem, *, scenarios: int, seed: int, online: bool
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Rotors up to half a radian apart in a frame at any angle, other states 10 % off, outages."""
    rng = np.random.default_rng(seed)
    start = grid.scenarios(
        *([] for _ in range(scenarios)), load_level=rng.uniform(0.7, 1.1, scenarios)
    )
    x = start.x0 * rng.uniform(0.9, 1.1, start.x0.shape)
    delta = dae.rows("delta")
    x[delta] = start.x0[delta] + rng.uniform(-0.25, 0.25, (len(delta), scenarios))
    x[angles_of(dae)] += rng.uniform(-np.pi, np.pi, scenarios)
    x[dae.rows("omega")] = 1.0 + rng.uniform(-0.01, 0.01, (len(delta), scenarios))
    built = dae.network.built
    out = [
        built.without([k])
        for k in range(len(dae.case.branches))
        if len(dae.network.islands(built.without([k]))) == 1
    ]
    faults = [built.adding(k, complex(20.0, -40.0)) for k in range(0, len(dae.case.buses), 5)]
    numbers = np.array([dae.topology(each) for each in [built, *out, *faults]])
    p = dict(start.parameters)
    p["network"] = rng.choice(numbers, scenarios)
    p["p0"] = p["p0"] * rng.uniform(0.8, 1.2, p["p0"].shape)
    if online:
        p["online"] = np.ones((len(delta), scenarios))
        p["online"][rng.integers(1, len(delta), scenarios), np.arange(scenarios)] = 0.0
        p["online"][:, ::3] *= 0.97  # as derivatives by it need
    return x, start.y0, p


def near_solutions(
    dae: PowerDAE, grid: PowerSystem, *, scenarios: int, seed: int, online: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Random states, guesses 0.02 pu away from the voltages there, these, and parameters."""
    x, y, p = random_states(dae, grid, scenarios=scenarios, seed=seed, online=online)
    expected, some = by_newton(dae, x, y, p)
    x, expected, p = x[:, some], expected[:, some], take(p, some)
    guess = expected + np.random.default_rng(9).uniform(-0.02, 0.02, expected.shape)
    return x, guess, expected, p


def by_newton(dae: PowerDAE, x: np.ndarray, y: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    """Newton's method with difference quotients, from flat voltages at the angle of the rotors."""
    half = len(y) // 2
    turn = np.exp(1j * (x[dae.rows("delta")] - dae.x0[dae.rows("delta"), None]).mean(0))
    v = (y[:half] + 1j * y[half:]) * turn
    y, t = np.concatenate([v.real, v.imag]), np.zeros(x.shape[1])
    for _ in range(40):
        r = PowerDAE.g(dae, t, x, y, p)  # in NumPy, whatever the grid itself uses
        slope = DAESystem.jacobian_y(dae, t, x, y, p)
        step = np.linalg.solve(slope, r.T[..., None])[..., 0].T
        y = y - step * np.minimum(1.0, 0.3 / np.abs(step).max(0))
    good = np.abs(step).max(0) < 1e-12
    assert good.mean() > 0.5
    return y, good

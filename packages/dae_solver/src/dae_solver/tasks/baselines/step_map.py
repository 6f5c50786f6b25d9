"""A step map: the usual recipe of physics-informed and neural integrators, as a baseline.

A perceptron says how the state moves in a time ``h`` of at most `HORIZON`, ``x(t + h) = x(t) + h
n(features, h)``, and is applied again and again. Where it is inexact, errors add up over the steps.

Sources: Qin, Wu and Xiu, J. Comput. Phys. 395, 620 (2019) (flow maps from data, residual form);
Stiasny, Chevalier, Nellikkath, Sævarsson and Chatzivasileiadis, arXiv:2303.12116 (the same ansatz
for components of power systems).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.model import host
from dae_solver.model.features import Features, turned
from dae_solver.model.operator import Scaling
from dae_solver.solver.initial import consistent
from dae_solver.solver.parameters import take
from dae_solver.tasks.baselines.nearest import Library
from dae_solver.tasks.baselines.segments import Course, SegmentSolver
from dae_solver.trained import Trained
from scimind.seeding import numpy_generator
from scimind.typing import Float

# Longest step, seconds.
HORIZON = 0.2
# Starts taken from each trajectory, more of them early, where most happens.
STARTS = 20


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What a step map learns from.

    Attributes:
        features: Scaled, of starts, ``[start, feature]``.
        rate: ``(x(t + h) - x(t)) / h`` for multiples of the sampling time, ``[start, h, state]``.
        h: Those, seconds.
    """

    features: Float[np.ndarray, "start feature"]
    rate: Float[np.ndarray, "start h state"]
    h: Float[np.ndarray, " h"]


def make_pairs(library: Library, scaling: Scaling, seed: int) -> Pairs:
    """Cut steps from trajectories, until they separate."""
    grid, every = library.system.dae, library.every
    number = round(HORIZON / every)
    rng = numpy_generator(seed, "step map", "starts")
    last = library.x.shape[1] - 1 - number
    sample = (last * rng.random((len(library), STARTS)) ** 2).astype(int)
    trajectory = np.repeat(np.arange(len(library)), STARTS)
    sample = sample.ravel()
    at = sample[:, None] + np.arange(number + 1)
    x = library.x[trajectory[:, None], at].astype(float)
    together = (np.ptp(x[..., grid.rows("delta")], axis=-1) < np.pi).all(1)
    x, trajectory = x[together], trajectory[together]
    features = Features(grid)
    p = take(library.p, trajectory)
    start, guess, _ = turned(grid, x[:, 0].T, library.y[:, trajectory])
    y, report = consistent(grid, np.zeros(len(x)), start, guess, p, tolerance=1e-8)
    seen = features(start, y, np.asarray(grid.f(0.0, start, y, p)), p)
    good = report.converged
    h = every * np.arange(1, number + 1)
    rate = (x[:, 1:] - x[:, :1]) / h[:, None]
    return Pairs(
        features=scaling.features(seen).T[good].astype(np.float32),
        rate=rate[good].astype(np.float32),
        h=h,
    )


class StepMap(SegmentSolver):
    """Applies a fitted step map.

    Args:
        trained: Grid and scalings.
        weights: Of the perceptron.
        spread: Size of each state's rate, per second.
        cpu_seconds: That its training took.
    """

    name = "step map"

    def __init__(
        self,
        trained: Trained,
        weights: dict[str, np.ndarray],
        spread: Float[np.ndarray, " state"],
        cpu_seconds: float,
    ) -> None:
        super().__init__(trained.grid, trained.known_settings().data.step)
        self.weights, self.spread, self.cpu_seconds = weights, spread, cpu_seconds
        self.scaling, self.features = trained.operator.scaling, Features(self.grid)

    def advance(self, course: Course, scenarios: np.ndarray, length: np.ndarray) -> np.ndarray:
        """See the base class."""
        p, outputs = take(course.p, scenarios), course.outputs
        length, first = np.minimum(length, HORIZON), course.t[scenarios]
        x, y, _ = turned(self.grid, course.x[:, scenarios], course.y[:, scenarios])
        f = np.asarray(self.grid.f(0.0, x, y, p))
        seen = self.scaling.features(self.features(x, y, f, p))
        number, valid = outputs.between(first, first + length)
        elapsed = np.concatenate([outputs.times[number] - first[:, None], length[:, None]], axis=1)
        h = np.clip(elapsed, 0.0, HORIZON).astype(np.float32)
        asked = np.repeat(seen, h.shape[1], axis=1)
        with np.errstate(all="ignore"):
            rate = host.predict(self.weights, with_time(asked, h.ravel()))
        moved = (rate * self.spread[:, None] * h.ravel()).T.reshape(*h.shape, -1)
        moved = moved + course.x[:, scenarios].T[:, None, :]
        rows = np.broadcast_to(scenarios[:, None], number.shape)
        outputs.values[rows[valid], number[valid]] = moved[:, :-1][valid]
        course.x[:, scenarios] = self.grid.limit(first + length, moved[:, -1].T, p)
        return length


def with_time(features: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Features and the scaled time."""
    return np.concatenate([features, (2.0 * h / HORIZON - 1.0)[None].astype(np.float32)])

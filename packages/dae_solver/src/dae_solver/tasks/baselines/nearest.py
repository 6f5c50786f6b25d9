"""The nearest training trajectory: what a look-up table of the training data would say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.data.windows import SAMPLES, begin, training_runs
from dae_solver.model.features import Features, turned
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import join_parameters
from dae_solver.solver.parameters import take
from dae_solver.tasks.baselines.segments import Course, SegmentSolver
from dae_solver.trained import Trained
from scimind.typing import Float

# Distances are computed for so many scenarios at a time.
BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class Library:
    """Trajectories of the training from their last event on.

    Attributes:
        system: The grid with the networks of the training, of which each has many.
        every: Distance of samples, seconds.
        features: Of their starts, scaled as for the operator, ``[trajectory, feature]``.
        x: States in the frame of the centre of inertia at the start, ``[trajectory, sample,
            state]``.
        y: Voltages at their starts, ``[algebraic, trajectory]``.
        p: Parameters after the last event, with the trajectory as the last axis.
    """

    system: PowerSystem
    every: float
    features: Float[np.ndarray, "trajectory feature"]
    x: Float[np.ndarray, "trajectory sample state"]
    y: Float[np.ndarray, "algebraic trajectory"]
    p: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.features)


def make_library(trained: Trained, number: int) -> Library:
    """Make the first trajectories of a training again, from its seed.

    Trajectories that the engine could not follow to their end are left out.

    Args:
        trained: With the settings of its training.
        number: How many; no more than it was trained on.
    """
    settings = trained.known_settings()
    grid = PowerSystem(trained.grid.case, trained.grid.dae.load_model)
    config = settings.data
    every = trained.operator.config.horizon / SAMPLES
    first = int(np.ceil(config.settled / every - 1e-9))
    features, starts, parts, voltages, parameters = Features(grid.dae), [], [], [], []
    for runs, _ in training_runs(
        grid,
        trained.lines,
        config,
        every=every,
        scenarios=config.scenarios,
        used=min(number, config.scenarios),
        seed=settings.seed,
    ):
        whole = np.flatnonzero(np.isfinite(runs.solution.x).all((1, 2)))
        p = take(runs.scenarios.parameters_after(), whole)
        x = runs.solution.x[whole, first:]
        start, f = begin(grid.dae, x[:, 0].T, runs.solution.y[whole, first].T, p)
        starts.append(trained.operator.scaling.features(features(start.x, start.y, f, p)).T)
        parts.append((x + (start.x.T - x[:, 0])[:, None]).astype(np.float32))
        voltages.append(start.y)
        parameters.append(p)
    return Library(
        system=grid,
        every=every,
        features=np.concatenate(starts),
        x=np.concatenate(parts),
        y=np.concatenate(voltages, axis=1),
        p=join_parameters(parameters),
    )


class NearestTrajectory(SegmentSolver):
    """After every event, goes on as the training trajectory with the nearest features does.

    The distance is Euclidean in the scaled features that the operator sees; the course from there
    is added to the state, so that trajectories stay continuous.

    Args:
        trained: The operator and its settings.
        library: Its training trajectories.
    """

    name = "nearest"

    def __init__(self, trained: Trained, library: Library) -> None:
        super().__init__(trained.grid, trained.known_settings().data.step)
        self.library, self.scaling = library, trained.operator.scaling
        self.features = Features(self.grid)
        self.norm = np.einsum("nf,nf->n", library.features, library.features)

    def nearest(self, features: Float[np.ndarray, "feature scenario"]) -> np.ndarray:
        """Numbers of the nearest trajectories."""
        found = np.empty(features.shape[1], int)
        for place in range(0, len(found), BLOCK):
            block = features[:, place : place + BLOCK]
            distance = self.norm[:, None] - 2.0 * (self.library.features @ block)
            found[place : place + BLOCK] = distance.argmin(0)
        return found

    def advance(self, course: Course, scenarios: np.ndarray, length: np.ndarray) -> np.ndarray:
        """See the base class."""
        p = take(course.p, scenarios)
        x, y, _ = turned(self.grid, course.x[:, scenarios], course.y[:, scenarios])
        f = np.asarray(self.grid.f(0.0, x, y, p))
        chosen = self.nearest(self.scaling.features(self.features(x, y, f, p)))
        library, outputs = self.library, course.outputs
        stored = library.every * (library.x.shape[1] - 1)
        length = np.minimum(length, stored)
        first = course.t[scenarios]
        number, valid = outputs.between(first, first + length)
        elapsed = np.concatenate([outputs.times[number] - first[:, None], length[:, None]], axis=1)
        moved = self._moved(chosen, np.clip(elapsed, 0.0, length[:, None]))
        moved += course.x[:, scenarios].T[:, None, :]
        rows = np.broadcast_to(scenarios[:, None], number.shape)
        outputs.values[rows[valid], number[valid]] = moved[:, :-1][valid]
        course.x[:, scenarios] = moved[:, -1].T
        return length

    def _moved(
        self, chosen: np.ndarray, elapsed: Float[np.ndarray, "scenario time"]
    ) -> Float[np.ndarray, "scenario time state"]:
        """Change of the states since the start, by cubic interpolation of four samples."""
        library = self.library
        place = elapsed / library.every
        left = np.clip(place.astype(int) - 1, 0, library.x.shape[1] - 4)
        u = place - left
        weights = (
            -(u - 1) * (u - 2) * (u - 3) / 6,
            u * (u - 2) * (u - 3) / 2,
            -u * (u - 1) * (u - 3) / 2,
            u * (u - 1) * (u - 2) / 6,
        )
        rows = chosen[:, None]
        found = np.zeros((*elapsed.shape, library.x.shape[2]))
        for k, weight in enumerate(weights):
            found += weight[..., None] * library.x[rows, left + k]
        found -= library.x[chosen, 0][:, None, :]
        return found

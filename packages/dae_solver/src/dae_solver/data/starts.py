"""Starts of windows whose course nobody has simulated, from which the physics loss learns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dae_solver.config.data import DataConfig
from dae_solver.data.draws import Lines
from dae_solver.data.windows import SAMPLES, Windows, begin, training_runs
from dae_solver.hybrid.residual import Start
from dae_solver.model.features import Features
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import join_parameters
from dae_solver.solver.parameters import take
from scimind.typing import Float, Int

# Parameters of the equations that events change besides set-points and loads.
PARAMETERS = ("online",)


@dataclass(frozen=True, kw_only=True)
class Starts:
    """Starts with all that the equations need, in single precision, window first.

    Attributes:
        features: Not yet scaled.
        x: States.
        y: Voltages.
        parameters: Rows of `dae_solver.recorded.Equations`.
        network: Number of the network of each.
        admittances: Of all networks.
    """

    features: Float[np.ndarray, "window feature"]
    x: Float[np.ndarray, "window state"]
    y: Float[np.ndarray, "window algebraic"]
    parameters: Float[np.ndarray, "window row"]
    network: Int[np.ndarray, " window"]
    admittances: Float[np.ndarray, "network algebraic algebraic"]

    def __len__(self) -> int:
        return len(self.network)


def make_starts(
    grid: PowerSystem,
    lines: Lines,
    config: DataConfig,
    windows: Windows,
    *,
    horizon: float,
    seed: int,
) -> Starts:
    """Those of windows that are known, and ``config.starts`` more, simulated up to the last event.

    Args:
        grid: Of which they are.
        lines: Which of its lines are seen.
        config: How scenarios are drawn.
        windows: With their courses.
        horizon: Of windows, seconds.
        seed: Of the draws.
    """
    from dae_solver.recorded import Equations

    dae = grid.dae
    parts = [(windows.start, windows.features)]
    if config.starts:
        parts.append(_more(grid, lines, config, horizon, seed))
    x = np.concatenate([start.x for start, _ in parts], axis=1)
    y = np.concatenate([start.y for start, _ in parts], axis=1)
    p = join_parameters([start.p for start, _ in parts])
    used, network = np.unique(p["network"], return_inverse=True)
    equations = Equations(dae, PARAMETERS)
    values = equations.pack(equations.filled(p, x.shape[1]))
    return Starts(
        features=np.concatenate([features for _, features in parts], axis=1).T,
        x=x.T.astype(np.float32),
        y=y.T.astype(np.float32),
        parameters=values.T.astype(np.float32),
        network=network,
        admittances=_admittances(dae, used),
    )


def _more(
    grid: PowerSystem, lines: Lines, config: DataConfig, horizon: float, seed: int
) -> tuple[Start, np.ndarray]:
    """Right after the last event of new scenarios."""
    every, dae = horizon / SAMPLES, grid.dae
    features, starts, seen = Features(dae), [], []
    for runs, _ in training_runs(
        grid,
        lines,
        replace(config, t_end=0.0),
        every=every,
        scenarios=config.starts,
        used=config.starts,
        seed=seed,
        name="starts",
    ):
        kept = np.flatnonzero(runs.spread[:, -1] < np.pi)
        p = take(runs.scenarios.parameters_after(), kept)
        x, y = runs.solution.x[kept, -1].T, runs.solution.y[kept, -1].T
        start, f = begin(dae, x, y, p)
        starts.append(start)
        seen.append(features(start.x, start.y, f, p))
    joined = Start(
        x=np.concatenate([each.x for each in starts], axis=1),
        y=np.concatenate([each.y for each in starts], axis=1),
        p=join_parameters([each.p for each in starts]),
    )
    return joined, np.concatenate(seen, axis=1)


def _admittances(dae: PowerDAE, numbers: np.ndarray) -> np.ndarray:
    each = [dae.admittances(int(number)) for number in numbers]
    return np.asarray(np.stack(each), np.float32)

"""Windows of time cut from simulated trajectories, with the features of their starts."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import make_interp_spline

from dae_solver.config.data import DataConfig
from dae_solver.data.draws import Lines, TrainingDraws
from dae_solver.hybrid.residual import Start
from dae_solver.model.collocation import RadauWindow
from dae_solver.model.features import Features, turned
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import join_parameters
from dae_solver.physics.trajectories import Trajectories
from dae_solver.solver.parameters import take
from scimind.seeding import numpy_generator
from scimind.typing import Float, Int

log = logging.getLogger(__name__)

CHUNK = 500
# Samples of a window from which its values at the nodes are interpolated.
SAMPLES = 60
# Early windows, in which most happens, are taken from this long after the last event, seconds.
EARLY = 1.5
TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows with what the networks see of them and what they should say.

    Attributes:
        start: Where they start.
        features: Not yet scaled.
        deviation: From the start at the nodes.
        scenario: Number of the trajectory that each is from.
    """

    start: Start
    features: Float[np.ndarray, "feature window"]
    deviation: Float[np.ndarray, "state node window"]
    scenario: Int[np.ndarray, " window"]

    def __len__(self) -> int:
        return len(self.scenario)

    def take(self, windows: np.ndarray) -> Windows:
        """Some of them."""
        return Windows(
            start=self.start.take(windows),
            features=self.features[:, windows],
            deviation=self.deviation[:, :, windows],
            scenario=self.scenario[windows],
        )

    @classmethod
    def join(cls, parts: list[Windows]) -> Windows:
        """All windows of several parts."""
        starts = [part.start for part in parts]
        return cls(
            start=Start(
                x=np.concatenate([start.x for start in starts], axis=1),
                y=np.concatenate([start.y for start in starts], axis=1),
                p=join_parameters([start.p for start in starts]),
            ),
            features=np.concatenate([part.features for part in parts], axis=1),
            deviation=np.concatenate([part.deviation for part in parts], axis=2),
            scenario=np.concatenate([part.scenario for part in parts]),
        )


def training_runs(
    grid: PowerSystem,
    lines: Lines,
    config: DataConfig,
    *,
    every: float,
    scenarios: int,
    used: int,
    seed: int,
    name: str = "train",
) -> Iterator[tuple[Trajectories, np.random.Generator]]:
    """Simulate random scenarios, some at a time; each with the generator that drew them.

    Args:
        grid: Of which they are.
        lines: Which of its lines are seen.
        config: How scenarios are drawn.
        every: Distance of samples, seconds.
        scenarios: How many are drawn.
        used: How many of them are simulated: the first.
        seed: Of the draws.
        name: What they are for.
    """
    step = every / np.ceil(every / config.step - 1e-9)
    t_end = round((config.settled + config.t_end) / every) * every
    for made in range(0, used, CHUNK):
        rng = numpy_generator(seed, "windows", name, made)
        drawn = TrainingDraws(grid, lines, config, rng).batch(min(CHUNK, scenarios - made))
        # The first of a larger batch are not those of a smaller one.
        drawn = drawn.take(np.arange(min(CHUNK, used - made)))
        runs = grid.simulate(drawn, t_end=t_end, every=every, step=float(step), tolerance=TOLERANCE)
        yield runs, rng


def make_windows(
    grid: PowerSystem,
    lines: Lines,
    config: DataConfig,
    window: RadauWindow,
    *,
    scenarios: int,
    seed: int,
    name: str = "train",
) -> Windows:
    """Simulate random scenarios and cut windows from what follows their last event.

    A window of a trajectory that has lost synchronism is left out.
    """
    features, parts, made = Features(grid.dae), [], 0
    every = window.horizon / SAMPLES
    for runs, rng in training_runs(
        grid, lines, config, every=every, scenarios=scenarios, used=scenarios, seed=seed, name=name
    ):
        cut = _cut(runs, every, config, rng)
        parts.append(_windows(grid.dae, runs, window, features, *cut, first=made))
        made += len(runs.scenarios)
        log.info("%s: %d of %d trajectories", name, made, scenarios)
    return Windows.join(parts)


def _cut(
    runs: Trajectories, every: float, config: DataConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Scenario and first sample of each window."""
    first = int(np.ceil(config.settled / every - 1e-9))
    lost = ~(runs.spread < np.pi)  # [scenario, time]
    end = np.where(lost.any(1), lost.argmax(1), lost.shape[1]) - 1
    last = end - SAMPLES
    early = min(round(EARLY / every), int(last.max()) - first)
    scenario, sample = [], []
    for number in np.flatnonzero(last >= first).tolist():
        stop = int(last[number])
        starts = [first]
        for k in range(config.windows - 1):
            most = min(stop, first + early) if k % 2 == 0 else stop
            starts.append(int(rng.integers(first, most + 1)))
        scenario += [number] * len(starts)
        sample += starts
    return np.array(scenario, int), np.array(sample, int)


def _windows(
    grid: PowerDAE,
    runs: Trajectories,
    window: RadauWindow,
    features: Features,
    scenario: np.ndarray,
    sample: np.ndarray,
    *,
    first: int,
) -> Windows:
    p = take(runs.scenarios.parameters_after(), scenario)
    at = sample[:, None] + np.arange(SAMPLES + 1)
    x = runs.solution.x[scenario[:, None], at]  # [window, sample, state]
    to_nodes = _interpolation(window)
    deviation = np.einsum("ts,wsx->xtw", to_nodes, x - x[:, :1])
    start, f = begin(grid, x[:, 0].T, runs.solution.y[scenario, sample].T, p)
    angles = grid.rows("delta")
    assert np.isfinite(deviation[angles]).all()
    return Windows(
        start=start,
        features=features(start.x, start.y, f, p),
        deviation=deviation.astype(np.float32),
        scenario=scenario + first,
    )


def begin(
    grid: PowerDAE,
    x: Float[np.ndarray, "state window"],
    guess: Float[np.ndarray, "algebraic window"],
    p: dict[str, np.ndarray],
) -> tuple[Start, np.ndarray]:
    """Starts in the frame of their centre of inertia, with their slopes."""
    x, guess, _ = turned(grid, x, guess)
    y, solved = grid.solve(0.0, x, guess, p, TOLERANCE)
    assert solved.all()
    return Start(x=x, y=y, p=p), np.asarray(grid.f(0.0, x, y, p))


def _interpolation(window: RadauWindow) -> np.ndarray:
    """From samples of a window to its nodes, by splines of degree 5, ``[node, sample]``."""
    samples = np.linspace(0.0, 1.0, SAMPLES + 1)
    found: np.ndarray = make_interp_spline(samples, np.eye(SAMPLES + 1), k=5)(window.nodes)
    return found

"""Windows of time cut from simulated trajectories, with the features of their starts."""

from __future__ import annotations

import logging
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
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
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
        names = {name for start in starts for name in start.p}
        values = {
            name: np.concatenate([_value(start, name, starts) for start in starts], axis=-1)
            for name in sorted(names)
        }
        return cls(
            start=Start(
                x=np.concatenate([start.x for start in starts], axis=1),
                y=np.concatenate([start.y for start in starts], axis=1),
                p=values,
            ),
            features=np.concatenate([part.features for part in parts], axis=1),
            deviation=np.concatenate([part.deviation for part in parts], axis=2),
            scenario=np.concatenate([part.scenario for part in parts]),
        )


def _value(start: Start, name: str, others: list[Start]) -> np.ndarray:
    """A parameter of a part; machines are on where the part does not say."""
    if name in start.p:
        return start.p[name]
    like = next(other.p[name] for other in others if name in other.p)
    return np.ones((*like.shape[:-1], start.x.shape[1]))


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
    while made < scenarios:
        number = min(CHUNK, scenarios - made)
        rng = numpy_generator(seed, "windows", name, made)
        drawn = TrainingDraws(grid, lines, config, rng).batch(number)
        every = window.horizon / SAMPLES
        step = every / np.ceil(every / config.step - 1e-9)
        runs = grid.simulate(
            drawn,
            t_end=round((config.settled + config.t_end) / every) * every,
            every=every,
            step=float(step),
            tolerance=TOLERANCE,
        )
        cut = _cut(grid.dae, drawn, runs, window, config, rng)
        parts.append(_windows(grid.dae, drawn, runs, window, features, *cut, first=made))
        made += number
        log.info("%s: %d of %d trajectories", name, made, scenarios)
    return Windows.join(parts)


def _cut(
    grid: PowerDAE,
    drawn: Scenarios,
    runs: Trajectories,
    window: RadauWindow,
    config: DataConfig,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Scenario and first sample of each window."""
    every = window.horizon / SAMPLES
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
    drawn: Scenarios,
    runs: Trajectories,
    window: RadauWindow,
    features: Features,
    scenario: np.ndarray,
    sample: np.ndarray,
    *,
    first: int,
) -> Windows:
    p = {name: value.copy() for name, value in drawn.parameters.items()}
    for number, events in enumerate(drawn.events):
        for event in events:
            for change in event.changes:
                change.apply(p, number)
    p = {name: value[..., scenario] for name, value in p.items()}
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

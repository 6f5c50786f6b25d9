"""Fit the networks of a trajectory operator to windows of simulated trajectories."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dae_solver.config.train import TrainConfig
from dae_solver.data.draws import Lines, split_lines
from dae_solver.data.pool import Pool, first_pool, next_pool
from dae_solver.data.starts import PARAMETERS, Starts, make_starts
from dae_solver.data.windows import Windows, make_windows
from dae_solver.hybrid.residual import residual
from dae_solver.model.collocation import RadauWindow
from dae_solver.model.modes import Modes, relative
from dae_solver.model.operator import Scaling, TrajectoryOperator
from dae_solver.physics.grid import PowerSystem
from scimind.seeding import numpy_generator
from scimind.typing import Float

if TYPE_CHECKING:
    from mindspore import nn

    from scimind.train import FitReport, RunFolder

log = logging.getLogger(__name__)

MODES_FROM = 8000
VALIDATION = 200
TOLERANCE = 1e-6
# Features of windows may be so much further from their mean than in training, and what is the same
# in all of it, so far.
REACH, LEAST_REACH = np.float32(1.2), np.float32(1e-3)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data of a training.

    Attributes:
        grid: What is learned.
        lines: Which of its lines training sees.
        operator: With modes and scalings, and with weights that are not trained yet.
        windows: Of the training.
        features: Their scaled features.
        target: Their coefficients.
        valid: Windows on lines that training does not see, or where there are none, other draws.
        first: Residuals of the first steps.
        starts: Of windows whose residual is part of the loss, where it is.
    """

    grid: PowerSystem
    lines: Lines
    operator: TrajectoryOperator
    windows: Windows
    features: Float[np.ndarray, "feature window"]
    target: Float[np.ndarray, "mode window"]
    valid: Windows
    first: Pool
    starts: Starts | None


def prepare(config: TrainConfig) -> Prepared:
    """Simulate the training trajectories and choose modes and scalings."""
    grid = PowerSystem.load(config.case, load=config.load, dyr=config.dyr)
    lines = split_lines(grid.dae, config.data, config.seed)
    log.info("lines held out: %s", ", ".join(_held_out(grid, lines)) or "none")
    window = RadauWindow(config.model.nodes, config.model.horizon)
    windows = make_windows(
        grid, lines, config.data, window, scenarios=config.data.scenarios, seed=config.seed
    )
    unseen = Lines(lines.held_out or lines.trained, ())
    valid = make_windows(
        grid, unseen, config.data, window, scenarios=VALIDATION, seed=config.seed, name="valid"
    )
    rng = numpy_generator(config.seed, "modes")
    sample = np.sort(rng.permutation(len(windows))[:MODES_FROM])
    number = min(config.model.modes, len(sample), windows.deviation[:, :, 0].size)
    model = replace(config.model, modes=number)
    modes = Modes.fit(grid.dae, windows.deviation[:, :, sample], number)
    target = modes.encode(windows.deviation)
    center, spread = windows.features.mean(1), windows.features.std(1)
    ones = np.ones(number, np.float32)
    scaling = Scaling(
        center=center,
        spread=np.where(spread < 1e-6, 1.0, spread).astype(np.float32),
        reach=np.full(len(center), np.inf, np.float32),
        residual=ones,
        change=ones,
    )
    largest = np.abs(scaling.features(windows.features)).max(1)
    scaling = replace(scaling, reach=REACH * largest + LEAST_REACH)
    operator = TrajectoryOperator(
        states=grid.dae.states,
        config=model,
        modes=modes,
        scaling=scaling,
        weights={},
        facts={"case": grid.case.name, "load": config.load, "held_out": _held_out(grid, lines)},
    )
    rng = numpy_generator(config.seed, "pool", 0)
    first = first_pool(grid.dae, operator, windows, target, rng, config.pool)
    scaling = replace(scaling, residual=np.asarray(first.residual.std(1) + 1e-6, np.float32))
    _, size = scaling.unit(first.residual)
    change = np.asarray((first.change / size).std(1) + 1e-6, np.float32)
    operator.scaling = replace(scaling, change=change)
    return Prepared(
        grid=grid,
        lines=lines,
        operator=operator,
        windows=windows,
        features=operator.scaling.features(windows.features),
        target=target,
        valid=valid,
        first=first,
        starts=make_starts(
            grid, lines, config.data, windows, horizon=window.horizon, seed=config.seed
        )
        if config.physics
        else None,
    )


def _held_out(grid: PowerSystem, lines: Lines) -> list[str]:
    return [grid.case.branches[k].id for k in lines.held_out]


def weights_of(network: nn.Cell) -> dict[str, np.ndarray]:
    """Parameters of the networks, by name."""
    return {name: p.asnumpy().copy() for name, p in network.parameters_and_names()}


def fit_operator(
    config: TrainConfig,
    prepared: Prepared,
    run: RunFolder,
    *,
    started: Callable[[], None] | None = None,
) -> tuple[FitReport, TrajectoryOperator]:
    """Train, and return the operator of the best checkpoint.

    Args:
        config: The settings.
        prepared: The data.
        run: The entered run folder.
        started: Called once the folder is known to belong to this run.
    """
    from mindspore import Tensor

    from dae_solver.data.stream import WindowStream
    from dae_solver.differentiable import DifferentiableGrid
    from dae_solver.losses import CollocationLoss, OperatorLoss, PhysicsOperatorLoss
    from dae_solver.model.network import OperatorNetwork
    from scimind.data import Shard
    from scimind.parallel import rank, world
    from scimind.parallel.data_parallel import gradient_reducer, largest
    from scimind.train import Hooks, fit, load_network, make_train_step

    operator = prepared.operator
    network = OperatorNetwork(len(prepared.features), operator.config, config.seed)
    importance = Tensor(operator.modes.spread / np.linalg.norm(operator.modes.spread))
    changes = Tensor(operator.scaling.change / np.linalg.norm(operator.scaling.change))
    if config.physics:
        grid = DifferentiableGrid(prepared.grid, PARAMETERS, dtype="float32")
        physics = CollocationLoss(grid, operator)
        loss = PhysicsOperatorLoss(network, importance, changes, physics, config.physics)
    else:
        loss = OperatorLoss(network, importance, changes)
    step = make_train_step(
        loss,
        config.optimizer,
        accumulate=config.accumulate,
        loss_scale=config.precision == "fp16",
        reduce_gradients=gradient_reducer(config.parallel.fuse_mb),
    )

    def made(number: int) -> Pool:
        if not number:
            return prepared.first
        operator.weights = dict(np.load(run.path / "pools" / f"{number}.npz"))
        return _next(config, prepared, number)

    stream = WindowStream(
        operator,
        prepared.features,
        prepared.target,
        prepared.first,
        batch=config.batch,
        seed=config.seed,
        remade=made,
        shard=Shard(rank(), world()),
        starts=prepared.starts,
        starts_batch=config.physics_batch,
    )

    def evaluate(network: nn.Cell) -> dict[str, float]:
        operator.weights = weights_of(network)
        scores = validate(prepared)
        if run.writer:
            (run.path / "pools").mkdir(exist_ok=True)
            np.savez(run.path / "pools" / f"{stream.step}.npz", **operator.weights)
        stream.use(_next(config, prepared, stream.step), stream.step)
        return scores

    hooks = Hooks(evaluate=evaluate, started=started, agree=largest if world() > 1 else None)
    fitted = fit(step, stream, config, run, hooks)
    load_network(network, fitted.best)
    operator.weights = weights_of(network)
    return fitted, operator


def _next(config: TrainConfig, prepared: Prepared, step: int) -> Pool:
    rng = numpy_generator(config.seed, "pool", step)
    return next_pool(
        prepared.grid.dae,
        prepared.operator,
        prepared.windows,
        prepared.features,
        prepared.target,
        rng,
        config.pool,
    )


def validate(prepared: Prepared) -> dict[str, float]:
    """Angle errors on lines that training does not see: predicted, corrected once and twice."""
    operator, valid = prepared.operator, prepared.valid
    features = operator.scaling.features(valid.features)
    coefficients = operator.predict(features)
    scores: dict[str, float] = {}
    for name in ("predicted", "corrected", "corrected_twice"):
        if name != "predicted":
            left = residual(prepared.grid.dae, operator, valid.start, coefficients, TOLERANCE)
            coefficients = coefficients + operator.correction(
                features, coefficients, left.coefficients
            )
        error = angle_error(operator, coefficients, valid.deviation)
        scores |= {f"{name}_p{q}_deg": float(np.quantile(error, q / 100)) for q in (50, 90)}
    return scores


def angle_error(
    operator: TrajectoryOperator,
    coefficients: Float[np.ndarray, "mode window"],
    deviation: Float[np.ndarray, "state node window"],
) -> Float[np.ndarray, " window"]:
    """Largest error of an angle against the centre of inertia, degrees."""
    modes = operator.modes
    truth = relative(deviation, modes.angles, modes.inertia)[modes.angles]
    error = modes.rows(coefficients)[modes.angles] - truth
    found: np.ndarray = np.degrees(np.abs(error).max((0, 1)))
    return found

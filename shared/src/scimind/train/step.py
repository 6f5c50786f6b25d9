"""One optimizer step as one compiled graph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import mindspore as ms
import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn, ops

from scimind.config.training import OptimizerConfig
from scimind.errors import ConfigError, NumericsError
from scimind.graphs import kept, signature
from scimind.nn import evaluation_mode
from scimind.train.average import MovingAverage
from scimind.train.clip import clip_factor, global_norm
from scimind.train.loss_scale import LossScale
from scimind.train.optimizer import Optimizer, make_optimizer
from scimind.train.parameters import overwrite, snapshot
from scimind.typing import Int

_log = logging.getLogger(__name__)

MANY_SHAPES = 16
"""Compiled graphs above which the shapes of the batches are probably not bucketed."""

Reduction = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
"""Mean over the processes of each tensor in a tuple, usable inside a graph."""


class Outcome(NamedTuple):
    """What one step tells.

    Attributes:
        loss: Unscaled loss before the update, float32 scalar.
        metrics: Float32 vector in the order of ``metric_names``.
        grad_norm: Global norm of the mean gradient before clipping.
        finite: False when loss or gradient was not, and nothing was updated.
    """

    loss: Tensor
    metrics: Tensor
    grad_norm: Tensor
    finite: Tensor


class _ScaledLoss(nn.Cell):
    def __init__(self, loss_cell: nn.Cell) -> None:
        super().__init__(auto_prefix=False)
        self.loss_cell = loss_cell

    def construct(self, scale: Tensor, key: Tensor, *batch: Any) -> Any:
        loss, metrics = self.loss_cell(key, *batch)
        return loss * scale, loss, metrics


class _StepGraph(nn.Cell):
    """The two graphs: add the gradient of a batch to the buffers, and make the update."""

    def __init__(
        self,
        loss_cell: nn.Cell,
        optimizer: Optimizer,
        average: MovingAverage | None,
        loss_scale: LossScale | None,
        reduce_gradients: Reduction | None,
        accumulate: int,
        clip_norm: float,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.optimizer = optimizer
        self.average = average
        self.loss_scale = loss_scale
        self.reduce_gradients = reduce_gradients
        self.share = 1.0 / accumulate
        self.clip_norm = clip_norm
        self.accumulates = accumulate > 1
        self.scaled_loss = _ScaledLoss(loss_cell)
        self.buffers = ParameterTuple(
            [
                Parameter(Tensor(np.zeros(p.shape, np.float32)), f"sum/{n}", requires_grad=False)
                for n, p in zip(optimizer.names, optimizer.trained, strict=True)
                if accumulate > 1
            ]
        )
        self.gradient = ms.value_and_grad(self.scaled_loss, None, optimizer.trained, has_aux=True)

    def scale(self) -> Tensor:
        if self.loss_scale is None:
            return ops.ones((), ms.float32)
        return self.loss_scale.scale * 1.0

    @ms.jit(capture_mode="ast")  # type: ignore[untyped-decorator]
    def add(self, key: Tensor, *batch: Any) -> Any:
        (_, loss, metrics), gradients = self.gradient(self.scale(), key, *batch)
        for i in range(len(self.buffers)):
            ops.assign_add(self.buffers[i], gradients[i])
        return loss, metrics

    @ms.jit(capture_mode="ast")  # type: ignore[untyped-decorator]
    def update(self, key: Tensor, learning_rate: Tensor, *batch: Any) -> Any:
        scale = self.scale()
        (_, loss, metrics), gradients = self.gradient(scale, key, *batch)
        if self.accumulates:
            for i in range(len(self.buffers)):
                ops.assign_add(self.buffers[i], gradients[i])
            gradients = self.buffers
        if self.reduce_gradients is not None:
            reduced = self.reduce_gradients((*gradients, loss))
            gradients, loss = reduced[:-1], reduced[-1]
        unscale = self.share / scale
        norm = global_norm(gradients) * unscale
        finite = ops.logical_and(ops.isfinite(norm), ops.isfinite(loss))
        if finite:
            updates = self.optimizer(
                learning_rate, unscale * clip_factor(norm, self.clip_norm), *gradients
            )
            if self.average is not None:
                self.average(updates)
        if self.loss_scale is not None:
            self.loss_scale(finite)
        if self.accumulates:
            for i in range(len(self.buffers)):
                ops.assign(self.buffers[i], ops.zeros_like(self.buffers[i]))
        return loss, metrics, norm, finite


class TrainStep:
    """A compiled training step and everything it changes; made by `make_train_step`.

    Attributes:
        loss_cell: Cell ``(key, *batch) -> (loss, metrics)``.
        network: The network inside the loss cell: what is evaluated and published.
        metric_names: Names of the entries of ``metrics``.
        optimizer: Holds moments and the number of updates.
        average: Moving average of the parameters, or None.
        loss_scale: Dynamic loss scale, or None.
        accumulate: Batches that make one step.
        signatures: Shapes and constants seen, one per compiled graph.
    """

    def __init__(self, loss_cell: nn.Cell, graph: _StepGraph, accumulate: int) -> None:
        self.loss_cell = loss_cell
        self.network: nn.Cell = getattr(loss_cell, "network", loss_cell)
        self.metric_names: tuple[str, ...] = tuple(getattr(loss_cell, "metric_names", ()))
        self.optimizer = graph.optimizer
        self.average = graph.average
        self.loss_scale = graph.loss_scale
        self.accumulate = accumulate
        self.signatures: set[tuple[Any, ...]] = set()
        self._graph = graph
        self._proven = False

    def __call__(self, key: Int[np.ndarray, "2"], learning_rate: float, *batch: Any) -> Outcome:
        """Make one update from a batch and the batches added since the last update.

        Args:
            key: Key of the in-graph random numbers of this batch.
            learning_rate: Step length η.
            batch: Arguments of the loss cell: NumPy arrays become tensors, anything else is a
                constant of the graph.
        """
        inputs = [Tensor(key), Tensor(learning_rate, ms.float32), *_tensors(batch)]
        before = -1 if self._proven else int(self.optimizer.updates.asnumpy())
        with self._compiling("update", inputs):
            outcome = Outcome(*self._graph.update(*inputs))
        if not self._proven and bool(outcome.finite.asnumpy()):
            self._prove_update(before)
        return outcome

    def add(self, key: Int[np.ndarray, "2"], *batch: Any) -> tuple[Tensor, Tensor]:
        """Add the gradient of one batch to the sum that the next update uses.

        Returns:
            Loss and metrics of this batch.
        """
        if self.accumulate == 1:
            raise ValueError("accumulate is 1: every batch makes its own update")
        inputs = [Tensor(key), *_tensors(batch)]
        with self._compiling("add", inputs):
            loss, metrics = self._graph.add(*inputs)
        return loss, metrics

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The network as it is judged: evaluation mode, with averaged parameters if there are."""
        named = self.named_parameters()
        averages = self.average.state() if self.average is not None else {}
        trained = {name: named[name] for name in averages}
        before = snapshot(trained)
        with evaluation_mode(self.loss_cell):
            try:
                overwrite(trained, snapshot(averages))
                yield
            finally:
                overwrite(trained, before)

    def named_parameters(self) -> dict[str, Parameter]:
        """All parameters of the loss cell by path, those of the network first in their order."""
        return named_parameters(self.loss_cell)

    @contextmanager
    def _compiling(self, method: str, inputs: Sequence[Any]) -> Iterator[None]:
        wanted = signature(method, inputs)
        if wanted in self.signatures:
            yield
            return
        self.signatures.add(wanted)
        self.loss_cell.set_train(True)  # a graph keeps the mode that it was compiled in
        count = len(self.signatures)
        if count == MANY_SHAPES + 1:
            _log.warning(
                "%d different batch shapes so far, each costs a compilation: "
                "use fewer or coarser buckets",
                count,
            )
        with kept(self._graph, method, inputs) as found:
            done = "restoring" if found else "compiling"
            _log.info("%s graph %d of the training step", done, count)
            yield

    def _prove_update(self, before: int) -> None:
        # A graph captured by tracing keeps parameters as constants and trains nothing, silently.
        self._proven = True
        after = int(self.optimizer.updates.asnumpy())
        if after != before + 1:
            raise NumericsError(
                f"the compiled step left the optimizer at {after} updates instead of {before + 1}: "
                "its graph does not change parameters; use ms.jit with capture_mode='ast'"
            )


def make_train_step(
    loss_cell: nn.Cell,
    config: OptimizerConfig,
    *,
    accumulate: int = 1,
    loss_scale: bool = False,
    reduce_gradients: Reduction | None = None,
) -> TrainStep:
    """Compile-ready training step of a loss cell.

    The graph holds: scaled loss, gradient, accumulation, mean over processes, test for NaN and
    infinity, clipping, optimizer, moving average, loss scale. A loss or gradient that is not finite
    leaves every parameter and moment as it was.

    Args:
        loss_cell: ``(key, *batch) -> (loss, metrics)``: a float32 scalar and a float32 vector
            with the names ``loss_cell.metric_names``. ``loss_cell.network`` is the network proper.
        config: Optimizer, clipping and moving average.
        accumulate: Batches whose mean gradient makes one update.
        loss_scale: Scale the loss dynamically; for fp16.
        reduce_gradients: Mean over data-parallel processes of a tuple of tensors (the gradients
            and, last, the loss). Metrics stay those of this process.

    Raises:
        ConfigError: Nothing to train, or a pattern of the configuration fits no parameter.

    Example:
        >>> step = make_train_step(loss_cell, OptimizerConfig(learning_rate=1e-3))
        >>> loss, metrics, grad_norm, finite = step(step_key(0, "step", 0), 1e-3, *batch)
    """
    if accumulate < 1:
        raise ConfigError(f"accumulate={accumulate} must be at least 1 batch")
    loss_cell.set_train()
    named = [(n, p) for n, p in named_parameters(loss_cell).items() if p.requires_grad]
    optimizer = make_optimizer(named, config)
    average = MovingAverage(named, config.ema) if config.ema else None
    graph = _StepGraph(
        loss_cell,
        optimizer,
        average,
        LossScale() if loss_scale else None,
        reduce_gradients,
        accumulate,
        config.clip_norm,
    )
    return TrainStep(loss_cell, graph, accumulate)


def named_parameters(loss_cell: nn.Cell) -> dict[str, Parameter]:
    """Parameters of a loss cell by path: those of its network relative to the network.

    Parameters outside the network (learned loss weights, say) are called ``loss:<path>``.
    """
    network = getattr(loss_cell, "network", None)
    inner = dict(_paths(network)) if network is not None else dict(_paths(loss_cell))
    known = {id(value) for value in inner.values()}
    outer = {f"loss:{n}": v for n, v in _paths(loss_cell) if id(v) not in known}
    return inner | outer


def _paths(cell: nn.Cell) -> list[tuple[str, Parameter]]:
    return list(cell.parameters_and_names())


def _tensors(batch: Sequence[Any]) -> list[Any]:
    return [Tensor(value) if isinstance(value, np.ndarray) else value for value in batch]


__all__ = ["Outcome", "Reduction", "TrainStep", "make_train_step", "named_parameters"]

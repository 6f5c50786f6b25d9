"""AdamW and SGD as cells that update their parameters inside a graph."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from mindspore import Parameter, ParameterTuple, Tensor, nn
from mindspore import dtype as mstype
from mindspore import ops as ms_ops

from scimind import ops
from scimind.config.training import OptimizerConfig
from scimind.errors import ConfigError

_log = logging.getLogger(__name__)

NamedParameters = Sequence[tuple[str, Parameter]]


def decayed(name: str, parameter: Parameter, config: OptimizerConfig) -> bool:
    """Whether weight decay applies to a parameter."""
    if any(fnmatchcase(name, pattern) for pattern in config.no_decay):
        return False
    return config.decay_vectors or parameter.ndim >= 2


def make_optimizer(parameters: NamedParameters, config: OptimizerConfig) -> Optimizer:
    """The optimizer that ``config.name`` asks for.

    Args:
        parameters: Names and parameters to update, in a fixed order.
        config: Rule and coefficients.

    Raises:
        ConfigError: There is nothing to train, or a ``no_decay`` pattern fits no name.
    """
    if not parameters:
        raise ConfigError("the network has no parameter with requires_grad: nothing to train")
    for pattern in config.no_decay:
        if not any(fnmatchcase(name, pattern) for name, _ in parameters):
            known = ", ".join(name for name, _ in parameters[:8])
            raise ConfigError(
                f"optimizer.no_decay pattern {pattern!r} fits no parameter; names look like {known}"
            )
    return {"adamw": AdamW, "sgd": SGD}[config.name](parameters, config)


class Optimizer(nn.Cell):
    """Base: the parameters, their state and which of them decay.

    ``construct(learning_rate, factor, *gradients)`` updates the parameters in place with
    ``factor * gradients`` and returns the number of updates made.

    Args:
        parameters: Names and parameters to update.
        config: Coefficients.
        moments: Names of the state arrays, each of the shape of its parameter.
    """

    def __init__(
        self, parameters: NamedParameters, config: OptimizerConfig, moments: tuple[str, ...]
    ) -> None:
        super().__init__(auto_prefix=False)
        self.names = tuple(name for name, _ in parameters)
        self.decays = tuple(decayed(name, value, config) for name, value in parameters)
        self.weight_decay = config.weight_decay
        self.trained = ParameterTuple([value for _, value in parameters])
        self.updates = Parameter(Tensor(0, mstype.int32), "updates", requires_grad=False)
        self.moments = {
            moment: ParameterTuple(
                [_zeros_like(value, f"{moment}/{name}") for name, value in parameters]
            )
            for moment in moments
        }

    def state(self) -> dict[str, Parameter]:
        """Everything a checkpoint must hold, by name: ``updates``, ``first/<parameter>``."""
        state = {"updates": self.updates}
        for moment, values in self.moments.items():
            state |= {f"{moment}/{n}": v for n, v in zip(self.names, values, strict=True)}
        return state

    def construct(self, learning_rate: Tensor, factor: Tensor, *gradients: Tensor) -> Tensor:
        """Update the parameters in place with ``factor * gradients``."""
        raise NotImplementedError


class AdamW(Optimizer):
    """Adam with bias correction and decoupled weight decay.

    With g the gradient and t the number of this update:
    m = β₁m + (1-β₁)g, v = β₂v + (1-β₂)g²,
    θ = θ - η λ θ - η (m / (1-β₁ᵗ)) / (√(v / (1-β₂ᵗ)) + ε).

    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2
    (with η the scheduled learning rate, which scales the decay as well, as in PyTorch).

    Example:
        >>> optimizer = AdamW([("weight", weight)], OptimizerConfig(learning_rate=1e-3))
        >>> optimizer(Tensor(1e-3), Tensor(1.0), gradient)
    """

    def __init__(self, parameters: NamedParameters, config: OptimizerConfig) -> None:
        super().__init__(parameters, config, ("first", "second"))
        self.first = self.moments["first"]
        self.second = self.moments["second"]
        self.beta1 = float(np.float32(config.beta1))
        self.beta2 = float(np.float32(config.beta2))
        # β^t = exp(t log β), so that 1 - β^t keeps its digits at small t. The logarithm is taken
        # of the β the kernel sees, which is rounded to float32: for 0.999 the rounded 1 - β differs
        # in the fifth digit, and only a consistent correction makes the first update exact.
        self.log_beta1 = float(np.log(np.float64(self.beta1))) if config.beta1 else -1e3
        self.log_beta2 = float(np.log(np.float64(self.beta2))) if config.beta2 else -1e3
        self.epsilon = config.epsilon
        self.rates = tuple(config.weight_decay if decays else 0.0 for decays in self.decays)

    def construct(self, learning_rate: Tensor, factor: Tensor, *gradients: Tensor) -> Tensor:
        """Update the parameters in place with ``factor * gradients``."""
        updates = self.updates + 1
        t = updates.astype(mstype.float32)
        correction1 = -ms_ops.expm1(t * self.log_beta1)
        correction2 = -ms_ops.expm1(t * self.log_beta2)
        done = ops.adamw_all(
            self.trained, self.first, self.second, gradients,
            learning_rate, factor, correction1, correction2,
            self.beta1, self.beta2, self.epsilon, self.rates,
        )  # fmt: skip
        updates = ms_ops.depend(updates, done)
        ms_ops.assign(self.updates, updates)
        return updates


class SGD(Optimizer):
    """Gradient descent with momentum and decoupled weight decay.

    m = β₁m + g, θ = θ - η λ θ - η m.

    Source: Sutskever et al., "On the importance of initialization and momentum", ICML 2013,
    section 2, in PyTorch's scaling of the momentum.
    """

    def __init__(self, parameters: NamedParameters, config: OptimizerConfig) -> None:
        super().__init__(parameters, config, ("first",))
        self.first = self.moments["first"]
        self.momentum = config.beta1

    def construct(self, learning_rate: Tensor, factor: Tensor, *gradients: Tensor) -> Tensor:
        """Update the parameters in place with ``factor * gradients``."""
        updates = self.updates + 1
        keep = 1.0 - learning_rate * self.weight_decay
        for i in range(len(self.trained)):
            parameter = self.trained[i]
            mean = self.first[i] * self.momentum + gradients[i] * factor
            ms_ops.assign(self.first[i], mean)
            if self.decays[i] and self.weight_decay > 0:
                ms_ops.assign(parameter, parameter * keep - learning_rate * mean)
            else:
                ms_ops.assign(parameter, parameter - learning_rate * mean)
        ms_ops.assign(self.updates, updates)
        return updates


def _zeros_like(parameter: Parameter, name: str) -> Parameter:
    zeros: Any = np.zeros(parameter.shape, np.float32)
    return Parameter(Tensor(zeros), name, requires_grad=False)

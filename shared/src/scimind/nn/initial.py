"""Initial values of parameters, drawn from an explicit NumPy generator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from mindspore import Parameter, Tensor
from mindspore import dtype as mstype
from mindspore.common.initializer import Initializer, initializer
from numpy.typing import NDArray

SCHEMES = ("default", "residual", "normal", "zeros", "ones")


class Drawn(Initializer):
    """Values of a parameter as a function of a seed, drawn when the memory exists.

    Args:
        scheme: ``"default"`` normal with variance 1 / fan_in, cut off at two standard deviations
            (LeCun et al. 1998); ``"residual"`` the same times 0.1, for layers that end a residual
            branch; ``"normal"`` with standard deviation 0.02; ``"zeros"``; ``"ones"``.
        fan_in: Inputs of one output.
        seed: Seed of this parameter.
    """

    def __init__(self, scheme: str, fan_in: int, seed: int) -> None:
        super().__init__()
        if scheme not in SCHEMES:
            raise ValueError(f"init={scheme!r} is unknown; choose one of {', '.join(SCHEMES)}")
        self.scheme, self.fan_in, self.draw_seed = scheme, fan_in, seed

    def values(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The float32 values for ``shape``."""
        if self.scheme in ("zeros", "ones"):
            return np.full(shape, 1.0 if self.scheme == "ones" else 0.0, np.float32)
        deviation = 0.02 if self.scheme == "normal" else 1.0 / math.sqrt(max(self.fan_in, 1))
        if self.scheme == "residual":
            deviation *= 0.1
        generator = np.random.Generator(np.random.Philox(self.draw_seed))
        drawn = generator.standard_normal(shape, np.float32)
        outside = np.abs(drawn) > 2.0
        while outside.any():
            drawn[outside] = generator.standard_normal(int(outside.sum()), np.float32)
            outside = np.abs(drawn) > 2.0
        # 0.8796 is the standard deviation of a normal distribution cut off at two.
        return (drawn * np.float32(deviation / 0.87962566)).astype(np.float32)

    def _initialize(self, arr: NDArray[Any]) -> None:
        arr[:] = self.values(arr.shape)


def parameter(
    shape: tuple[int, ...],
    name: str,
    scheme: str,
    rng: np.random.Generator | None = None,
    fan_in: int | None = None,
) -> Parameter:
    """A float32 parameter; takes one number from ``rng`` when the scheme is random.

    Under ``mindspore.nn.utils.no_init_parameters`` it has a shape and no memory.

    Raises:
        ValueError: A random scheme without ``rng``, or an unknown one.
    """
    seed = 0
    if scheme not in ("zeros", "ones"):
        if rng is None:
            raise ValueError(f"init={scheme!r} is random: pass rng, a numpy.random.Generator")
        seed = int(rng.integers(2**63))
    drawn = Drawn(scheme, shape[-1] if fan_in is None else fan_in, seed)
    if getattr(Parameter, "init_param", True):
        return Parameter(Tensor(drawn.values(shape)), name=name)
    return Parameter(initializer(drawn, shape, mstype.float32), name=name)

"""Global gradient norm and the factor that shortens it."""

from __future__ import annotations

from mindspore import Tensor
from mindspore import ops as ms_ops

from scimind import ops
from scimind.typing import Float

TINY = 1e-30


def global_norm(gradients: tuple[Tensor, ...]) -> Float[Tensor, ""]:
    """Euclidean norm of all gradients taken as one vector, in float32.

    It is finite exactly when every element is (and below 1e19, where squares overflow), so it
    serves as the test for NaN and infinity as well.
    """
    return ms_ops.sqrt(ops.square_sum(gradients)).reshape(())


def clip_factor(norm: Float[Tensor, ""], largest: float) -> Float[Tensor, ""]:
    """Factor at most 1 that brings a norm down to ``largest``; 1 where ``largest`` is 0.

    Source: Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    if largest <= 0:
        return ms_ops.ones_like(norm)
    return ms_ops.minimum(ms_ops.ones_like(norm), largest / (norm + TINY))

"""Global gradient norm and the factor that shortens it."""

from __future__ import annotations

from mindspore import Tensor, ops
from mindspore.ops import constexpr

from scimind.device import target
from scimind.typing import Float

TINY = 1e-30


@constexpr  # type: ignore[untyped-decorator]
def _on_cpu() -> bool:
    return target() == "cpu"


def global_norm(gradients: tuple[Tensor, ...]) -> Float[Tensor, ""]:
    """Euclidean norm of all gradients taken as one vector, in float32.

    It is finite exactly when every element is (and below 1e19, where squares overflow), so it
    serves as the test for NaN and infinity as well.
    """
    total = ops.zeros((), gradients[0].dtype)
    for gradient in gradients:
        if _on_cpu():
            # MindSpore's CPU reduction is a scalar loop: the matrix product is three times faster.
            row = gradient.reshape((1, -1))
            total = total + ops.matmul(row, row.reshape((-1, 1))).reshape(())
        else:
            total = total + ops.square(gradient).sum()
    return ops.sqrt(total)


def clip_factor(norm: Float[Tensor, ""], largest: float) -> Float[Tensor, ""]:
    """Factor at most 1 that brings a norm down to ``largest``; 1 where ``largest`` is 0.

    Source: Pascanu et al., "On the difficulty of training recurrent neural networks", ICML 2013.
    """
    if largest <= 0:
        return ops.ones_like(norm)
    return ops.minimum(ops.ones_like(norm), largest / (norm + TINY))

"""Rotary position embedding, declared."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Tensor


@operator(Cpp("declared.cc", backward="cos sin dout -> dx"), name="demo_rope")
def rope(
    x: Float[Tensor, "batch head length 2*half"],
    cos: Float[Tensor, "length half"],
    sin: Float[Tensor, "length half"],
    interleaved: bool = False,
) -> Float[Tensor, "batch head length 2*half"]:
    """Rotate the pairs (i, i + half) of the last axis, or (2i, 2i + 1) if ``interleaved``.

    Cosines and sines are constants; no gradient reaches them.

    Source: Su et al., arXiv 2104.09864.
    """
    cos, sin = ops.stop_gradient(cos), ops.stop_gradient(sin)
    half = cos.shape[-1]
    if interleaved:
        pairs = x.reshape((*x.shape[:-1], half, 2))
        first, second = pairs[..., 0], pairs[..., 1]
        turned = ops.stack((first * cos - second * sin, second * cos + first * sin), -1)
        return turned.reshape(x.shape)
    first, second = x[..., :half], x[..., half:]
    return ops.cat((first * cos - second * sin, second * cos + first * sin), -1)

"""Rotary position embedding through MindSpore's own interface."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
from benchmarks.integration import toolkit
from mindspore import Tensor, ops

LIBRARY = toolkit.build(Path(__file__).with_name("official.cc"))
RULES = {
    "x": (toolkit.FLOAT, "batch head length dim"),
    "cos": (toolkit.FLOAT, "length half"),
    "sin": (toolkit.FLOAT, "length half"),
}


def plain(x, cos, sin, interleaved=False):
    """The same in MindSpore operators, for all devices and dtypes."""
    cos, sin = ops.stop_gradient(cos), ops.stop_gradient(sin)
    half = cos.shape[-1]
    if interleaved:
        pairs = x.reshape((*x.shape[:-1], half, 2))
        first, second = pairs[..., 0], pairs[..., 1]
        turned = ops.stack((first * cos - second * sin, second * cos + first * sin), -1)
        return turned.reshape(x.shape)
    first, second = x[..., :half], x[..., half:]
    return ops.cat((first * cos - second * sin, second * cos + first * sin), -1)


def _bprop(x, cos, sin, options, out, dout):
    dx = _backward(cos, sin, dout, options)
    return dx, ops.zeros_like(cos), ops.zeros_like(sin), ops.zeros_like(options)


_backward = toolkit.custom(LIBRARY, "rope_grad", lambda cos, sin, dout, _: dout, ms.float32)
_forward = toolkit.custom(LIBRARY, "rope", lambda x, cos, sin, _: x, ms.float32, _bprop)


@ops.constexpr
def _chooses_kernel(given):
    sizes = toolkit.bind("rope", RULES, given)
    if sizes["dim"] != 2 * sizes["half"]:
        raise ValueError(
            f"rope: x has shape {given[0][0]}; its last axis has to be twice that of cos"
        )
    return toolkit.runs_kernel(LIBRARY, given)


def rope(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool = False) -> Tensor:
    """Rotate the pairs (i, i + half) of the last axis, or (2i, 2i + 1) if ``interleaved``.

    Cosines and sines are constants; no gradient reaches them.

    Source: Su et al., arXiv 2104.09864.
    """
    if _chooses_kernel(toolkit.described(x, cos, sin)):
        return _forward(x, cos, sin, toolkit.scalars(interleaved))
    return plain(x, cos, sin, interleaved)

"""Hidden layer of a SwiGLU network through MindSpore's own interface."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
from benchmarks.integration import toolkit
from mindspore import Tensor, ops

LIBRARY = toolkit.build(Path(__file__).with_name("official.cc"))
RULES = {
    "x": (toolkit.FLOAT, "... dim"),
    "gate": (toolkit.FLOAT, "hidden dim"),
    "up": (toolkit.FLOAT, "hidden dim"),
}


def plain(x, gate, up):
    """The same in MindSpore operators, for all devices and dtypes."""
    gated = ops.matmul(x, gate.T)
    return gated * ops.sigmoid(gated) * ops.matmul(x, up.T)


def _shapes(x, gate, up):
    hidden = [*x[:-1], gate[0]]
    return hidden, hidden, hidden


def _bprop(x, gate, up, out, dout):
    return _backward(x, gate, up, out[1], out[2], dout[0])


_backward = toolkit.custom(LIBRARY, "swiglu_grad", lambda *shapes: shapes[:3], (ms.float32,) * 3)
_forward = toolkit.custom(LIBRARY, "swiglu", _shapes, (ms.float32,) * 3, _bprop)


@ops.constexpr
def _chooses_kernel(given):
    toolkit.bind("swiglu", RULES, given)
    return toolkit.runs_kernel(LIBRARY, given)


def swiglu(x: Tensor, gate: Tensor, up: Tensor) -> Tensor:
    """``silu(x gateᵀ) (x upᵀ)``.

    Source: Shazeer, arXiv 2002.05202.
    """
    if _chooses_kernel(toolkit.described(x, gate, up)):
        return _forward(x, gate, up)[0]
    return plain(x, gate, up)

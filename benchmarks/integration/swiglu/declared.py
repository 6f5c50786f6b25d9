"""Hidden layer of a SwiGLU network, declared."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Tensor


@operator(
    Cpp(
        "declared.cc",
        saved={"gated": "*batch hidden", "raised": "*batch hidden"},
        backward="x gate up gated raised dout -> dx dgate dup",
    ),
    name="demo_swiglu",
)
def swiglu(
    x: Float[Tensor, "*batch dim"],
    gate: Float[Tensor, "hidden dim"],
    up: Float[Tensor, "hidden dim"],
) -> Float[Tensor, "*batch hidden"]:
    """``silu(x gateᵀ) (x upᵀ)``.

    Source: Shazeer, arXiv 2002.05202.
    """
    gated = ops.matmul(x, gate.T)
    return gated * ops.sigmoid(gated) * ops.matmul(x, up.T)

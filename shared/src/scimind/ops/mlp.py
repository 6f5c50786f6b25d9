"""A position-wise perceptron in one operator."""

from __future__ import annotations

from typing import Literal

from scimind.ops.linear import linear_activation, plain_linear
from scimind.ops.operator import Cpp, operator, plain
from scimind.typing import Float, Tensor

_ARGUMENTS = "x expand expand_bias contract contract_bias"
_linear_activation = plain(linear_activation)


@operator(
    Cpp(
        "kernels/cpu/linear.cc",
        saved={"z": "*batch hidden", "h": "*batch hidden"},
        backward=f"{_ARGUMENTS} z h dout -> dx dexpand dexpand_bias dcontract dcontract_bias",
    ),
    half=tuple(_ARGUMENTS.split()),
    sizes=(
        {"batch": (1,), "in": 256, "hidden": 1024, "out": 256},
        {"batch": (256,), "in": 256, "hidden": 1024, "out": 256},
        {"batch": (2048,), "in": 512, "hidden": 2048, "out": 512},
    ),
)
def mlp(
    x: Float[Tensor, "*batch in"],
    expand: Float[Tensor, "hidden in"],
    expand_bias: Float[Tensor, " hidden"] | None,
    contract: Float[Tensor, "out hidden"],
    contract_bias: Float[Tensor, " out"] | None,
    activation: Literal["gelu", "silu", "relu"] = "gelu",
) -> Float[Tensor, "*batch out"]:
    """``linear`` with an activation, then ``linear``; one operator instead of two.

    Args:
        x: Inputs.
        expand: Weight of the first layer, one row per hidden value.
        expand_bias: Its bias.
        contract: Weight of the second layer, one row per output.
        contract_bias: Its bias.
        activation: Between them; GELU in its tanh form.
    """
    hidden = _linear_activation(x, expand, expand_bias, activation)
    return plain_linear(hidden, contract, contract_bias)

"""Broadcasting that leaves no memory behind."""

from __future__ import annotations

from mindspore import ops
from mindspore.ops import constexpr

from scimind.ops.registry import FUNCTIONS, choose, register
from scimind.ops.rule import RuleError
from scimind.typing import Shaped, Tensor


def spread(x: Shaped[Tensor, "..."], shape: tuple[int, ...]) -> Shaped[Tensor, "..."]:
    """``x`` repeated along its axes of length 1 until it has ``shape``.

    Use it for large operands of unequal shape: every call of a binary operator of MindSpore that
    broadcasts on the CPU keeps a table of 16 bytes per element of its result for as long as the
    graph lives, which made each compiled shape of a network cost a gigabyte.

    Args:
        x: Values with as many axes as ``shape``.
        shape: The shape to reach.

    Raises:
        RuleError: An axis is neither 1 nor what it has to be.
    """
    _check(x.shape, shape)
    return FUNCTIONS["spread"][choose("spread", x.dtype)](x, shape)


@constexpr  # type: ignore[untyped-decorator]
def _check(found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    pairs = list(zip(found, shape, strict=False))
    if len(found) != len(shape) or any(size not in (1, wanted) for size, wanted in pairs):
        raise RuleError(
            f"spread: x has shape {found}; it has to have the {len(shape)} axes of {tuple(shape)}, "
            "each of that size or 1"
        )


@register("spread", name="plain")
def plain_spread(x: Shaped[Tensor, "..."], shape: tuple[int, ...]) -> Shaped[Tensor, "..."]:
    """``x`` broadcast to ``shape``."""
    return ops.broadcast_to(x, shape)


@register("spread", name="cpu/tile", device="cpu", priority=1)
def _tile(x: Shaped[Tensor, "..."], shape: tuple[int, ...]) -> Shaped[Tensor, "..."]:
    """The same by copying; faster than ``broadcast_to`` on the CPU for a trailing axis."""
    counts: tuple[int, ...] = ()
    for axis in range(len(shape)):
        counts = (*counts, shape[axis] if x.shape[axis] == 1 else 1)
    return ops.tile(x, counts)

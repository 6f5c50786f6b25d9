"""Random calls of declared operators as strategies of hypothesis."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st

from scimind.ops import Operator
from scimind.ops.rule import Option, Scalar, Shape, Tensors
from scimind.ops.testing import Call, draw_call, draw_scalar, draw_shape

__all__ = ["Call", "calls", "scalar", "shape_of_tensor"]
T = TypeVar("T")


def calls(entry: Operator, smallest: int = 1, largest: int = 7) -> st.SearchStrategy[Call]:
    """A call that keeps the rule, with axes of ``smallest`` to ``largest``."""
    sizes = range(smallest, largest + 1)
    return _drawn(lambda source: draw_call(entry, source, sizes))


def shape_of_tensor(draw: st.DrawFn, tensor: Tensors, sizes: dict[str, Any]) -> Shape:
    """A shape of these sizes, some axes that may be repeated being 1."""
    return draw(_drawn(lambda source: draw_shape(tensor, sizes, source)))


def scalar(option: Option) -> st.SearchStrategy[Scalar]:
    """Values of a scalar argument."""
    return _drawn(lambda source: draw_scalar(option, source))


def _drawn(function: Callable[[random.Random], T]) -> st.SearchStrategy[T]:
    def draw(source: random.Random) -> T:
        state = random.getstate()  # which the checks of beartype change
        try:
            return function(source)
        finally:
            random.setstate(state)

    return st.randoms(use_true_random=False).map(draw)

"""Tests of a declared operator, made from its rule: the kernel against the plain formulation.

::

    from scimind.ops.testing import check

    def test_scaled_square():
        check(scaled_square)
"""

from scimind.ops.testing.calls import Call, draw_call, draw_scalar, draw_shape
from scimind.ops.testing.checks import check, compare_gradients, compare_values, drawn
from scimind.ops.testing.outcomes import gradients, values

__all__ = [
    "Call",
    "check",
    "compare_gradients",
    "compare_values",
    "draw_call",
    "draw_scalar",
    "draw_shape",
    "drawn",
    "gradients",
    "values",
]

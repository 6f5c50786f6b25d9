"""Every declared operator: kernel against plain formulation in float64, gradients, both modes."""

import numpy as np
import pytest

from scimind.ops import OPERATORS
from scimind.ops.testing import compare_gradients, compare_values, drawn, gradients, values

NAMES = [name for name, entry in OPERATORS.items() if entry.kernels]
SMOOTH = [name for name in NAMES if OPERATORS[name].kernels[0].backward is not None]
EAGER = ("pynative",)


@pytest.mark.parametrize("name", NAMES)
def test_kernel_is_the_plain_formulation_in_float64(name):
    entry = OPERATORS[name]
    for call in drawn(entry, 12):
        compare_values(entry, call, modes=EAGER)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_the_plain_formulation_and_of_differences(name):
    entry = OPERATORS[name]
    for call in drawn(entry, 12):
        compare_gradients(entry, call, modes=EAGER)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_call_has_the_bits_of_the_eager_one(name):
    entry = OPERATORS[name]
    call = max(drawn(entry, 20), key=lambda call: (len(call.present), sum(map(len, call.present))))
    arrays = call.arrays(entry)
    for quantity in (values, gradients) if entry.kernels[0].backward else (values,):
        eager, compiled = (quantity(entry, call, arrays, way) for way in ("pynative", "jit"))
        for key in eager:
            np.testing.assert_array_equal(compiled[key], eager[key], key)

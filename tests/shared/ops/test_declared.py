"""Every declared operator: kernel against plain formulation in float64, gradients, both modes."""

from random import Random

import numpy as np
import pytest

from scimind.ops import OPERATORS
from scimind.ops.testing import (
    compare_gradients,
    compare_values,
    draw_call,
    drawn,
    gradients,
    values,
)

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
def test_plain_formulations_write_all_or_refuse_where_an_axis_is_0(name):
    entry, random = OPERATORS[name], Random(1)
    drawn_calls = [draw_call(entry, random, (0, 1, 2, 3)) for _ in range(20)]
    for call in filter(lambda call: call.empty, drawn_calls):
        arrays = call.arrays(entry)
        for quantity in (values, gradients) if entry.kernels[0].backward else (values,):
            try:
                one, other = (quantity(entry, call, arrays, way) for way in ("float64", "float32"))
            except (RuntimeError, ValueError, ZeroDivisionError):
                continue  # MindSpore has no empty tensors here, and says so
            for key in one:
                where = f"{key} of {call.describe(entry.rule)}"
                np.testing.assert_allclose(one[key], other[key], 1e-4, 1e-4, err_msg=where)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_call_has_the_bits_of_the_eager_one(name):
    entry = OPERATORS[name]
    call = max(drawn(entry, 20), key=lambda call: (len(call.present), sum(map(len, call.present))))
    arrays = call.arrays(entry)
    for quantity in (values, gradients) if entry.kernels[0].backward else (values,):
        eager, compiled = (quantity(entry, call, arrays, way) for way in ("pynative", "jit"))
        for key in eager:
            np.testing.assert_array_equal(compiled[key], eager[key], key)

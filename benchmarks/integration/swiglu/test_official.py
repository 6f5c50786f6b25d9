"""Test of the official version."""

import numpy as np
import pytest
from benchmarks.integration.swiglu.official import plain, swiglu
from benchmarks.integration.toolkit import compare


@pytest.mark.parametrize("axes", [0, 1, 2])
def test_kernel_is_the_plain_formulation_in_float64(axes):
    rng = np.random.default_rng(axes)
    dim, hidden, *batch = rng.integers(1, 8, 2 + axes)
    x = rng.standard_normal((*batch, dim))
    gate, up = rng.standard_normal((2, hidden, dim))
    compare(swiglu, plain, [x, gate, up], smooth=(0, 1, 2))

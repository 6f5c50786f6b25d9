"""Test of the official version."""

import numpy as np
import pytest
from benchmarks.integration.rope.official import plain, rope
from benchmarks.integration.toolkit import compare


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_kernel_is_the_plain_formulation_in_float64(seed, interleaved):
    rng = np.random.default_rng(seed)
    batch, head, length, half = rng.integers(1, 8, 4)
    x = rng.standard_normal((batch, head, length, 2 * half))
    cos, sin = rng.standard_normal((2, length, half))
    compare(rope, plain, [x, cos, sin], (interleaved,), smooth=(0,))

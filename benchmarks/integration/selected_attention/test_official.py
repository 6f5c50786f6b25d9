"""Test of the official version."""

import numpy as np
import pytest
from benchmarks.integration.selected_attention.official import plain, selected_attention
from benchmarks.integration.toolkit import compare


@pytest.mark.parametrize("seed", range(4))
def test_kernel_is_the_plain_formulation_in_float64(seed):
    rng = np.random.default_rng(seed)
    batch, group, share, dim, width, keys, count, size = rng.integers(1, 6, 8)
    queries = rng.integers(1, keys + 1)
    query = rng.standard_normal((batch, group * share, queries, dim))
    key = rng.standard_normal((batch, group, keys, dim))
    value = rng.standard_normal((batch, group, keys, width))
    listed = (batch, group, queries, count)
    blocks = rng.integers(-1, keys // size + 1, listed, dtype=np.int32)
    numbers = (int(size), None)
    compare(selected_attention, plain, [query, key, value, blocks], numbers, smooth=(0, 1, 2))

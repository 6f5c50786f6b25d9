"""Test of the official version."""

import numpy as np
import pytest
from benchmarks.integration.paged_attention.official import paged_attention, plain
from benchmarks.integration.toolkit import compare


@pytest.mark.parametrize("seed", range(4))
def test_kernel_is_the_plain_formulation_in_float64(seed):
    rng = np.random.default_rng(seed)
    batch, group, share, dim, width, page, slot, blocks = rng.integers(1, 6, 8)
    query = rng.standard_normal((batch, group * share, dim))
    key = rng.standard_normal((page, slot, group, dim))
    value = rng.standard_normal((page, slot, group, width))
    table = rng.integers(-1, page + 1, (batch, blocks), dtype=np.int32)
    length = rng.integers(0, blocks * slot + 1, batch, dtype=np.int32)
    compare(paged_attention, plain, [query, key, value, table, length], (None,))

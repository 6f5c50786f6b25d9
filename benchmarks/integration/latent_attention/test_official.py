"""Test of the official version."""

import numpy as np
import pytest
from benchmarks.integration.latent_attention.official import latent_attention, plain
from benchmarks.integration.toolkit import compare


@pytest.mark.parametrize("seed", range(4))
def test_kernel_is_the_plain_formulation_in_float64(seed):
    rng = np.random.default_rng(seed)
    batch, head, rank, rope, page, slot, blocks = rng.integers(1, 6, 7)
    query = rng.standard_normal((batch, head, rank))
    query_rope = rng.standard_normal((batch, head, rope))
    latent_cache = rng.standard_normal((page, slot, rank))
    rope_cache = rng.standard_normal((page, slot, rope))
    table = rng.integers(-1, page + 1, (batch, blocks), dtype=np.int32)
    length = rng.integers(0, blocks * slot + 1, batch, dtype=np.int32)
    arrays = [query, query_rope, latent_cache, rope_cache, table, length]
    compare(latent_attention, plain, arrays, (0.3,))

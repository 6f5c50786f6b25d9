"""Indices outside their range, also those that 32 bits cannot hold, on all routes."""

import contextlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.ops import random

WRONG = (-1, 3, -(2**31), 2**31 - 1, 2**32 + 1, -(2**32), 2**40)


def route(kernels):
    return ops.plain_formulations() if kernels == "plain" else contextlib.nullcontext()


def whole(*numbers, dtype):
    """Those of the numbers that ``dtype`` holds."""
    limits = np.iinfo(dtype)
    return np.array([n for n in numbers if limits.min <= n <= limits.max], dtype)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_an_index_outside_the_table_gives_zeros(kernels, dtype, index_dtype, jit):
    def rows(indices, table):
        return ops.embedding(indices, table)

    def total(table, indices):
        return ops.embedding(indices, table).sum()

    def slopes(table, indices):
        return ms.grad(total)(table, indices)

    if jit:
        rows, slopes = ms.jit(rows), ms.jit(slopes)
    indices = whole(1, *WRONG, 2, 1, dtype=index_dtype)
    for entries in (3, 0):
        inside = (indices >= 0) & (indices < entries)
        table = np.arange(1, 2 * entries + 1).reshape(entries, 2).astype(dtype)
        table[:1] = np.nan  # which must not leak from the row that stands in
        expected = np.zeros((len(indices), 2), dtype)
        expected[inside] = table[indices[inside]]
        with route(kernels):
            found = rows(Tensor(indices), Tensor(table)).asnumpy()
            slope = slopes(Tensor(table), Tensor(indices)).asnumpy()
        np.testing.assert_array_equal(found, expected)
        uses = np.bincount(indices[inside], minlength=entries)
        np.testing.assert_array_equal(slope, np.repeat(uses[:, None], 2, 1))


@pytest.mark.parametrize("jit", [False, True])
def test_a_block_that_does_not_exist_is_not_attended_to(kernels, jit):
    rng = np.random.default_rng(0)
    query = Tensor(rng.standard_normal((1, 2, 8, 4)).astype(np.float32))
    key = Tensor(rng.standard_normal((1, 1, 8, 4)).astype(np.float32))

    def attend(query, key, blocks):
        return ops.selected_attention(query, key, key, blocks, 4)

    run = ms.jit(attend) if jit else attend
    with route(kernels):
        for block in (2, *WRONG):
            out = run(query, key, Tensor(np.full((1, 1, 8, 1), block, np.int64)))
            np.testing.assert_array_equal(out.asnumpy(), 0)
        first = run(query, key, Tensor(np.zeros((1, 1, 8, 1), np.int64))).asnumpy()
        mixed = np.full((1, 1, 8, 2), 2**32, np.int64)
        mixed[..., 1] = 0
        np.testing.assert_allclose(run(query, key, Tensor(mixed)).asnumpy(), first, rtol=1e-6)


def test_a_random_key_counts_by_its_32_bits(kernels):
    wide = np.array([2**31 + 5, 2**33 + 2])
    with route(kernels):
        found = random.random_bits(Tensor(wide), 5, 3).asnumpy()
        expected = random.random_bits(Tensor(wide.astype(np.int32)), 5, 3).asnumpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 2, 5, 16, 40])
def test_a_row_with_nan_has_no_softmax_on_any_route(kernels, dtype, width):
    rows = np.random.default_rng(0).standard_normal((5, width)).astype(dtype)
    rows[0, 0] = rows[1, -1] = np.nan
    rows[2, width // 2] = np.inf
    rows[3] = -np.inf
    with route(kernels):
        found = ops.softmax(Tensor(rows)).asnumpy()
    assert np.isnan(found[:4]).all()
    assert np.isfinite(found[4]).all()

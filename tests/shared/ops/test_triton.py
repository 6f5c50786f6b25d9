"""Triton kernels: in the interpreter against float64 references, and lowered for Ascend.

Both need triton-ascend (the extra ``triton`` of scimind), and no device.
"""

import importlib.util
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scimind.ops.kernels import triton as kernels
from scimind.ops.kernels.triton import arrays, interpreter

# The interpreter makes Python integers of arrays of one element.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")

DTYPES = ("float32", "float16", "bfloat16")
# Relative to the largest entry: rounding of float32 sums; for the others that of the
# probabilities, of the result, and in gradients of their products.
TOLERANCE = {"float32": 4e-6, "float16": 4e-3, "bfloat16": 3e-2}
SEEDS = range(50)


for name in ("triton", "pybind11"):
    if importlib.util.find_spec(name) is None:
        pytest.skip(
            f"{name} is not installed; the extra `triton` of scimind brings it",
            allow_module_level=True,
        )


@pytest.fixture
def rng(request):
    return np.random.default_rng(request.node.callspec.params.get("seed", 0))


def rounded(x, dtype):
    if dtype == "bfloat16":
        return interpreter.to_bfloat16(x).view(arrays.BFLOAT16)
    return np.asarray(x, dtype)


def exact(x):
    if arrays.NumPy().dtype(x) == "bfloat16":
        x = interpreter.from_bfloat16(x)
    return np.asarray(x, np.float64)


def normal(rng, dtype, *shape):
    return rounded(rng.standard_normal(shape), dtype)


def dtype_of(seed):
    return DTYPES[seed % len(DTYPES)]


def close(got, expected, dtype, tolerance=None):
    got = exact(got)
    assert got.shape == expected.shape
    size = np.abs(expected).max(initial=0.0) + 0.5  # some are sums that cancel to 0
    atol = (tolerance or TOLERANCE[dtype]) * size
    np.testing.assert_allclose(got, expected, rtol=0, atol=atol)


def close_logsumexp(got, expected):
    assert got.dtype == np.float32
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(expected))
    seen = np.isfinite(expected)
    # The logarithm of a sum of float32 exponentials of sums of float32 products.
    np.testing.assert_allclose(got[seen], expected[seen], rtol=0, atol=5e-6)


def softmax(scores, seen):
    """Probabilities and log-sum-exp over the last axis; zero and -inf where nothing is seen."""
    top = np.where(seen, scores, -np.inf).max(-1, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0.0)
    weight = np.where(seen, np.exp(scores - top), 0.0)
    total = weight.sum(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        logsumexp = (top + np.log(total))[..., 0]
    return weight / np.where(total == 0.0, 1.0, total), logsumexp


def attention(query, key, value, seen, scale):
    """Result, log-sum-exp and probabilities; ``seen`` [... query key]."""
    probability, logsumexp = softmax(query @ np.swapaxes(key, -1, -2) * scale, seen)
    return probability @ value, logsumexp, probability


def per_head(x, share):
    return np.repeat(x, share, axis=1)


# --- a cache in pages (arXiv 2309.06180, 2405.04434) --------------------------------------------


def cache(rng):
    """Pages, slots, block table and lengths, with lengths and pages that do not exist."""
    pages, slots, blocks = (int(rng.integers(1, most)) for most in (9, 40, 6))
    batch = int(rng.integers(1, 3))
    table = rng.integers(-1, pages + 1, (batch, blocks)).astype(np.int32)
    length = rng.integers(-2, slots * blocks + 3, batch).astype(np.int32)
    return pages, slots, table, length


def tokens(cached, table, length):
    """The rows of a cache [page slot ...] that one sequence has, and which of them exist."""
    pages, slots = cached.shape[:2]
    position = np.arange(max(0, min(int(length), table.size * slots)))
    page = table[position // slots]
    there = (page >= 0) & (page < pages)
    return cached[np.where(there, page, 0), position % slots], there


@pytest.mark.parametrize("seed", SEEDS)
def test_paged_attention(rng, seed):
    dtype = dtype_of(seed)
    pages, slots, table, length = cache(rng)
    groups, share, dim, width = (int(rng.integers(1, most)) for most in (4, 5, 30, 30))
    query = normal(rng, dtype, table.shape[0], groups * share, dim)
    key, value = (normal(rng, dtype, pages, slots, groups, size) for size in (dim, width))
    scale = None if seed % 2 else 0.3
    out = kernels.paged_attention(query, key, value, table, length, scale)
    expected = np.zeros((table.shape[0], groups * share, width))
    for batch in range(table.shape[0]):
        keys, there = tokens(exact(key), table[batch], length[batch])
        values, _ = tokens(exact(value), table[batch], length[batch])
        expected[batch] = attention(
            exact(query)[batch, :, None],
            np.repeat(keys.swapaxes(0, 1), share, 0),
            np.repeat(values.swapaxes(0, 1), share, 0),
            there,
            dim**-0.5 if scale is None else scale,
        )[0][:, 0]
    close(out, expected, dtype)


@pytest.mark.parametrize("seed", SEEDS)
def test_latent_attention(rng, seed):
    dtype = dtype_of(seed)
    pages, slots, table, length = cache(rng)
    heads, queries, rank, rope = (int(rng.integers(1, most)) for most in (9, 4, 40, 20))
    batch = table.shape[0]
    query = normal(rng, dtype, batch, heads, queries, rank)
    query_rope = normal(rng, dtype, batch, heads, queries, rope)
    latent, turned = (normal(rng, dtype, pages, slots, size) for size in (rank, rope))
    out = kernels.latent_attention(query, query_rope, latent, turned, table, length, 0.2)
    expected = np.zeros(query.shape)
    for index in range(batch):
        keys, there = tokens(exact(latent), table[index], length[index])
        ropes, _ = tokens(exact(turned), table[index], length[index])
        last = len(keys) - queries + np.arange(queries)
        seen = there & (np.arange(len(keys)) <= last[:, None])
        scores = exact(query)[index] @ keys.T + exact(query_rope)[index] @ ropes.T
        expected[index] = softmax(scores * 0.2, seen)[0] @ keys
    close(out, expected, dtype)


@pytest.mark.parametrize(("processors", "splits"), [(1, 1), (4, 4), (64, 10)])
def test_the_number_of_splits_does_not_matter(monkeypatch, processors, splits):
    rng = np.random.default_rng(0)
    query = normal(rng, "float32", 1, 4, 8)
    key, value = (normal(rng, "float32", 40, 16, 2, 8) for _ in range(2))
    table, length = rng.permutation(40)[None].astype(np.int32), np.array([600], np.int32)
    monkeypatch.setattr(arrays.NumPy, "processors", lambda self: processors)
    with arrays.recorded() as launches:
        kernels.paged_attention(query, key, value, table, length)
    assert launches[0].numbers["splits"] == splits
    out = kernels.paged_attention(query, key, value, table, length)
    keys, values = (tokens(exact(x), table[0], 600)[0].swapaxes(0, 1) for x in (key, value))
    wide = np.repeat(keys, 2, 0), np.repeat(values, 2, 0)
    close(out[0], attention(exact(query)[0, :, None], *wide, True, 8**-0.5)[0][:, 0], "float32")


def test_what_no_sequence_uses_is_not_read():
    rng = np.random.default_rng(0)
    query, key, value = (
        normal(rng, "float32", *shape) for shape in ((2, 2, 8), *[(4, 8, 1, 8)] * 2)
    )
    table = np.array([[0, 1, 7], [2, -1, 9]], np.int32)
    length = np.array([11, 8], np.int32)
    clean = kernels.paged_attention(query, key, value, table, length)
    for cached in (key, value):
        cached[3], cached[1, 3:] = np.nan, np.nan
    np.testing.assert_array_equal(kernels.paged_attention(query, key, value, table, length), clean)
    value[2, 7] = np.nan
    out = kernels.paged_attention(query, key, value, table, length)
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[0]).all()


def test_views_of_a_cache_are_read_in_place():
    rng = np.random.default_rng(0)
    both = normal(rng, "float32", 4, 8, 2, 2, 16)
    key, value = both[:, :, 0], both[:, :, 1]
    query = normal(rng, "float32", 2, 4, 16)
    table, length = np.array([[0, 2], [3, 1]], np.int32), np.array([16, 9], np.int32)
    out = kernels.paged_attention(query, key, value, table, length)
    copies = kernels.paged_attention(query, key.copy(), value.copy(), table, length)
    np.testing.assert_array_equal(out, copies)


# --- native sparse attention (arXiv 2502.11089) -------------------------------------------------


def sparse(rng):
    """Sizes: batch, groups, heads of each, dim, width, tokens, position of the first query."""
    batch, groups = ((1, 1), (1, 2), (2, 1), (1, 3))[rng.integers(0, 4)]
    share, dim, width, queries = (int(rng.integers(1, most)) for most in (4, 24, 24, 16))
    return batch, groups, share, dim, width, queries, int(rng.integers(0, 24) * rng.integers(0, 2))


@pytest.mark.parametrize("seed", SEEDS)
def test_compress_blocks(rng, seed):
    dtype = dtype_of(seed)
    batch, groups, _, dim, _, count, _ = sparse(rng)
    stride = int(rng.integers(1, 6))
    length = int(rng.integers(1, 12))
    x, weight = normal(rng, dtype, batch, groups, count, dim), normal(rng, dtype, groups, length)
    given = None if seed % 2 else weight
    out = kernels.compress_blocks(x, given, length, stride)
    factor = np.full((groups, length), 1 / length) if given is None else exact(weight)
    blocks = max(0, (count - length) // stride + 1)
    expected = np.zeros((batch, groups, blocks, dim))
    for block in range(blocks):
        part = exact(x)[:, :, block * stride : block * stride + length]
        expected[:, :, block] = (part * factor[:, :, None]).sum(2)
    close(out, expected, dtype)


def compressed(rng, dtype):
    """Arguments of the coarse branch, and its results as the paper defines them."""
    batch, groups, share, dim, width, queries, start = sparse(rng)
    stride = int(rng.choice([1, 2, 4]))
    length, block_size = (stride * int(rng.integers(1, 5)) for _ in range(2))
    if rng.integers(0, 3) == 0:  # not as in the paper: no multiples of the stride
        length, block_size = length + 1, block_size + int(rng.integers(0, 2))
    blocks = max(1, (start + queries - length) // stride + 1) + int(rng.integers(0, 2))
    query = normal(rng, dtype, batch, groups * share, queries, dim)
    key, value = (normal(rng, dtype, batch, groups, blocks, size) for size in (dim, width))
    last = np.arange(blocks) * stride + length - 1
    seen = last <= start + np.arange(queries)[:, None]
    results = attention(
        exact(query), per_head(exact(key), share), per_head(exact(value), share), seen, dim**-0.5
    )
    return (query, key, value), (length, stride), block_size, start, share, results


def slopes(query, key, value, probability, out, dout, share):
    """Gradients of attention with scale dim ** -0.5; keys and values by group."""
    along = dout @ np.swapaxes(per_head(value, share), -1, -2)
    dscores = probability * (along - (dout * out).sum(-1, keepdims=True)) * query.shape[-1] ** -0.5

    def by_group(x):
        return x.reshape(x.shape[0], -1, share, *x.shape[2:]).sum(2)

    return (
        dscores @ per_head(key, share),
        by_group(np.swapaxes(dscores, -1, -2) @ query),
        by_group(np.swapaxes(probability, -1, -2) @ dout),
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_compressed_attention(rng, seed):
    dtype = dtype_of(seed)
    tensors, sizes, _, start, share, (expected, logsumexp, probability) = compressed(rng, dtype)
    out, logs = kernels.compressed_attention(*tensors, *sizes, start=start)
    close(out, expected, dtype)
    close_logsumexp(logs, logsumexp)
    dout = normal(rng, dtype, *out.shape)
    gradients = kernels.compressed_attention_grad(*tensors, out, logs, dout, *sizes, start=start)
    wide = [exact(x) for x in tensors]
    found = slopes(*wide, probability, expected, exact(dout), share)
    for gradient, reference in zip(gradients, found, strict=True):
        close(gradient, reference, dtype)


def important(probability, share, blocks, length, stride, block_size):
    """Equations 9 and 10: each stride of a compressed block counts for the block it starts in."""
    batch, heads, queries, compressed_blocks = probability.shape
    summed = probability.reshape(batch, heads // share, share, queries, -1).sum(2)
    score = np.zeros((batch, heads // share, queries, blocks))
    for i in range(compressed_blocks):
        for m in range(-(-length // stride)):
            j = (i + m) * stride // block_size
            if j < blocks:
                score[..., j] += summed[..., i]
    return score


@pytest.mark.parametrize("seed", SEEDS)
def test_select_blocks(rng, seed, monkeypatch):
    dtype = dtype_of(seed)
    (query, key, _), sizes, block_size, start, share, results = compressed(rng, dtype)
    queries = query.shape[2]
    blocks = -(-(start + queries) // block_size)
    expected = important(results[2], share, blocks, *sizes, block_size)
    logsumexp = results[1].astype(np.float32)
    score = kernels.block_scores(query, key, logsumexp, *sizes, block_size, start=start)
    # Products of float32 numbers and sums over heads and blocks, of exponentials near 1.
    np.testing.assert_allclose(score, expected, rtol=0, atol=2e-5)

    count = int(rng.integers(1, 7))
    if seed % 3 == 0:
        monkeypatch.setattr("scimind.ops.kernels.triton.selection.SCORES", 60)  # in many parts
    given = None if seed % 2 else logsumexp
    chosen = kernels.select_blocks(
        query, key, *sizes, block_size, count, start=start, logsumexp=given
    )
    assert chosen.dtype == np.int32
    for place in np.ndindex(chosen.shape[:3]):
        own = (start + place[2]) // block_size
        always = list(dict.fromkeys(j for j in (own, 0, own - 1) if j >= 0))[:count]
        others = sorted(set(range(own + 1)) - set(always), key=lambda j: (-expected[place][j], j))
        found = [j for j in chosen[place] if j >= 0]
        assert found == sorted(set(found))
        assert list(chosen[place]) == found + [-1] * (count - len(found))
        assert len(found) == min(count, own + 1)
        assert set(always) <= set(found)
        worth = sorted(expected[place][j] for j in found if j not in always)
        best = sorted(expected[place][j] for j in others[: len(worth)])
        np.testing.assert_allclose(worth, best, rtol=0, atol=4e-5)  # equal up to rounding


def test_equal_blocks_are_taken_from_the_first_on_and_nan_is_the_least():
    query, key = np.zeros((1, 1, 24, 4), np.float32), np.zeros((1, 1, 24, 4), np.float32)
    chosen = kernels.select_blocks(query, key, 1, 1, 4, 4)
    np.testing.assert_array_equal(chosen[0, 0, -1], [0, 1, 4, 5])
    key[0, 0, 4:8] = np.nan
    chosen = kernels.select_blocks(query, key, 1, 1, 4, 4)
    # Every probability is NaN then, and the choice still one of blocks that exist.
    np.testing.assert_array_equal(chosen[0, 0, -1], [0, 1, 4, 5])


def selected(rng, dtype):
    batch, groups, share, dim, width, queries, before = sparse(rng)
    keys, block_size, count = before + queries, int(rng.integers(1, 24)), int(rng.integers(1, 4))
    blocks = np.full((batch, groups, queries, count), -1, np.int32)
    for place in np.ndindex(batch, groups, queries):
        # Also blocks that lie ahead, that are none, and some twice.
        blocks[place] = rng.integers(-1, -(-keys // block_size) + 1, count)
    query = normal(rng, dtype, batch, groups * share, queries, dim)
    key, value = (normal(rng, dtype, batch, groups, keys, size) for size in (dim, width))
    token, position = np.arange(keys), before + np.arange(queries)
    seen = (token // block_size == blocks[..., None]).any(3) & (token <= position[:, None])
    return (query, key, value, blocks), block_size, share, per_head(seen, share)


@pytest.mark.parametrize("seed", SEEDS)
def test_selected_attention(rng, seed):
    dtype = dtype_of(seed)
    tensors, block_size, share, seen = selected(rng, dtype)
    query, key, value = (exact(x) for x in tensors[:3])
    scale = query.shape[-1] ** -0.5
    wide_key, wide_value = per_head(key, share), per_head(value, share)
    expected, logsumexp, probability = attention(query, wide_key, wide_value, seen, scale)
    out, logs = kernels.selected_attention(*tensors, block_size)
    close(out, expected, dtype)
    close_logsumexp(logs, logsumexp)

    dout = normal(rng, dtype, *out.shape)
    gradients = kernels.selected_attention_grad(*tensors, out, logs, dout, block_size)
    found = slopes(query, key, value, probability, expected, exact(dout), share)
    for gradient, reference in zip(gradients, found, strict=True):
        close(gradient, reference, dtype)


def test_more_queries_than_keys():
    rng = np.random.default_rng(0)
    query, key = normal(rng, "float32", 1, 1, 5, 8), normal(rng, "float32", 1, 1, 3, 8)
    blocks = np.zeros((1, 1, 5, 1), np.int32)
    out, logs = kernels.selected_attention(query, key, key, blocks, 4)
    seen = np.arange(3) <= np.arange(5)[:, None] - 2
    expected, logsumexp, _ = attention(exact(query), exact(key), exact(key), seen, 8**-0.5)
    close(out, expected, "float32")
    close_logsumexp(logs, logsumexp)


def test_a_block_of_many_queries_is_summed_in_chunks():
    rng = np.random.default_rng(0)
    query, key = normal(rng, "float32", 1, 1, 60, 16), normal(rng, "float32", 1, 1, 60, 16)
    blocks = np.zeros((1, 1, 60, 2), np.int32)
    blocks[..., 1] = np.where(np.arange(60) < 50, -1, 3)
    out, logs = kernels.selected_attention(query, key, key, blocks, 16)
    dout = normal(rng, "float32", *out.shape)
    got = kernels.selected_attention_grad(query, key, key, blocks, out, logs, dout, 16)[2]
    token = np.arange(60)
    seen = (token // 16 == blocks[..., None]).any(3) & (token <= token[:, None])
    probability = attention(exact(query), exact(key), exact(key), seen, 0.25)[2]
    close(got, np.swapaxes(probability, -1, -2) @ exact(dout), "float32")


def test_axes_without_elements():
    def zeros(*shape, dtype=np.float32):
        return np.zeros(shape, dtype)

    def integers(*shape):
        return zeros(*shape, dtype=np.int32)

    none = zeros(3, 4, 2, 8), zeros(3, 4, 2, 8)
    for batch, blocks in ((0, 2), (2, 0)):
        table, length = integers(batch, blocks), integers(batch)
        out = kernels.paged_attention(zeros(batch, 4, 8), *none, table, length)
        np.testing.assert_array_equal(out, zeros(batch, 4, 8))
    assert kernels.compress_blocks(zeros(1, 2, 3, 8), None, 4, 2).shape == (1, 2, 0, 8)
    out, logs = kernels.compressed_attention(zeros(1, 2, 3, 8), *[zeros(1, 2, 0, 8)] * 2, 4, 2)
    np.testing.assert_array_equal(out, zeros(1, 2, 3, 8))
    assert np.isneginf(logs).all()
    rest = zeros(1, 2, 3, 8), zeros(1, 2, 3), zeros(1, 2, 3, 8)
    grads = kernels.compressed_attention_grad(
        zeros(1, 2, 3, 8), *[zeros(1, 2, 0, 8)] * 2, *rest, 4, 2
    )
    np.testing.assert_array_equal(grads[0], zeros(1, 2, 3, 8))
    for queries, count in ((0, 3), (5, 0)):
        query, blocks = zeros(1, 2, queries, 8), integers(1, 1, queries, count)
        keys = normal(np.random.default_rng(0), "float32", 1, 1, 6, 8)
        out, logs = kernels.selected_attention(query, keys, keys, blocks, 2)
        grads = kernels.selected_attention_grad(query, keys, keys, blocks, out, logs, out, 2)
        for got, like in zip((out, *grads), (query, query, keys, keys), strict=True):
            np.testing.assert_array_equal(got, np.zeros_like(like))


# --- MindSpore tensors, errors ------------------------------------------------------------------


def test_mindspore_tensors():
    from mindspore import Tensor

    rng = np.random.default_rng(0)
    tensors, block_size, _, _ = selected(np.random.default_rng(3), "float32")
    out, logs = kernels.selected_attention(*tensors, block_size)
    dout = normal(rng, "float32", *out.shape)
    expected = kernels.selected_attention_grad(*tensors, out, logs, dout, block_size)
    given = [Tensor(x) for x in tensors]
    found, sums = kernels.selected_attention(*given, block_size)
    gradients = kernels.selected_attention_grad(*given, found, sums, Tensor(dout), block_size)
    np.testing.assert_array_equal(found.asnumpy(), out)
    for gradient, reference in zip(gradients, expected, strict=True):
        close(gradient.asnumpy(), exact(reference), "float32")


def test_mindspore_bfloat16():
    import mindspore
    from mindspore import Tensor

    rng = np.random.default_rng(0)
    bits = [normal(rng, "bfloat16", *shape) for shape in ((2, 2, 8), (4, 8, 1, 8), (4, 8, 1, 8))]
    table, length = np.array([[0, 1], [2, 3]], np.int32), np.array([11, 16], np.int32)
    expected = exact(kernels.paged_attention(*bits, table, length))
    given = [Tensor(exact(x).astype(np.float32)).astype(mindspore.bfloat16) for x in bits]
    out = kernels.paged_attention(*given, Tensor(table), Tensor(length))
    assert out.dtype == mindspore.bfloat16
    np.testing.assert_array_equal(out.astype(mindspore.float32).asnumpy(), expected)


def wrong_calls():
    def zeros(*shape, dtype=np.float32):
        return np.zeros(shape, dtype)

    def paged(**changed):
        given = {
            "query": zeros(2, 4, 8),
            "key_cache": zeros(3, 4, 2, 8),
            "value_cache": zeros(3, 4, 2, 8),
            "block_table": zeros(2, 5, dtype=np.int32),
            "length": zeros(2, dtype=np.int32),
        }
        return lambda: kernels.paged_attention(**{**given, **changed})

    def chosen(**changed):
        given = {
            "query": zeros(1, 4, 6, 8),
            "key": zeros(1, 2, 6, 8),
            "value": zeros(1, 2, 6, 8),
            "blocks": zeros(1, 2, 6, 3, dtype=np.int32),
            "block_size": 2,
        }
        return lambda: kernels.selected_attention(**{**given, **changed})

    def choice(**changed):
        given = {"length": 4, "stride": 2, "block_size": 4, "count": 3}
        return lambda: kernels.select_blocks(
            zeros(1, 2, 6, 8), zeros(1, 1, 2, 8), **{**given, **changed}
        )

    crossed = zeros(3, 4, 8, 2).swapaxes(2, 3)
    return {
        "axes": (paged(query=zeros(2, 4)), r"paged_attention: query .* float\[batch head dim\]"),
        "size": (paged(key_cache=zeros(3, 4, 2, 7)), "paged_attention: key_cache .* dim is 8 in q"),
        "dtype": (paged(length=zeros(2)), r"paged_attention: length .* int\[batch\]: int32"),
        "double": (
            paged(query=zeros(2, 4, 8, dtype=float)),
            "query has dtype float64; .* bfloat16",
        ),
        "mixed": (
            paged(value_cache=zeros(3, 4, 2, 8, dtype=np.float16)),
            "value_cache .* query has",
        ),
        "heads": (paged(query=zeros(2, 3, 8)), "3 heads and key 2 groups; .* multiple of group"),
        "strides": (paged(key_cache=crossed), "key_cache .* last axis has to be contiguous"),
        "kind": (paged(length=[1, 2]), r"length is a list; the rule is int\[batch\]"),
        "values": (chosen(value=zeros(1, 2, 5, 8)), "selected_attention: value .* key is 6 in key"),
        "block": (chosen(block_size=0), "selected_attention: block_size is 0; .* positive"),
        "stride": (choice(stride=0), "select_blocks: stride is 0; .* positive"),
        "count": (choice(count=True), "select_blocks: count is True; .* positive"),
        "latent": (
            lambda: kernels.latent_attention(
                *[zeros(2, 4, 1, 8), zeros(2, 4, 2, 3), zeros(3, 4, 8), zeros(3, 4, 3)],
                *[zeros(2, 5, dtype=np.int32), zeros(2, dtype=np.int32), 1.0],
            ),
            "latent_attention: query_rope .* query is 1 in query",
        ),
        "compress": (
            lambda: kernels.compress_blocks(zeros(1, 2, 9, 4), zeros(2, 3), 4, 2),
            "compress_blocks: weight .* length is 4",
        ),
        "coarse": (
            lambda: kernels.compressed_attention(
                zeros(1, 2, 9, 4), zeros(1, 2, 3, 4), zeros(1, 2, 2, 4), 4, 2
            ),
            "compressed_attention: value .* block is 3 in key",
        ),
        "cotangent": (
            lambda: kernels.selected_attention_grad(
                *[zeros(1, 2, 6, 4)] * 3,
                zeros(1, 2, 6, 1, dtype=np.int32),
                zeros(1, 2, 6, 4),
                zeros(1, 2, 6),
                zeros(1, 2, 6, 5),
                2,
            ),
            "selected_attention_grad: dout .* width is 4 in value",
        ),
    }


@pytest.mark.parametrize("case", wrong_calls())
def test_errors_name_operator_argument_and_rule(case):
    call, message = wrong_calls()[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_other_objects_are_no_arrays():
    with pytest.raises(TypeError, match="paged_attention: query is a list"):
        kernels.paged_attention([1.0], None, None, None, None)


# --- what triton-ascend makes of the kernels ----------------------------------------------------


def compiling(script, **variables):
    """Run Python with a Triton that compiles."""
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, *script], env=environment, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lowered")
    done = compiling(["-m", "scimind.ops.kernels.triton.lowering", str(folder)])
    assert done.returncode == 0, done.stderr
    return folder


def device_kernels():
    """All kernels: the functions that take tasks; the others are parts of them."""
    found = []
    for path in sorted((Path(kernels.__file__).parent / "kernels").glob("*.py")):
        functions = re.findall(r"^def (\w+)\((.*?)\):$", path.read_text(), re.M | re.S)
        found += [f"{path.stem}.{name}" for name, arguments in functions if "tasks," in arguments]
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", device_kernels())
def test_lowered_for_ascend(lowered, kernel, dtype):
    text = (lowered / f"{kernel}.{dtype}.ttadapter").read_text()
    source = (lowered / f"{kernel}.{dtype}.ttir").read_text()
    name = kernel.split(".")[1]
    assert f"func.func @{name}(" in text
    assert f"tt.func public @{name}(" in source
    for ir in (text, source):
        assert not re.search(r"\bf64\b|xf64\b", ir)
    # Every access moves a tile; the loops over single rows or elements bear these marks.
    assert "DiscreteMemAccess" not in text
    assert "ExtractedLoadOrStore" not in text
    if name not in ("best_blocks", "distinct_blocks"):
        element = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[dtype]
        assert f"memref<?x{element}>" in text
    vectors = "compress_blocks", "best_blocks", "distinct_blocks", "sum_chunks", "combine"
    matrices = name not in vectors
    assert ("linalg.matmul" in text) == matrices
    assert f'mix_mode = "{"mix" if matrices else "aiv"}"' in text


# --- the driver for MindSpore, with a stand-in for CANN -----------------------------------------

HEADER = """
#include <stdint.h>
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef int32_t rtError_t;
typedef void* rtStream_t;
typedef struct rtSmDesc rtSmDesc_t;
typedef struct { uint32_t magic, version; const void* data; uint64_t length; } rtDevBinary_t;
typedef enum { RT_MEMCPY_HOST_TO_DEVICE, RT_MEMCPY_DEVICE_TO_HOST } rtMemcpyKind_t;
typedef enum {
  RT_LIMIT_TYPE_LOW_POWER_TIMEOUT,
  RT_LIMIT_TYPE_SIMT_WARP_STACK_SIZE,
  RT_LIMIT_TYPE_SIMT_DVG_WARP_STACK_SIZE,
  RT_LIMIT_TYPE_STACK_SIZE
} rtLimitType_t;
#define RT_ERROR_NONE 0
#define RT_DEV_BINARY_MAGIC_ELF 0x43554245
#define RT_DEV_BINARY_MAGIC_ELF_AIVEC 0x41415246
#define RT_MEMORY_HOST 1
#define RT_MEMORY_HBM 2
rtError_t rtSetDevice(int32_t);
rtError_t rtDevBinaryRegister(const rtDevBinary_t*, void**);
rtError_t rtFunctionRegister(void*, const void*, const char*, const void*, uint32_t);
rtError_t rtGetSocVersion(char*, uint32_t);
rtError_t rtGetAiCoreCount(uint32_t*);
rtError_t rtStreamCreate(rtStream_t*, int32_t);
rtError_t rtStreamDestroy(rtStream_t);
rtError_t rtMallocHost(void**, uint64_t, uint32_t);
rtError_t rtFreeHost(void*);
rtError_t rtMalloc(void**, uint64_t, uint32_t, uint16_t);
rtError_t rtFree(void*);
rtError_t rtMemcpy(void*, uint64_t, const void*, uint64_t, rtMemcpyKind_t);
rtError_t rtDeviceSetLimit(int32_t, rtLimitType_t, uint32_t);
rtError_t rtGetC2cCtrlAddr(uint64_t*, uint32_t*);
rtError_t rtKernelLaunch(const void*, uint32_t, void*, uint32_t, rtSmDesc_t*, rtStream_t);
#ifdef __cplusplus
}
#endif
"""

RUNTIME = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "rt.h"
rtError_t rtSetDevice(int32_t d) { return d; }
rtError_t rtDevBinaryRegister(const rtDevBinary_t* b, void** h) {
  *h = (void*)b;
  return memcmp(b->data, "compiled", 8) != 0;
}
rtError_t rtFunctionRegister(void* h, const void* f, const char* s, const void* n, uint32_t m) {
  *(size_t*)f = strlen((const char*)n);
  return 0;
}
rtError_t rtGetSocVersion(char* s, uint32_t n) { strcpy(s, "Ascend910B3"); return 0; }
rtError_t rtGetAiCoreCount(uint32_t* n) { *n = 20; return 0; }
rtError_t rtGetC2cCtrlAddr(uint64_t* a, uint32_t* n) { *a = 0x5ca1ab1e; *n = 8; return 0; }
#define UNUSED(name, ...) rtError_t name(__VA_ARGS__) { return 1; }
UNUSED(rtStreamCreate, rtStream_t* s, int32_t p)
UNUSED(rtStreamDestroy, rtStream_t s)
UNUSED(rtMallocHost, void** p, uint64_t n, uint32_t k)
UNUSED(rtFreeHost, void* p)
UNUSED(rtMalloc, void** p, uint64_t n, uint32_t k, uint16_t m)
UNUSED(rtFree, void* p)
UNUSED(rtMemcpy, void* a, uint64_t m, const void* b, uint64_t n, rtMemcpyKind_t k)
UNUSED(rtDeviceSetLimit, int32_t d, rtLimitType_t k, uint32_t v)
/* Writes down what a device would have been given. */
rtError_t rtKernelLaunch(const void* f, uint32_t blocks, void* a, uint32_t n, rtSmDesc_t* d,
                         rtStream_t s) {
  FILE* file = fopen(getenv("LAUNCHES"), "a");
  fprintf(file, "%zu %u ", *(const size_t*)f, blocks);
  for (uint32_t i = 0; i < n; ++i) fprintf(file, "%02x", ((unsigned char*)a)[i]);
  fprintf(file, "\\n");
  fclose(file);
  return 0;
}
"""

COMPILER = """#!/bin/sh
# What bishengir-compile leaves behind: the binary beside the name that it is given.
while [ $# -gt 1 ]; do shift; [ "$1" = -o ] && printf compiled > "$2_reloc.o"; done
exit 0
"""

SCRIPT = """
import json, sys
import numpy as np
import mindspore
from mindspore import Tensor
from mindspore.graph.api import _pynative_executor
from scimind import device
from scimind.ops.kernels import triton as kernels
from scimind.ops.kernels.triton import arrays, decoding
from scimind.ops.kernels.triton.driver import MindSporeDriver

device.setup("cpu", threads=1)
arrays._on_ascend = lambda: True
seen = {}
launch = decoding.launch

def watch(library, kernel, tasks, arguments, constants):
    launch(library, kernel, tasks, arguments, constants)
    seen[kernel] = {
        name: value.data_ptr() if isinstance(value, mindspore.Tensor) else value
        for name, value in {**arguments, "tasks": tasks}.items()
    }, [name for name in arrays.function(kernel).arg_names if name not in constants]

decoding.launch = watch
rng = np.random.default_rng(0)
given = [rng.standard_normal(s).astype(np.float32) for s in ((2, 4, 16), *[(9, 16, 2, 16)] * 2)]
kernels.paged_attention(
    *[Tensor(x) for x in given],
    Tensor(rng.permutation(8).reshape(2, 4).astype(np.int32)),
    Tensor(np.array([60, 35], np.int32)),
)
_pynative_executor.sync()
print(json.dumps([seen, MindSporeDriver.active().processors()]))
"""


@pytest.mark.slow
def test_the_driver_starts_kernels_with_their_arguments(tmp_path):
    include, libraries = tmp_path / "include/experiment/runtime/runtime", tmp_path / "lib64"
    for folder in (include, libraries, tmp_path / "bin"):
        folder.mkdir(parents=True)
    (include / "rt.h").write_text(HEADER)
    source = tmp_path / "runtime.c"
    source.write_text(RUNTIME)
    library = libraries / "libruntime.so"
    subprocess.run(["gcc", "-shared", "-fPIC", f"-I{include}", source, "-o", library], check=True)
    compiler = tmp_path / "bin/bishengir-compile"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    launches = tmp_path / "launches"
    done = compiling(
        ["-c", SCRIPT],
        ASCEND_HOME_PATH=str(tmp_path),
        SCIMIND_CACHE=str(tmp_path / "cache"),
        TRITON_CACHE_DIR=str(tmp_path / "triton"),
        LAUNCHES=str(launches),
        PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    )
    assert done.returncode == 0, done.stderr
    seen, processors = json.loads(done.stdout.splitlines()[-1])
    assert processors == 20
    lines = [line.split() for line in launches.read_text().splitlines()]
    assert len(lines) == len(seen) == 2
    for (kernel, (values, order)), (length, blocks, image) in zip(seen.items(), lines, strict=True):
        assert int(length) == len(kernel.split(".")[1])  # the name with which it was registered
        assert int(blocks) == min(values["tasks"], processors)
        image = bytes.fromhex(image)
        # FFTS address, locks, workspace; then what is no constant, and 1 is one for Triton.
        assert struct.unpack_from("QQQ", image) == (0x5CA1AB1E, 0, 0)
        kept = [values[name] for name in order if values[name] != 1 or name == "scale"]
        form = "".join("f" if isinstance(v, float) else "Q" if v > 1 << 31 else "i" for v in kept)
        found = struct.unpack_from(f"{form}iii", image, 24)
        assert found == (*[pytest.approx(v) for v in kept], int(blocks), 1, 1)
        assert len(image) == -(-struct.calcsize(f"QQQ{form}iii") // 8) * 8

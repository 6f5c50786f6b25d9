"""Attention to pages against float64 loops over tokens, and what vLLM and DeepSeek-V2 promise."""

import contextlib
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mindspore import Tensor

from raw_kernels import Kernels, options
from scimind import ops
from scimind.ops import paged
from scimind.ops.kernels import native

SOURCE = Path(paged.__file__).parent / "kernels/cpu/paged.cc"
random_shapes = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
some = st.integers(0, 4)
seed = st.integers(0, 2**31)


@pytest.fixture(scope="module")
def raw():
    library = native.load(SOURCE)
    if library is None:
        pytest.skip("the CPU kernels cannot be built")
    onednn = Path(ms.__file__).parent / "lib" / "libdnnl.so.3"
    return Kernels(library, onednn)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def tokens_of(cache, table, count):
    """The tokens of one sequence, in order, as far as their pages exist."""
    pages, slot = cache.shape[:2]
    places = [(table[t // slot], t % slot) for t in range(min(count, len(table) * slot))]
    return np.array([cache[p, s] for p, s in places if 0 <= p < pages], np.float64)


def paged_reference(query, key_cache, value_cache, table, length, scale):
    batch, heads, _ = query.shape
    out = np.zeros((batch, heads, value_cache.shape[3]))
    for b in range(batch):
        key = tokens_of(key_cache, table[b], length[b])
        value = tokens_of(value_cache, table[b], length[b])
        for h in range(heads if len(key) else 0):
            group = h * key_cache.shape[2] // heads
            weight = softmax(key[:, group] @ query[b, h].astype(np.float64) * scale)
            out[b, h] = weight @ value[:, group]
    return out


def latent_reference(query, query_rope, latent_cache, rope_cache, table, length, scale):
    batch, heads, queries, _ = query.shape
    out = np.zeros(query.shape)
    room = table.shape[1] * latent_cache.shape[1]
    for b in range(batch):
        for i in range(queries):
            seen = min(length[b], room) - queries + i + 1
            latent = tokens_of(latent_cache, table[b], seen)
            rope = tokens_of(rope_cache, table[b], seen)
            for h in range(heads if len(latent) else 0):
                logits = latent @ query[b, h, i].astype(np.float64)
                logits += rope @ query_rope[b, h, i].astype(np.float64)
                out[b, h, i] = softmax(logits * scale) @ latent
    return out


def table_and_length(seed, batch, blocks, pages, slot):
    rng = np.random.default_rng(seed)
    table = rng.integers(-1, pages + 1, (batch, blocks)).astype(np.int32)
    return table, rng.integers(-2, blocks * slot + 3, batch).astype(np.int32)


def run(function, arrays, scale, kernels="auto", jit=False):
    tensors = [Tensor(array) for array in arrays]

    def call(*inputs):
        return function(*inputs, scale)

    if jit:
        call = ms.jit(call)
    with ops.plain_formulations() if kernels == "plain" else contextlib.nullcontext():
        return call(*tensors).asnumpy().copy()


@random_shapes
@given(
    batch=some, groups=some, share=some, dim=some, width=some, pages=some,
    slot=st.integers(0, 9), blocks=some, seed=seed,
)  # fmt: skip
def test_the_kernel_is_attention_to_the_tokens_of_each_sequence(
    raw, batch, groups, share, dim, width, pages, slot, blocks, seed
):
    query = normal(seed, batch, groups * share, dim)
    key = normal(seed + 1, pages, slot, groups, dim)
    value = normal(seed + 2, pages, slot, groups, width)
    table, length = table_and_length(seed, batch, blocks, pages, slot)
    out = np.full((batch, groups * share, width), np.nan, np.float32)
    raw.call("paged_attention", [query, key, value, table, length, options(0.4)], [out])
    expected = paged_reference(query, key, value, table, length, 0.4)
    np.testing.assert_allclose(out, expected, atol=1e-5)


@random_shapes
@given(
    batch=some, heads=some, queries=some, rank=some, rope=some, pages=some,
    slot=st.integers(0, 9), blocks=some, seed=seed,
)  # fmt: skip
def test_the_latent_kernel_sees_the_tokens_up_to_each_query(
    raw, batch, heads, queries, rank, rope, pages, slot, blocks, seed
):
    query, turned = (normal(seed + i, batch, heads, queries, n) for i, n in ((0, rank), (1, rope)))
    latent, keys = (normal(seed + i, pages, slot, n) for i, n in ((2, rank), (3, rope)))
    table, length = table_and_length(seed, batch, blocks, pages, slot)
    out = np.full(query.shape, np.nan, np.float32)
    arrays = [query, turned, latent, keys, table, length]
    raw.call("latent_attention", [*arrays, options(0.4)], [out])
    np.testing.assert_allclose(out, latent_reference(*arrays, 0.4), atol=1e-5)


def long_sequences(slot=16):
    """Three sequences of several hundred tokens, so that the kernels cut them into pieces."""
    rng = np.random.default_rng(5)
    table = np.stack([rng.permutation(80)[:60] for _ in range(3)]).astype(np.int32)
    table[1, 3] = -1
    return table, np.array([60 * slot, 31 * slot + 3, 0], np.int32)


@pytest.mark.parametrize("jit", [False, True])
def test_long_sequences_are_put_together_from_pieces(kernels, jit):
    table, length = long_sequences()
    arrays = [normal(0, 3, 8, 12), normal(1, 80, 16, 2, 12), normal(2, 80, 16, 2, 10)]
    out = run(paged.paged_attention, [*arrays, table, length], None, kernels, jit)
    expected = paged_reference(*arrays, table, length, 12**-0.5)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    arrays = [normal(0, 3, 4, 2, 12), normal(1, 3, 4, 2, 6)]
    arrays += [normal(2, 80, 16, 12), normal(3, 80, 16, 6)]
    out = run(paged.latent_attention, [*arrays, table, length], 0.3, kernels, jit)
    expected = latent_reference(*arrays, table, length, 0.3)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_the_results_have_the_same_bits_with_any_number_of_threads(raw):
    table, length = long_sequences()
    length[2] = 700
    first = [normal(0, 3, 8, 12), normal(1, 80, 16, 2, 12), normal(2, 80, 16, 2, 10)]
    second = [normal(0, 3, 4, 2, 12), normal(1, 3, 4, 2, 6)]
    second += [normal(2, 80, 16, 12), normal(3, 80, 16, 6)]
    results = []
    for threads in (1, 2, 3):
        raw._library.scimind_threads(threads)
        outs = np.empty((3, 8, 10), np.float32), np.empty((3, 4, 2, 12), np.float32)
        raw.call("paged_attention", [*first, table, length, options(None)], [outs[0]])
        raw.call("latent_attention", [*second, table, length, options(0.3)], [outs[1]])
        results.append(outs)
    raw._library.scimind_threads(1)
    for outs in results[1:]:
        assert all((a == b).all() for a, b in zip(outs, results[0], strict=True))


def test_any_permutation_of_pages_is_attention_to_contiguous_keys(kernels):
    batch, groups, slot, blocks, dim = 2, 2, 4, 5, 8
    query = normal(0, batch, 4, dim)
    key, value = (normal(i, batch, blocks * slot, groups, dim) for i in (1, 2))
    contiguous = [Tensor(x.transpose(0, 2, 1, 3).copy()) for x in (key, value)]
    with ops.plain_formulations():
        expected = ops.attention(Tensor(query[:, :, None]), *contiguous).asnumpy()[:, :, 0]
    rng = np.random.default_rng(3)
    results = []
    for _ in range(4):
        pages = rng.permutation(batch * blocks + 3)[: batch * blocks]
        caches = []
        for x in (key, value):
            cache = normal(9, batch * blocks + 3, slot, groups, dim)
            cache[pages] = x.reshape(batch * blocks, slot, groups, dim)
            caches.append(cache)
        table = pages.reshape(batch, blocks).astype(np.int32)
        length = np.full(batch, blocks * slot, np.int32)
        results.append(run(paged.paged_attention, [query, *caches, table, length], None, kernels))
        np.testing.assert_allclose(results[-1], expected, atol=1e-6)
        assert (results[-1] == results[0]).all()


def test_what_unused_slots_hold_does_not_matter(kernels):
    table = np.array([[2, -1], [0, 7]], np.int32)
    length = np.array([3, 6], np.int32)
    arrays = [normal(0, 2, 2, 4), normal(1, 3, 4, 1, 4), normal(2, 3, 4, 1, 4)]
    expected = run(paged.paged_attention, [*arrays, table, length], None, kernels)
    for cache in arrays[1:]:
        cache[1] = np.nan
        cache[2, 3] = np.nan
    out = run(paged.paged_attention, [*arrays, table, length], None, kernels)
    assert (out == expected).all()
    arrays[1][2, 1] = np.nan
    out = run(paged.paged_attention, [*arrays, table, length], None, kernels)
    assert np.isnan(out[0]).all()
    assert (out[1] == expected[1]).all()


def test_latent_attention_is_multi_head_attention_with_the_up_projections_folded_in(kernels):
    # DeepSeek-V2, equations 9 to 19: per head, keys W_UK c with the shared rotated part appended,
    # and values W_UV c.
    heads, nope, rope, rank, slot, tokens, queries = 3, 6, 4, 8, 4, 11, 2
    rng = np.random.default_rng(0)
    up_key, up_value = (rng.standard_normal((heads, n, rank)) for n in (nope, 5))
    latent, turned = rng.standard_normal((tokens, rank)), rng.standard_normal((tokens, rope))
    query, query_rope = (rng.standard_normal((heads, queries, n)) for n in (nope, rope))
    scale = (nope + rope) ** -0.5
    expected = np.zeros((heads, queries, 5))
    for h in range(heads):
        key = np.concatenate((latent @ up_key[h].T, turned), -1)
        value = latent @ up_value[h].T
        for i in range(queries):
            seen = tokens - queries + i + 1
            row = np.concatenate((query[h, i], query_rope[h, i]))
            expected[h, i] = softmax(key[:seen] @ row * scale) @ value[:seen]
    table = np.array([[3, 0, 1]], np.int32)
    caches = []
    for x in (latent, turned):
        cache = np.full((4, slot, x.shape[1]), 7.0, np.float32)
        padded = np.concatenate((x, np.zeros((1, x.shape[1]))))
        cache[table[0]] = padded.reshape(3, slot, -1)
        caches.append(cache)
    absorbed = np.einsum("hqn,hnr->hqr", query, up_key)[None].astype(np.float32)
    arrays = [absorbed, query_rope[None].astype(np.float32), *caches, table]
    out = run(paged.latent_attention, [*arrays, np.array([tokens], np.int32)], scale, kernels)
    np.testing.assert_allclose(np.einsum("hqr,hvr->hqv", out[0], up_value), expected, atol=1e-5)


def test_queries_before_the_start_of_a_sequence_get_zeros(kernels):
    arrays = [normal(0, 1, 2, 3, 4), normal(1, 1, 2, 3, 2), normal(2, 2, 4, 4), normal(3, 2, 4, 2)]
    table, length = np.array([[1, 0]], np.int32), np.array([2], np.int32)
    out = run(paged.latent_attention, [*arrays, table, length], 0.5, kernels)
    assert (out[:, :, 0] == 0).all()
    np.testing.assert_allclose(out[:, :, 1], np.broadcast_to(arrays[2][1, 0], (1, 2, 4)), atol=1e-6)

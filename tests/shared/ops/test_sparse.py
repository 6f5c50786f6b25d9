"""The operators of native sparse attention against float64 loops over queries, from the paper."""

import resource
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mindspore import Tensor

from raw_kernels import Kernels, options
from scimind import ops
from scimind.ops import sparse
from scimind.ops.kernels import native

SOURCE = Path(sparse.__file__).parent / "kernels/cpu/sparse.cc"
random_shapes = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(random_shapes, max_examples=3)
some = st.integers(0, 3)
size = st.integers(1, 3)
tokens = st.integers(0, 40)
span = st.integers(1, 12)
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


def attend(query, key, value, seen, scale):
    """Attention of each query to the keys that ``seen(batch, group, query)`` lists."""
    batch, heads, queries, _ = query.shape
    groups = key.shape[1]
    out = np.zeros((batch, heads, queries, value.shape[3]))
    for b in range(batch):
        for h in range(heads):
            g = h * groups // heads
            for t in range(queries):
                listed = seen(b, g, t)
                if listed:
                    weight = softmax(key[b, g, listed] @ query[b, h, t] * scale)
                    out[b, h, t] = weight @ value[b, g, listed]
    return out


def ended(blocks, length, stride, position):
    """Compressed blocks that end at a position or before."""
    return [i for i in range(blocks) if i * stride + length - 1 <= position]


def compressed(query, key, value, length, stride, scale, start=0):
    listed = lambda b, g, t: ended(key.shape[2], length, stride, start + t)  # noqa: E731
    return attend(query, key, value, listed, scale)


def selected(query, key, value, blocks, block_size, scale):
    queries, keys = query.shape[2], key.shape[2]

    def listed(b, g, t):
        chosen = set(blocks[b, g, t].tolist())
        position = t + keys - queries
        return [i for i in range(keys) if i // block_size in chosen and i <= position]

    return attend(query, key, value, listed, scale)


def importance(query, key, length, stride, block_size, scale, start, place):
    """Importance of each block for one query, batch and group: where its tokens' strides lie."""
    b, g, t = place
    share = query.shape[1] // key.shape[1]
    position = start + t
    score = np.zeros(position // block_size + 1)
    seen = ended(key.shape[2], length, stride, position)
    for h in range(g * share, (g + 1) * share):
        if seen:
            for i, p in zip(seen, softmax(key[b, g, seen] @ query[b, h, t] * scale), strict=True):
                for begin in range(i * stride, i * stride + length, stride):
                    if begin // block_size < len(score):
                        score[begin // block_size] += p
    return score


def best(score, count):
    """The chosen blocks: own, first, the one before, then by importance, the earlier of equals."""
    last = len(score) - 1
    always = list(dict.fromkeys([last, 0, max(last - 1, 0)]))
    others = [j for j in range(last) if j not in always]
    order = always + sorted(others, key=lambda j: (-score[j], j))
    return sorted(order[:count]) + [-1] * (count - len(order))


def check_gradients(reference, inputs, cotangent, slopes, seed):
    """Slopes along a random direction against central differences of a float64 function."""
    rng = np.random.default_rng(seed)
    exact = [x.astype(np.float64) for x in inputs]
    for index, slope in enumerate(slopes):
        assert np.isfinite(slope).all()
        direction = rng.standard_normal(slope.shape)
        sums = []
        for sign in (1.0, -1.0):
            moved = list(exact)
            moved[index] = exact[index] + sign * 1e-5 * direction
            sums.append((reference(*moved) * cotangent).sum())
        finite = (sums[0] - sums[1]) / 2e-5
        scale = np.linalg.norm(slope * direction) + 1e-2
        assert abs((slope * direction).sum() - finite) < 2e-4 * scale, f"input {index}"


def forward_and_back(raw, name, inputs, extra, scalars, cotangent):
    """Result and gradients of a kernel; every entry has to be written."""
    query, _, value = inputs
    out = np.full((*query.shape[:3], value.shape[3]), np.nan, np.float32)
    logsum = np.full(query.shape[:3], np.nan, np.float32)
    raw.call(name, [*inputs, *extra, scalars], [out, logsum])
    slopes = [np.full(x.shape, np.nan, np.float32) for x in inputs]
    raw.call(f"{name}_grad", [*inputs, *extra, out, logsum, cotangent, scalars], slopes)
    assert np.isfinite(logsum).all()
    return out, slopes


@random_shapes
@given(
    batch=some, groups=some, share=some, queries=tokens, blocks=st.integers(0, 12), dim=some,
    width=some, length=span, stride=st.integers(1, 6), start=st.integers(0, 9), seed=seed,
)  # fmt: skip
def test_compressed_kernel_and_its_gradients(
    raw, batch, groups, share, queries, blocks, dim, width, length, stride, start, seed
):
    inputs = [
        normal(seed, batch, groups * share, queries, dim),
        normal(seed + 1, batch, groups, blocks, dim),
        normal(seed + 2, batch, groups, blocks, width),
    ]
    cotangent = normal(seed + 3, batch, groups * share, queries, width)
    scalars = options(length, stride, 0.6, start)
    out, slopes = forward_and_back(raw, "compressed_attention", inputs, [], scalars, cotangent)

    def reference(q, k, v):
        return compressed(q, k, v, length, stride, 0.6, start)

    expected = reference(*(x.astype(np.float64) for x in inputs))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    check_gradients(reference, inputs, cotangent, slopes, seed)


@random_shapes
@given(
    batch=some, groups=some, share=some, queries=tokens, extra=st.integers(-5, 9), dim=some,
    width=some, block_size=span, count=st.integers(0, 5), seed=seed,
)  # fmt: skip
def test_selected_kernel_and_its_gradients(
    raw, batch, groups, share, queries, extra, dim, width, block_size, count, seed
):
    keys = max(0, queries + extra)
    available = -(-keys // block_size)
    inputs = [
        normal(seed, batch, groups * share, queries, dim),
        normal(seed + 1, batch, groups, keys, dim),
        normal(seed + 2, batch, groups, keys, width),
    ]
    shape = (batch, groups, queries, count)
    blocks = np.random.default_rng(seed).integers(-2, available + 2, shape).astype(np.int32)
    cotangent = normal(seed + 3, batch, groups * share, queries, width)
    out, slopes = forward_and_back(
        raw, "selected_attention", inputs, [blocks], options(block_size, 0.6), cotangent
    )

    def reference(q, k, v):
        return selected(q, k, v, blocks, block_size, 0.6)

    expected = reference(*(x.astype(np.float64) for x in inputs))
    np.testing.assert_allclose(out, expected, atol=1e-5)
    check_gradients(reference, inputs, cotangent, slopes, seed)


def assert_best(blocks, score, count):
    """The blocks are the best ones, up to differences of the importance within rounding."""
    expected = best(score, count)
    if blocks == expected:
        return
    differing = [score[j] for j in set(blocks) ^ set(expected)]
    assert len(blocks) == count
    assert blocks.count(-1) == expected.count(-1)
    assert np.ptp(differing) < 1e-6 * (1 + max(differing)), (blocks, expected)


@random_shapes
@given(
    batch=some, groups=some, share=some, queries=tokens, blocks=st.integers(0, 12), dim=some,
    length=span, stride=st.integers(1, 6), block_size=span, count=st.integers(0, 6),
    start=st.integers(0, 9), seed=seed,
)  # fmt: skip
def test_the_kernel_selects_the_most_important_blocks(
    raw, batch, groups, share, queries, blocks, dim, length, stride, block_size, count, start, seed
):
    query = normal(seed, batch, groups * share, queries, dim)
    key = normal(seed + 1, batch, groups, blocks, dim)
    out = np.full((batch, groups, queries, count), -9, np.int32)
    scalars = options(length, stride, block_size, count, 0.6, start)
    raw.call("select_blocks", [query, key, scalars], [out])
    exact = query.astype(np.float64), key.astype(np.float64)
    for place in np.ndindex(batch, groups, queries):
        score = importance(*exact, length, stride, block_size, 0.6, start, place)
        assert_best(out[place].tolist(), score, count)


def with_kernels(kernels, function):
    if kernels == "auto":
        return function()
    with ops.plain_formulations():
        return function()


@few
@given(groups=size, share=size, queries=st.integers(1, 30), stride=size, seed=seed)
def test_compressed_attention_in_mindspore(compare, kernels, groups, share, queries, stride, seed):
    blocks, length = max(1, queries // stride - 1), 2 * stride
    inputs = [
        normal(seed, 2, groups * share, queries, 4),
        normal(seed + 1, 2, groups, blocks, 4),
        normal(seed + 2, 2, groups, blocks, 5),
    ]
    compare(
        lambda q, k, v: sparse.compressed_attention(q, k, v, length, stride, None, 1),
        lambda q, k, v: compressed(q, k, v, length, stride, 0.5, 1),
        inputs,
        kernels=kernels,
    )


@few
@given(groups=size, share=size, queries=st.integers(1, 30), block_size=span, seed=seed)
def test_selected_attention_in_mindspore(
    compare, kernels, groups, share, queries, block_size, seed
):
    inputs = [
        normal(seed, 2, groups * share, queries, 4),
        normal(seed + 1, 2, groups, queries + 2, 4),
        normal(seed + 2, 2, groups, queries + 2, 5),
    ]
    rng = np.random.default_rng(seed)
    blocks = rng.integers(-1, queries // block_size + 3, (2, groups, queries, 3)).astype(np.int32)
    table = Tensor(blocks)
    compare(
        lambda q, k, v: sparse.selected_attention(q, k, v, table, block_size),
        lambda q, k, v: selected(q, k, v, blocks, block_size, 0.5),
        inputs,
        kernels=kernels,
    )


def test_compiled_gradients_of_both_attentions(compare, kernels):
    blocks = np.random.default_rng(0).integers(-1, 5, (1, 2, 17, 2)).astype(np.int32)
    table = Tensor(blocks)

    def function(q, k, v, ck, cv):
        coarse = sparse.compressed_attention(q, ck, cv, 8, 4)
        return coarse + sparse.selected_attention(q, k, v, table, 4)

    def reference(q, k, v, ck, cv):
        return compressed(q, ck, cv, 8, 4, 0.5) + selected(q, k, v, blocks, 4, 0.5)

    inputs = [normal(0, 1, 4, 17, 4), normal(1, 1, 2, 17, 4), normal(2, 1, 2, 17, 4)]
    inputs += [normal(3, 1, 2, 3, 4), normal(4, 1, 2, 3, 4)]
    compare(function, reference, inputs, kernels=kernels, jit=True)


@pytest.mark.parametrize("jit", [False, True])
def test_select_blocks_in_mindspore(kernels, jit):
    query, key = normal(0, 2, 4, 61, 4), normal(1, 2, 2, 14, 4)

    def select(q, k):
        return sparse.select_blocks(q, k, 8, 4, 8, 4)

    call = ms.jit(select) if jit else select
    out = with_kernels(kernels, lambda: call(Tensor(query), Tensor(key)).asnumpy())
    assert out.dtype == np.int32
    exact = query.astype(np.float64), key.astype(np.float64)
    for place in np.ndindex(2, 2, 61):
        assert_best(out[place].tolist(), importance(*exact, 8, 4, 8, 0.5, 0, place), 4)


def test_importance_is_equation_9_of_the_paper():
    # p_slc[j] = sum over m < l'/d and n < l/d of p_cmp[l'/d j - m - n], both counted from 1.
    length, stride, block_size, blocks, tokens = 8, 4, 16, 11, 48
    query, key = normal(0, 1, 2, tokens, 4), normal(1, 1, 1, blocks, 4)
    exact = query.astype(np.float64), key.astype(np.float64)
    for t in range(tokens):
        seen = ended(blocks, length, stride, t)
        probability = np.zeros(blocks)
        for h in range(2 if seen else 0):
            probability[seen] += softmax(exact[1][0, 0, seen] @ exact[0][0, h, t])
        ratio = block_size // stride
        expected = np.zeros(t // block_size + 1)
        for j in range(1, len(expected) + 1):
            for m in range(ratio):
                for n in range(length // stride):
                    i = ratio * j - m - n
                    expected[j - 1] += probability[i - 1] if 1 <= i <= blocks else 0.0
        found = importance(*exact, length, stride, block_size, 1.0, 0, (0, 0, t))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_of_equally_important_blocks_the_earlier_are_selected(kernels):
    query, key = Tensor(normal(0, 1, 2, 64, 4)), Tensor(np.zeros((1, 1, 16, 4), np.float32))
    out = with_kernels(
        kernels, lambda: sparse.select_blocks(query, key, 4, 4, 4, 5).asnumpy().copy()
    )
    assert out[0, 0, 63].tolist() == [0, 1, 2, 14, 15]
    assert out[0, 0, 3].tolist() == [0, -1, -1, -1, -1]
    assert out[0, 0, 13].tolist() == [0, 1, 2, 3, -1]


def test_the_own_block_comes_first_when_few_are_selected(kernels):
    query, key = Tensor(normal(0, 1, 2, 64, 4)), Tensor(normal(1, 1, 1, 16, 4))
    chosen = [
        with_kernels(
            kernels, lambda n=n: sparse.select_blocks(query, key, 4, 4, 4, n).asnumpy().copy()
        )[0, 0, 63].tolist()
        for n in (1, 2, 3)
    ]
    assert chosen == [[15], [0, 15], [0, 14, 15]]


def causal(query, key, value):
    with ops.plain_formulations():
        return ops.attention(query, key, value, causal=True).asnumpy().copy()


def test_all_blocks_selected_is_causal_attention(kernels):
    query, key, value = (Tensor(normal(i, 2, 2 * n, 37, 8)) for i, n in ((0, 2), (1, 1), (2, 1)))
    table = Tensor(np.broadcast_to(np.arange(5, dtype=np.int32), (2, 2, 37, 5)).copy())
    out = with_kernels(
        kernels, lambda: sparse.selected_attention(query, key, value, table, 8).asnumpy()
    )
    np.testing.assert_allclose(out, causal(query, key, value), atol=2e-6)


def test_compressed_blocks_of_one_token_are_causal_attention(kernels):
    query, key, value = (Tensor(normal(i, 2, 2 * n, 37, 8)) for i, n in ((0, 2), (1, 1), (2, 1)))
    out = with_kernels(
        kernels, lambda: sparse.compressed_attention(query, key, value, 1, 1).asnumpy()
    )
    np.testing.assert_allclose(out, causal(query, key, value), atol=2e-6)


def test_order_and_repetition_of_blocks_do_not_matter_nor_do_other_keys(kernels):
    query, key, value = (normal(i, 1, 2, 24, 4) for i in range(3))
    first = np.broadcast_to(np.array([0, 2, 3], np.int32), (1, 2, 24, 3)).copy()
    other = np.broadcast_to(np.array([3, 0, 3, -1, 2, 0, 9], np.int32), (1, 2, 24, 7)).copy()
    key[:, :, 4:8] = np.nan

    def run(blocks):
        arrays = [Tensor(x) for x in (query, key, value, blocks)]
        return with_kernels(kernels, lambda: sparse.selected_attention(*arrays, 4).asnumpy().copy())

    assert np.isfinite(run(first)).all()
    assert (run(first) == run(other)).all()


def test_nan_reaches_the_queries_that_see_it(raw):
    query, key, value = (normal(i, 1, 2, 16, 4) for i in range(3))
    blocks = np.broadcast_to(np.array([0, 1, 2, 3], np.int32), (1, 2, 16, 4)).copy()
    value[0, 0, 5] = np.nan
    cotangent = normal(3, 1, 2, 16, 4)
    out = np.empty((1, 2, 16, 4), np.float32)
    logsum = np.empty((1, 2, 16), np.float32)
    raw.call("selected_attention", [query, key, value, blocks, options(4, None)], [out, logsum])
    assert np.isnan(out[0, 0, 5:]).all()
    assert np.isfinite(out[0, 0, :4]).all()
    assert np.isfinite(out[0, 1]).all()
    query[0, 1, 2] = np.inf
    inputs = [query, key, value]
    scalars = options(1, 1, None, 0)
    raw.call("compressed_attention", [*inputs, scalars], [out, logsum])
    assert np.isnan(out[0, 1, 2]).all()
    slopes = [np.empty_like(x) for x in inputs]
    raw.call("compressed_attention_grad", [*inputs, out, logsum, cotangent, scalars], slopes)
    assert np.isnan(slopes[0][0, 1, 2]).any()


@pytest.mark.parametrize("groups", [1, 4])
def test_the_results_have_the_same_bits_with_any_number_of_threads(raw, groups):
    query, cotangent = normal(0, 1, 4, 700, 8), normal(1, 1, 4, 700, 8)
    key, value = normal(2, 1, groups, 700, 8), normal(3, 1, groups, 700, 8)
    coarse = [query, normal(4, 1, groups, 42, 8), normal(5, 1, groups, 42, 8)]
    results = []
    for threads in (1, 2, 3):
        raw._library.scimind_threads(threads)
        blocks = np.empty((1, groups, 700, 5), np.int32)
        raw.call("select_blocks", [*coarse[:2], options(32, 16, 64, 5, None, 0)], [blocks])
        first = forward_and_back(
            raw, "compressed_attention", coarse, [], options(32, 16, None, 0), cotangent
        )
        second = forward_and_back(
            raw, "selected_attention", [query, key, value], [blocks], options(64, None), cotangent
        )
        results.append([blocks, first[0], *first[1], second[0], *second[1]])
    raw._library.scimind_threads(1)
    for other in results[1:]:
        assert all((a == b).all() for a, b in zip(other, results[0], strict=True))


def test_memory_is_linear_in_the_sequence(raw):
    # The scores of 16384 queries and keys would take 1 GiB.
    inputs = [normal(i, 1, 1, 16384, 4) for i in range(3)]
    blocks = np.zeros((1, 1, 16384, 2), np.int32)
    blocks[..., 1] = np.arange(16384) // 16
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    forward_and_back(raw, "selected_attention", inputs, [blocks], options(16, None), inputs[0])
    forward_and_back(raw, "compressed_attention", inputs, [], options(32, 256, None, 0), inputs[0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_sizes_of_blocks_have_to_be_positive(kernels):
    query, key = Tensor(normal(0, 1, 2, 6, 4)), Tensor(normal(1, 1, 1, 6, 4))
    table = Tensor(np.zeros((1, 1, 6, 1), np.int32))
    calls = (
        lambda: sparse.compressed_attention(query, key, key, 4, 0),
        lambda: sparse.select_blocks(query, key, 4, 2, 4, 0),
        lambda: sparse.selected_attention(query, key, key, table, -1),
    )
    for call in calls:
        with pytest.raises(ValueError, match="at least 1"):
            with_kernels(kernels, call)


def test_plain_formulations_can_be_differentiated_twice():
    rng = np.random.default_rng(0)
    values = [Tensor(rng.standard_normal((1, heads, 9, 3))) for heads in (2, 1, 1)]
    along = [rng.standard_normal(value.shape) for value in values]
    table = Tensor(rng.integers(0, 3, (1, 1, 9, 2)).astype(np.int32))
    coarse, fine = ops.plain(sparse.compressed_attention), ops.plain(sparse.selected_attention)

    def function(q, k, v):
        out = coarse(q, k, v, 1, 1, None, 0) + fine(q, k, v, table, 4, None)
        return (out * out).sum()

    gradient = ms.grad(function, (0, 1, 2))

    def slope(q, k, v, a, b, c):
        dq, dk, dv = gradient(q, k, v)
        return (dq * a).sum() + (dk * b).sum() + (dv * c).sum()

    first, second = ms.jit(gradient), ms.jit(ms.grad(slope, (0, 1, 2)))
    found = second(*values, *(Tensor(direction) for direction in along))
    ends = [
        first(*(Tensor(v.asnumpy() + step * d) for v, d in zip(values, along, strict=True)))
        for step in (1e-5, -1e-5)
    ]
    for hessian, above, below in zip(found, *ends, strict=True):
        finite = (above.asnumpy() - below.asnumpy()) / 2e-5
        np.testing.assert_allclose(hessian.asnumpy(), finite, atol=1e-6)

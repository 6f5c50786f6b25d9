"""Attention and decoding against float64, with what a blocked softmax could get wrong."""

import contextlib
import itertools
import subprocess
import sys
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mindspore import Parameter, Tensor
from mindspore import ops as ms_ops

from raw_kernels import ABSENT, Kernels, options
from scimind import ops
from scimind.ops.attention import attention
from scimind.ops.cached import cached_attention, cached_self_attention
from scimind.ops.kernels import native
from scimind.ops.rule import RuleError

FOLDER = Path(ops.__file__).parent / "kernels/cpu"
ONEDNN = Path(ms.__file__).parent / "lib" / "libdnnl.so.3"
random_shapes = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(random_shapes, max_examples=5)
seeds = st.integers(0, 2**31)


def kernels(name):
    library = native.load(FOLDER / f"{name}.cc")
    if library is None:
        pytest.skip("the CPU kernels cannot be built")
    return Kernels(library, ONEDNN)


@pytest.fixture(scope="module")
def raw():
    return kernels("attention")


@pytest.fixture(scope="module")
def raw_decode():
    return kernels("decode")


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def visible(queries, keys, causal, window):
    distance = np.arange(queries)[:, None] + keys - queries - np.arange(keys)
    seen = distance >= 0 if causal else np.ones_like(distance, bool)
    return seen if window is None else seen & (np.abs(distance) < window)


def reference(query, key, value, mask, bias, causal, window, scale, dout):
    """Result, lse and the gradients in float64, from the definition."""
    query, key, value, dout = (x.astype(np.float64) for x in (query, key, value, dout))
    (batch, heads, queries, dim), (groups, keys) = query.shape, key.shape[1:3]
    share, scale = heads // groups, max(dim, 1) ** -0.5 if scale is None else scale
    keys_of, values_of = (np.repeat(x, share, axis=1) for x in (key, value))
    logits = scale * query @ keys_of.swapaxes(2, 3) + (0.0 if bias is None else bias)
    seen = np.broadcast_to(visible(queries, keys, causal, window), logits.shape)
    seen = seen if mask is None else seen & mask
    top = np.where(seen, logits, -np.inf).max(-1, keepdims=True, initial=-1e300)
    weight = np.exp(np.where(seen, logits - top, -np.inf))
    total = weight.sum(-1, keepdims=True)
    weight /= np.where(total == 0, 1, total)
    with np.errstate(divide="ignore"):
        lse = np.where(total == 0, -np.inf, top + np.log(total))[..., 0]
    out = weight @ values_of
    slope = weight * (dout @ values_of.swapaxes(2, 3) - (dout * out).sum(-1, keepdims=True))

    def of_group(x):
        return x.reshape(batch, groups, share, *x.shape[2:]).sum(2)

    return {
        "out": out,
        "lse": lse,
        "dquery": scale * slope @ keys_of,
        "dkey": scale * of_group(slope.swapaxes(2, 3) @ query),
        "dvalue": of_group(weight.swapaxes(2, 3) @ dout),
        "dbias": None
        if bias is None
        else slope.sum(tuple(i for i in range(4) if bias.shape[i] == 1), keepdims=True),
    }


def run(raw, query, key, value, mask, bias, causal, window, scale, dout):
    """What the kernels give; memory that they leave out stays NaN."""

    def unset(*shape):
        return np.full(shape, np.nan, np.float32)

    given = [query, key, value, *(ABSENT if x is None else x for x in (mask, bias))]
    scalars = options(causal, window, scale)
    out, lse = unset(*query.shape[:3], value.shape[3]), unset(*query.shape[:3])
    raw.call("attention", [*given, scalars], [out, lse])
    slopes = [unset(*x.shape) for x in given[:3]]
    slopes += [unset(1) if bias is None else unset(*bias.shape)]
    raw.call("attention_grad", [*given, lse, out, dout, scalars], slopes)
    if bias is None:
        assert np.isnan(slopes[3]).all()
    names = ("out", "lse", "dquery", "dkey", "dvalue", "dbias")
    return dict(zip(names, (out, lse, *slopes), strict=True))


def assert_agrees(got, expected):
    """To float32 rounding of terms of size 1, which may cancel; sums over more have more of it."""
    for name, exact in expected.items():
        if exact is None:
            continue
        assert got[name].shape == exact.shape, name
        finite = np.isfinite(exact)
        assert (got[name][~finite] == exact[~finite]).all(), name
        size = np.abs(exact[finite]).max(initial=0.0) + 1.0
        tolerance = {"out": 1e-5, "lse": 1e-6, "dbias": 4e-4}.get(name, 1e-4) * size
        error = np.abs(got[name][finite] - exact[finite]).max(initial=0.0)
        assert error <= tolerance, (name, error, tolerance)


@st.composite
def calls(draw):
    size = st.one_of(st.integers(0, 9), st.sampled_from((16, 17, 33, 64, 65, 130, 300)))
    batch, share, groups = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    queries, keys = draw(size), draw(size)
    dim, width = draw(st.integers(0, 40)), draw(st.integers(0, 40))
    full = (batch, groups * share, queries, keys)

    def broadcast():
        return tuple(n if draw(st.booleans()) else 1 for n in full)

    seed = draw(seeds)
    rng = np.random.default_rng(seed)
    allowed = draw(st.sampled_from((0.05, 0.5, 0.95)))
    return (
        normal(seed, batch, full[1], queries, dim),
        normal(seed + 1, batch, groups, keys, dim),
        normal(seed + 2, batch, groups, keys, width),
        rng.random(broadcast()) < allowed if draw(st.booleans()) else None,
        normal(seed + 3, *broadcast()) if draw(st.booleans()) else None,
        draw(st.booleans()),
        draw(st.none() | st.integers(0, 80)),
        draw(st.none() | st.floats(0.1, 1.0)),
        normal(seed + 4, batch, full[1], queries, width),
    )


@random_shapes
@given(call=calls())
def test_results_and_gradients_are_those_of_the_definition(raw, call):
    assert_agrees(run(raw, *call), reference(*call))


def test_every_combination_of_mask_bias_position_and_broadcast_axes(raw):
    batch, heads, queries, keys = 2, 2, 19, 21
    shapes = [None, *itertools.product((1, batch), (1, heads), (1, queries), (1, keys))]
    x = [normal(i, batch, heads, n, 4) for i, n in enumerate((queries, keys, keys, queries))]
    rng = np.random.default_rng(0)
    for mask, bias in itertools.product(shapes, shapes):
        mask = None if mask is None else rng.random(mask) < 0.7
        bias = None if bias is None else normal(9, *bias)
        for causal, window in itertools.product((False, True), (None, 4)):
            call = (*x[:3], mask, bias, causal, window, None, x[3])
            assert_agrees(run(raw, *call), reference(*call))


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, 100])
@pytest.mark.parametrize("axes", [None, (1, 1, 0, 1), (1, 1, 1, 0), (0, 1, 1, 1)])
def test_blocks_and_parts_of_the_keys_fit_together(raw, heads, causal, window, axes):
    queries, keys = 150, 1300
    bias = None
    if axes is not None:
        bias = normal(5, *np.where(axes, (1, heads, queries, keys), 1))
    call = (
        normal(0, 1, heads, queries, 8),
        normal(1, 1, heads // 2 or 1, keys, 8),
        normal(2, 1, heads // 2 or 1, keys, 8),
        np.random.default_rng(3).random((1, 1, 1, keys)) < 0.5,
        bias,
        causal,
        window,
        1.5,
        normal(4, 1, heads, queries, 8),
    )
    assert_agrees(run(raw, *call), reference(*call))


def test_a_bias_for_many_rows_gets_the_sum_of_their_gradients(raw):
    """As in triangle attention, where the rows of the pair representation are the batch."""
    rows, heads, length = 37, 2, 20
    x = [normal(i, rows, heads, length, 8) for i in range(4)]
    call = (*x[:3], None, normal(5, 1, heads, length, length), False, None, None, x[3])
    assert_agrees(run(raw, *call), reference(*call))


def test_heads_without_a_group_have_no_keys(raw):
    x = [normal(i, 2, 3, 4, 5) for i in range(2)]
    none = np.zeros((2, 0, 6, 5), np.float32)
    bias = normal(2, 2, 3, 4, 6)
    got = run(raw, x[0], none, none, None, bias, False, None, None, x[1])
    assert (got.pop("lse") == -np.inf).all()
    assert all((array == 0).all() for array in got.values())


def test_large_logits_neither_overflow_nor_lose_the_sum(raw):
    query, key = 30 * normal(0, 1, 2, 40, 8), 30 * normal(1, 1, 2, 600, 8)
    value, dout = normal(2, 1, 2, 600, 8), normal(3, 1, 2, 40, 8)
    got = run(raw, query, key, value, None, None, False, None, None, dout)
    expected = reference(query, key, value, None, None, False, None, None, dout)
    np.testing.assert_allclose(got["out"], expected["out"], atol=2e-3)  # logits of 2000, eps 1e-4
    np.testing.assert_allclose(got["lse"], expected["lse"], rtol=1e-6)


@pytest.mark.parametrize("keys", [5, 40, 1100])
@pytest.mark.parametrize("which", range(4))
def test_nan_reaches_what_depends_on_it_and_nothing_else(raw, keys, which):
    x = [normal(i, 1, 2, n, 8) for i, n in enumerate((3, keys, keys, 3))]
    x[which][0, 1, 1, 2] = np.nan
    got = run(raw, *x[:3], None, None, False, None, None, x[3])
    assert all(np.isfinite(got[name][0, 0]).all() for name in got if name != "dbias")
    assert np.isnan(got["dquery"][0, 1, 1]).all()
    assert np.isnan(got["dkey"][0, 1]).any()
    if which < 3:
        assert np.isnan(got["out"][0, 1, 1]).any()


def test_infinite_logits_are_nan_as_in_the_definition(raw):
    ones = np.ones((1, 1, 2, 1), np.float32)
    query = np.array([np.inf, 1.0], np.float32).reshape(1, 1, 2, 1)
    out = run(raw, query, ones, ones, None, None, False, None, None, ones)["out"]
    assert np.isnan(out[0, 0, 0]).all()
    assert (out[0, 0, 1] == 1).all()


def test_minus_infinity_in_the_bias_hides_a_key(raw):
    x = [normal(i, 2, 2, 6, 8) for i in range(4)]
    mask = np.random.default_rng(5).random((2, 1, 6, 6)) < 0.5
    mask[0, 0, 3] = False
    bias = np.where(mask, 0.0, -np.inf).astype(np.float32)
    hidden = run(raw, *x[:3], None, bias, False, None, None, x[3])
    assert hidden.pop("dbias").shape == bias.shape
    masked = run(raw, *x[:3], mask, None, False, None, None, x[3])
    assert all((hidden[name] == masked[name]).all() for name in hidden)


def test_the_number_of_threads_changes_no_bit(raw):
    library = raw._library
    shapes = [((3, 4, 70), (2, 90), None), ((1, 2, 3), (1, 2500), None), ((20, 2, 30), (2, 30), 1)]
    for (batch, heads, queries), (groups, keys), rows in shapes:
        x = [normal(i, batch, heads, queries, 16) for i in (0, 1)]
        key, value = (normal(i, batch, groups, keys, 16) for i in (2, 3))
        bias = None if rows is None else normal(4, rows, heads, queries, keys)
        results = []
        for threads in (1, 2, 3):
            library.scimind_threads(threads)
            results.append(run(raw, x[0], key, value, None, bias, True, None, None, x[1]))
        library.scimind_threads(1)
        for again in results[1:]:
            for name, array in again.items():
                assert array.tobytes() == results[0][name].tobytes(), name


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("formulation", ["plain", "auto"])
def test_the_public_function_has_these_gradients(jit, formulation):
    x = [normal(0, 2, 4, 6, 8), normal(1, 2, 2, 9, 8), normal(2, 2, 2, 9, 5)]
    bias, dout = normal(3, 1, 4, 6, 1), normal(4, 2, 4, 6, 5)
    mask = np.random.default_rng(5).random((2, 1, 1, 9)) < 0.8
    fixed = Tensor(mask)

    def loss(query, key, value, bias):
        return (attention(query, key, value, fixed, bias, True, 5, 0.3) * Tensor(dout)).sum()

    slopes = ms.grad(loss, (0, 1, 2, 3))
    if jit:
        slopes = ms.jit(slopes)
    if formulation == "plain":
        with ops.plain_formulations():
            got = slopes(*map(Tensor, (*x, bias)))
    else:
        got = slopes(*map(Tensor, (*x, bias)))
    expected = reference(*x, mask, bias, True, 5, 0.3, dout)
    names = ("dquery", "dkey", "dvalue", "dbias")
    found = {name: slope.asnumpy() for name, slope in zip(names, got, strict=True)}
    assert_agrees(found, {name: expected[name] for name in names})


PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from raw_kernels import ABSENT, Kernels, options

kernels = Kernels(Path(sys.argv[1]), Path(sys.argv[2]))
peaks = []
for length in map(int, sys.argv[3:]):
    rng = np.random.default_rng(0)
    query, key, value, dout = rng.standard_normal((4, 1, 1, length, 16), np.float32)
    bias = rng.standard_normal((1, 1, 1, length), np.float32)
    out, lse = np.zeros_like(query), np.zeros((1, 1, length), np.float32)
    slopes = [np.zeros_like(x) for x in (query, key, value, bias)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scalars = options(False, None, None)
    kernels.call("attention", [query, key, value, ABSENT, bias, scalars], [out, lse])
    given = [query, key, value, ABSENT, bias, lse, out, dout, scalars]
    kernels.call("attention_grad", given, slopes)
    print(length, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_grows_linearly_with_the_length():
    library = native.load(FOLDER / "attention.cc")
    if library is None:
        pytest.skip("the CPU kernels cannot be built")
    lengths = (8192, 16384, 32768)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(library), str(ONEDNN), *map(str, lengths)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "support")},
    )
    for line in done.stdout.splitlines():
        length, kib = map(int, line.split())
        # 16 partial gradients of the queries and some blocks; the logits are 4 GiB at the end.
        assert kib * 1024 < 4 * length * 16 * 20 + 2**23, line
    assert len(done.stdout.splitlines()) == len(lengths)


def written(cache, rows, start):
    """The cache after the rows were written, what would be outside left out."""
    cache = cache.copy()
    for b, i in itertools.product(range(rows.shape[0]), range(rows.shape[2])):
        if 0 <= int(start[b]) + i < cache.shape[2]:
            cache[b, :, int(start[b]) + i] = rows[b, :, i]
    return cache


def cached_reference(query, keys, values, start, window, scale):
    """Of caches that hold the new keys and values."""
    out = np.zeros((*query.shape[:3], values.shape[3]))
    for b, count in enumerate(np.clip(start + query.shape[2], 0, keys.shape[2])):
        row = slice(b, b + 1)
        key, value = keys[row, :, :count], values[row, :, :count]
        out[b] = reference(query[row], key, value, None, None, True, window, scale, out[row])["out"]
    return out


@random_shapes
@given(
    batch=st.integers(0, 3),
    groups=st.integers(1, 3),
    share=st.sampled_from((1, 2, 8)),
    new=st.integers(0, 9),
    capacity=st.one_of(st.integers(0, 70), st.sampled_from((500, 1100, 3000))),
    dim=st.integers(0, 40),
    width=st.integers(0, 40),
    window=st.none() | st.integers(0, 90),
    scale=st.none() | st.floats(0.1, 1.0),
    seed=seeds,
)
def test_cached_attention_writes_the_new_rows_and_reads_the_filled_part_only(
    raw_decode, batch, groups, share, new, capacity, dim, width, window, scale, seed
):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, capacity + 2, batch, dtype=np.int32)
    query = normal(seed + 2, batch, groups * share, new, dim)
    rows = [normal(seed + 3, batch, groups, new, dim), normal(seed + 4, batch, groups, new, width)]
    empty = [np.full((batch, groups, capacity, size), np.nan, np.float32) for size in (dim, width)]
    for cache in empty:
        for b, count in enumerate(start):
            cache[b, :, :count] = rng.standard_normal(cache[b, :, :count].shape)
    full = [written(cache, added, start) for cache, added in zip(empty, rows, strict=True)]
    out = np.full((batch, groups * share, new, width), np.nan, np.float32)
    given = [query, *rows, *empty, start, options(window, scale)]
    raw_decode.call("cached_attention", given, [out])
    np.testing.assert_array_equal(empty[0], full[0])
    np.testing.assert_array_equal(empty[1], full[1])
    expected = cached_reference(query, *full, start, window, scale)
    assert_agrees({"out": out}, {"out": expected})


@random_shapes
@given(
    batch=st.integers(0, 3),
    groups=st.integers(1, 3),
    share=st.sampled_from((1, 2, 8)),
    new=st.integers(0, 9),
    capacity=st.one_of(st.integers(0, 70), st.sampled_from((500, 3000))),
    dim=st.integers(0, 40),
    window=st.none() | st.integers(0, 90),
    scale=st.none() | st.floats(0.1, 1.0),
    seed=seeds,
)
def test_cached_self_attention_is_cached_attention_of_what_a_projection_joins(
    raw_decode, batch, groups, share, new, capacity, dim, window, scale, seed
):
    """The same bits: only where rows are read and written differs."""
    heads = groups * share
    start = np.random.default_rng(seed).integers(-2, capacity + 2, batch, dtype=np.int32)
    x = normal(seed + 1, batch, new, (heads + 2 * groups) * dim)
    apart = x.reshape(batch, new, heads + 2 * groups, dim).transpose(0, 2, 1, 3)
    rows = [part.copy() for part in np.split(apart, [heads, heads + groups], axis=1)]
    ours, theirs = (
        [normal(seed + i, batch, groups, capacity, dim) for i in (2, 3)] for _ in range(2)
    )
    expected = np.full((batch, heads, new, dim), np.nan, np.float32)
    given = [*rows, *theirs, start, options(window, scale)]
    raw_decode.call("cached_attention", given, [expected])
    out = np.full((batch, new, heads * dim), np.nan, np.float32)
    given = [x, *ours, start, options(share, window, scale)]
    raw_decode.call("cached_self_attention", given, [out])
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(out, expected.transpose(0, 2, 1, 3).reshape(out.shape))


@random_shapes
@given(
    batch=st.integers(0, 3),
    groups=st.integers(0, 3),
    capacity=st.integers(0, 20),
    new=st.integers(0, 9),
    dim=st.integers(0, 5),
    seed=seeds,
)
def test_rows_outside_the_cache_are_left_out(raw_decode, batch, groups, capacity, new, dim, seed):
    rng = np.random.default_rng(seed)
    odd = np.array([-(2**31), 2**31 - 1], np.int32)
    start = rng.integers(-10, capacity + 10, batch, dtype=np.int32)
    start = np.where(rng.random(batch) < 0.2, rng.choice(odd, batch), start).astype(np.int32)
    keys, values = (normal(seed + i, batch, groups, capacity, dim) for i in range(2))
    key, value, query = (normal(seed + i, batch, groups, new, dim) for i in range(2, 5))
    expected = written(keys, key, start), written(values, value, start)
    out = np.full_like(query, np.nan)
    given = [query, key, value, keys, values, start, options(None, None)]
    raw_decode.call("cached_attention", given, [out])
    np.testing.assert_array_equal(keys, expected[0])
    np.testing.assert_array_equal(values, expected[1])
    assert np.isfinite(out).all()


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("formulation", ["plain", "auto"])
def test_a_sequence_decoded_in_pieces_is_the_whole_sequence(jit, formulation, joined):
    batch, heads, groups, length, dim, capacity = 2, 4, 2, 11, 8, 16
    query = normal(0, batch, heads, length, dim)
    key, value = (normal(i, batch, groups, length, dim) for i in (1, 2))
    empty = np.zeros((batch, groups, capacity, dim), np.float32)
    keys, values = (Parameter(Tensor(empty), name=name) for name in ("keys", "values"))

    def step(query, key, value, start):
        if not joined:
            return cached_attention(query, key, value, keys, values, start, 5)
        whole = ms_ops.cat((query, key, value), 1).swapaxes(1, 2)
        whole = whole.reshape((batch, whole.shape[1], (heads + 2 * groups) * dim))
        mixed = cached_self_attention(whole, keys, values, start, heads // groups, 5)
        return mixed.reshape((batch, -1, heads, dim)).swapaxes(1, 2)

    if jit:
        step = ms.jit(step)
    pieces = []
    for begin, end in ((0, 5), (5, 6), (6, 11)):
        now = [Tensor(x[:, :, begin:end].copy()) for x in (query, key, value)]
        start = Tensor(np.full(batch, begin, np.int32))
        if formulation == "plain":
            with ops.plain_formulations():
                pieces.append(step(*now, start).asnumpy().copy())
        else:
            pieces.append(step(*now, start).asnumpy().copy())
    expected = reference(query, key, value, None, None, True, 5, None, query)["out"]
    np.testing.assert_allclose(np.concatenate(pieces, 2), expected, atol=1e-5)
    assert (keys.asnumpy()[:, :, :length] == key).all()
    assert (keys.asnumpy()[:, :, length:] == 0).all()


VIEWS = {
    "first of a batch": ((2, 1, 8, 4), lambda x: x[:1]),
    "second of a batch": ((2, 1, 8, 4), lambda x: x[1:]),
    "every second": ((1, 1, 16, 4), lambda x: x[:, :, ::2]),
    "turned": ((1, 8, 1, 4), lambda x: x.swapaxes(1, 2)),
    "other axes": ((8, 4), lambda x: x.reshape((1, 1, 8, 4))),
    "parameter of a view": ((8, 4), lambda x: Parameter(x.reshape((1, 1, 8, 4)))),
}


@pytest.mark.parametrize("formulation", ["plain", "auto"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_no_cache_since_what_is_written_would_be_lost(view, formulation):
    shape, make = VIEWS[view]
    row, start = Tensor(normal(0, 1, 1, 1, 4)), Tensor([3], ms.int32)
    own = [Parameter(Tensor(normal(index, 1, 1, 8, 4))) for index in (1, 2)]
    base = Tensor(normal(3, *shape))
    before = base.asnumpy().copy()
    for position, name in enumerate(("key_cache", "value_cache")):
        caches = [*own]
        caches[position] = make(base)
        context = ops.plain_formulations() if formulation == "plain" else contextlib.nullcontext()
        with (
            context,
            pytest.raises(RuleError, match=f"cached_attention: {name} is a view of anoth"),
        ):
            cached_attention(row, row, row, *caches, start)
        np.testing.assert_array_equal(base.asnumpy(), before)
        caches[position] = Parameter(make(base).copy())
        cached_attention(row, row, row, *caches, start).asnumpy()
        np.testing.assert_array_equal(caches[position].asnumpy()[0, 0, 3], row.asnumpy()[0, 0, 0])

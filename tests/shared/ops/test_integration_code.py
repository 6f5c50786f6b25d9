"""Five operators connected through MindSpore's own interface and through declarations.

Both versions against float64 loops in NumPy, their errors, their plain formulations, and how many
lines they take.
"""

import importlib
import json
import shutil

import mindspore as ms
import numpy as np
import pytest
from benchmarks.integration import count, toolkit
from mindspore import Tensor

from scimind.ops import OPERATORS, chosen

NAMES = count.OPERATORS
SMOOTH = ("rope", "swiglu", "selected_attention")
VERSIONS = ("official", "declared")
both = pytest.mark.parametrize("version", VERSIONS)
compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")


@pytest.fixture(scope="module", autouse=True)
def _only_here():
    """The declared versions are no operators of the product: other tests do not see them."""
    before = set(OPERATORS)
    yield
    for name in set(OPERATORS) - before:
        del OPERATORS[name]


def load(name, version):
    """An operator; imported here, so that collecting the tests declares nothing."""
    return getattr(importlib.import_module(f"benchmarks.integration.{name}.{version}"), name)


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def rope(x, cos, sin, interleaved):
    half = cos.shape[-1]
    pairs = (x[..., ::2], x[..., 1::2]) if interleaved else (x[..., :half], x[..., half:])
    turned = (pairs[0] + 1j * pairs[1]) * (cos + 1j * sin)
    parts = (turned.real, turned.imag)
    return np.stack(parts, -1).reshape(x.shape) if interleaved else np.concatenate(parts, -1)


def swiglu(x, gate, up):
    gated = x @ gate.T
    return gated / (1 + np.exp(-gated)) * (x @ up.T)


def tokens_of(cache, table, length):
    """Rows of the tokens of one sequence, as far as their pages exist."""
    pages, slot = cache.shape[:2]
    places = [(table[t // slot], t % slot) for t in range(min(length, len(table) * slot))]
    return np.array([cache[page, at] for page, at in places if 0 <= page < pages], np.float64)


def paged_attention(query, key_cache, value_cache, block_table, length, scale):
    out = np.zeros((*query.shape[:2], value_cache.shape[3]))
    for b, h in np.ndindex(query.shape[:2]):
        key = tokens_of(key_cache, block_table[b], length[b])
        group = h * key_cache.shape[2] // query.shape[1]
        if len(key):
            weight = softmax(key[:, group] @ query[b, h] * (scale or query.shape[2] ** -0.5))
            out[b, h] = weight @ tokens_of(value_cache, block_table[b], length[b])[:, group]
    return out


def latent_attention(query, query_rope, latent_cache, rope_cache, block_table, length, scale):
    out = np.zeros(query.shape)
    for b, h in np.ndindex(query.shape[:2]):
        latent = tokens_of(latent_cache, block_table[b], length[b])
        turned = tokens_of(rope_cache, block_table[b], length[b])
        if len(latent):
            out[b, h] = softmax((latent @ query[b, h] + turned @ query_rope[b, h]) * scale) @ latent
    return out


def selected_attention(query, key, value, blocks, block_size, scale):
    batch, heads, queries, dim = query.shape
    groups, keys = key.shape[1:3]
    out = np.zeros((batch, heads, queries, value.shape[3]))
    for b, h, i in np.ndindex(batch, heads, queries):
        g, chosen = h * groups // heads, set(blocks[b, h * groups // heads, i].tolist())
        seen = [k for k in range(i + keys - queries + 1) if k // block_size in chosen]
        if seen:
            weight = softmax(key[b, g, seen] @ query[b, h, i] * (scale or dim**-0.5))
            out[b, h, i] = weight @ value[b, g, seen]
    return out


REFERENCES = {
    "rope": rope,
    "swiglu": swiglu,
    "paged_attention": paged_attention,
    "latent_attention": latent_attention,
    "selected_attention": selected_attention,
}


def arguments(name, seed):
    """Random tensors and further arguments of a call."""
    rng = np.random.default_rng(seed)
    normal = rng.standard_normal
    if name == "rope":
        batch, head, length, half = rng.integers(1, 7, 4)
        return [normal((batch, head, length, 2 * half)), *normal((2, length, half))], (
            bool(seed % 2),
        )
    if name == "swiglu":
        dim, hidden, *batch = rng.integers(1, 9, 2 + seed % 3)
        return [normal((*batch, dim)), *normal((2, hidden, dim))], ()
    if name == "selected_attention":
        batch, group, share, dim, width, keys, chosen = rng.integers(1, 6, 7)
        size, queries = int(rng.integers(1, 4)), rng.integers(1, keys + 1)
        # Blocks that are listed twice, do not exist or lie in the future are among them.
        blocks = rng.integers(-1, keys // size + 2, (batch, group, queries, chosen), np.int32)
        query = normal((batch, group * share, queries, dim))
        key, value = (normal((batch, group, keys, n)) for n in (dim, width))
        return [query, key, value, blocks], (size, 0.3 if seed % 2 else None)
    batch, group, share, dim, width, page, slot, blocks = rng.integers(1, 6, 8)
    table = rng.integers(-1, page + 1, (batch, blocks), np.int32)
    length = rng.integers(0, blocks * slot + 2, batch, np.int32)
    if name == "paged_attention":
        caches = [normal((page, slot, group, n)) for n in (dim, width)]
        return [normal((batch, group * share, dim)), *caches, table, length], (None,)
    queries, caches = (
        [normal((*axes, n)) for n in (dim, width)] for axes in ((batch, share), (page, slot))
    )
    return [*queries, *caches, table, length], (0.3,)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2])
@both
@pytest.mark.parametrize("name", NAMES)
def test_values_are_those_of_the_reference(name, version, seed, jit):
    function, (arrays, numbers) = load(name, version), arguments(name, seed)

    def call(*tensors):
        return function(*tensors, *numbers)

    single = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays]
    expected = REFERENCES[name](*single, *numbers)
    got = (ms.jit(call) if jit else call)(*map(Tensor, single)).asnumpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-5 * (np.abs(expected).max() + 1e-3))


@pytest.mark.parametrize("jit", [False, True])
@both
@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_those_of_the_reference(compare, name, version, jit):
    function, (arrays, numbers) = load(name, version), arguments(name, 7)
    count_smooth = 1 if name == "rope" else 3  # cosines and sines are constants
    rest = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in arrays[count_smooth:]]
    constants = [Tensor(a) for a in rest]

    def call(*tensors):
        return function(*tensors, *constants, *numbers)

    def reference(*exact):
        return REFERENCES[name](*exact, *rest, *numbers)

    compare(call, reference, arrays[:count_smooth], jit=jit)


@both
@pytest.mark.parametrize("name", NAMES)
def test_double_precision_takes_the_plain_formulation(name, version):
    arrays, numbers = arguments(name, 1)
    got = load(name, version)(*map(Tensor, arrays), *numbers).asnumpy()
    assert got.dtype == np.float64
    # Not closer: MindSpore rounds a number that multiplies a tensor to single precision.
    np.testing.assert_allclose(got, REFERENCES[name](*arrays, *numbers), rtol=0, atol=1e-7)


@compiler
@pytest.mark.parametrize("name", NAMES)
def test_single_precision_takes_the_kernel(monkeypatch, name):
    arrays, numbers = arguments(name, 1)
    single = [Tensor(a.astype(np.float32) if a.dtype.kind == "f" else a) for a in arrays]
    load(name, "declared")(*single, *numbers)
    assert chosen()[f"demo_{name} float32"] == "cpu/kernel"
    official = importlib.import_module(f"benchmarks.integration.{name}.official")
    monkeypatch.setattr(official, "plain", None)
    getattr(official, name)(*single, *numbers)


def broken(name, position, change):
    """A call whose argument at ``position`` is changed, or its number after the tensors."""
    arrays, numbers = arguments(name, 7)
    call = [Tensor(a.astype(np.float32) if a.dtype.kind == "f" else a) for a in arrays] + [*numbers]
    call[position] = change(call[position])
    return call


def longer(x):
    return ms.ops.cat((x, x), -1)


def whole(x):
    return x.astype(ms.int32)


def real(x):
    return x.astype(ms.float32)


MISTAKES = [
    ("rope", 1, longer, "cos|sin|x"),
    ("rope", 2, whole, "sin"),
    ("swiglu", 1, longer, "gate"),
    ("swiglu", 0, whole, "x"),
    ("paged_attention", 0, longer, "key_cache|query"),
    ("paged_attention", 3, real, "block_table"),
    ("latent_attention", 3, longer, "rope_cache"),
    ("latent_attention", 5, real, "length"),
    ("selected_attention", 1, longer, "key"),
    ("selected_attention", 3, real, "blocks"),
    ("selected_attention", 4, lambda _: 0, "block_size"),
]


@pytest.mark.parametrize("jit", [False, True])
@both
@pytest.mark.parametrize(("name", "position", "change", "argument"), MISTAKES)
def test_errors_name_operator_and_argument(name, version, position, change, argument, jit):
    function, call = load(name, version), broken(name, position, change)
    tensors = [value for value in call if isinstance(value, Tensor)]
    numbers = call[len(tensors) :]

    def run(*given):
        return function(*given, *numbers)

    with pytest.raises((TypeError, ValueError), match=rf"{name}: ({argument}) "):
        (ms.jit(run) if jit else run)(*tensors)


@both
@pytest.mark.parametrize("name", ["paged_attention", "selected_attention"])
def test_heads_have_to_be_a_multiple_of_the_groups(name, version):
    arrays = [np.zeros((1, 3, *([1] if name.startswith("s") else []), 4), np.float32)]
    cache = (1, 2, 5, 4) if name.startswith("s") else (5, 1, 2, 4)
    arrays += [np.zeros(cache, np.float32)] * 2
    arrays += [np.zeros((1, 2, 1, 1) if name.startswith("s") else (1, 1), np.int32)]
    rest = [1] if name.startswith("s") else [Tensor(np.ones(1, np.int32))]
    with pytest.raises(ValueError, match=rf"{name}: head = 3 .*multiple of group = 2"):
        load(name, version)(*map(Tensor, arrays), *rest)


@compiler
def test_the_official_build_keeps_libraries_by_their_sources(tmp_path, monkeypatch):
    monkeypatch.setattr(toolkit, "CACHE", tmp_path / "cache")
    source = tmp_path / "kernel" / "official.cc"
    source.parent.mkdir()
    source.write_text('extern "C" int one() { return 1; }\n')
    library = toolkit.build(source)
    changed = library.stat().st_mtime_ns
    assert toolkit.build(source) == library
    assert library.stat().st_mtime_ns == changed
    (source.parent / "loops.h").write_text("// a header\n")
    assert toolkit.build(source) != library
    source.write_text("no C++")
    with pytest.warns(UserWarning, match="fails"):
        assert toolkit.build(source) is None
    monkeypatch.setenv("PATH", "")
    with pytest.warns(UserWarning, match="no C"):
        assert toolkit.build(source) is None
    assert toolkit.custom(None, "rope", None, None) is None


@pytest.mark.parametrize("name", NAMES)
def test_official_versions_without_a_library_are_plain(monkeypatch, name):
    function, (arrays, numbers) = load(name, "official"), arguments(name, 3)
    module = importlib.import_module(f"benchmarks.integration.{name}.official")
    tensors = [Tensor(a.astype(np.float32) if a.dtype.kind == "f" else a) for a in arrays]
    monkeypatch.setattr(module, "LIBRARY", None)
    monkeypatch.setattr(module, "_forward", None)
    expected = module.plain(*tensors, *numbers).asnumpy()

    def call(*given):
        return function(*given, *numbers)

    assert (call(*tensors).asnumpy() == expected).all()
    np.testing.assert_allclose(ms.jit(call)(*tensors).asnumpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_tests_of_both_versions_pass(name):
    official = importlib.import_module(f"benchmarks.integration.{name}.test_official")
    test = official.test_kernel_is_the_plain_formulation_in_float64
    test(2, True) if name == "rope" else test(2)
    declared = importlib.import_module("benchmarks.integration.test_declared")
    declared.test_values(name)
    if name in SMOOTH:
        declared.test_gradients(name)


def test_a_declaration_takes_half_the_lines():
    rows = count.table()
    assert rows["total"]["lines"]["ratio"] <= 0.5
    kept = json.loads((count.HERE.parent / "integration.json").read_text())
    assert kept["results"] == rows, "run python benchmarks/integration/count.py"


def test_what_is_counted(tmp_path):
    python, cpp = tmp_path / "a.py", tmp_path / "a.cc"
    python.write_text('"""Doc.\n\nMore.\n"""\n\n# comment\nx = """a\nb"""  # 2 lines\n')
    cpp.write_text('// comment\n\n/* more\n */\nint x = 1;  // 5 tokens\n#include "a"\n')
    assert count.size_of(python) == count.Size(2, 3)
    assert count.size_of(cpp) == count.Size(2, 8)


def test_both_versions_have_the_same_plain_formulation():
    for name in NAMES:
        texts = [(count.HERE / name / f"{version}.py").read_text() for version in VERSIONS]
        lines = [{line.strip() for line in text.splitlines()} for text in texts]
        official = texts[0].split("def plain(")[1].split("\n\n\n")[0].splitlines()[2:]
        assert {line.strip() for line in official} <= lines[1]

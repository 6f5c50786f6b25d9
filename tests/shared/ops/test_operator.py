"""What a declaration promises: one function and one C++ file are an operator in every mode."""

import importlib.util
import math
import re
import sys
import textwrap
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.device.compiler import digest
from scimind.ops import OPERATORS, registry
from scimind.ops.__main__ import BEGIN, END, table
from scimind.ops.kernels import cpp, native
from scimind.ops.rule import Rule, RuleError, evaluate, shape_of
from scimind.ops.testing import check
from scimind.typing import Bool, Float, Int

HAVE_KERNELS = OPERATORS["rms_norm"].kernels[0].ready()
needs_kernels = pytest.mark.skipif(not HAVE_KERNELS, reason="the CPU kernels cannot be built")

SOURCE = """
#include "scimind/operator.h"
using namespace scimind;

SCIMIND_OPERATOR(blend, (In x, In weight, Options options, Out y, Out kept)) {
  const float factor = options[0];
  const int64_t width = x.width();
  over(x.size(), 1 << 10, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      kept[i] = factor * x[i];
      y[i] = kept[i] * x[i] * (weight.present ? weight[i % width] : 1.0f) + options.whole(1, 0);
    }
  });
}

SCIMIND_OPERATOR(blend_grad, (In x, In weight, In kept, In dout, Options, Out dx, Out dweight)) {
  const int64_t width = x.width();
  for (int64_t j = 0; weight.present && j < width; ++j) dweight[j] = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    dx[i] = 2 * kept[i] * dout[i] * (weight.present ? weight[i % width] : 1.0f);
    if (weight.present) dweight[i % width] += kept[i] * x[i] * dout[i];
  }
}

SCIMIND_OPERATOR(repeat, (In x, Options options, Out y)) {
  const int64_t times = options.whole(0, 1);
  for (int64_t i = 0; i < x.size(); ++i)
    for (int64_t t = 0; t < times; ++t) y[i * times + t] = x[i];
}
"""

MODULE = '''
from __future__ import annotations

from typing import Literal

from mindspore import ops as ms_ops

from scimind.ops import Cpp, operator
from scimind.typing import Float, Tensor


@operator(
    Cpp("mine.cc", saved={"kept": "*batch dim"}, backward="x weight kept dout -> dx dweight"),
    name="blend",
)
def blend(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    factor: float = 2.0,
    shift: Literal["none", "one"] = "none",
) -> Float[Tensor, "*batch dim"]:
    """``factor x² weight``, plus 1 if asked."""
    y = x * x * factor
    if weight is not None:
        y = y * weight
    return y + 1.0 if shift == "one" else y


@operator(Cpp("mine.cc"))
def repeat(x: Float[Tensor, " count"], times: int = 2) -> Float[Tensor, " count*times"]:
    """Each element several times."""
    return ms_ops.tile(x.reshape((-1, 1)), (1, times)).reshape((-1,))
'''


def forget(*names):
    for name in names:
        OPERATORS.pop(name, None)
        for known in (registry._rules, registry._implementations, registry.FUNCTIONS):
            known.pop(name, None)
    registry.reset_choices()


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package of a user: one Python file, one C++ file."""
    (tmp_path / "mine.cc").write_text(SOURCE)
    (tmp_path / "mine.py").write_text(MODULE)
    spec = importlib.util.spec_from_file_location("mine", tmp_path / "mine.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mine", module)
    spec.loader.exec_module(module)
    yield module
    forget("blend", "repeat")
    for key in [key for key in cpp.PRIMITIVES if key[1] == tmp_path / "mine.cc"]:
        del cpp.PRIMITIVES[key]
    native.STATE.sources.remove(tmp_path / "mine.cc")


def tensor(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@needs_kernels
@pytest.mark.parametrize("jit", [False, True])
def test_an_operator_of_a_user_has_values_gradients_and_defaults(mine, jit):
    x, weight = tensor(3, 4), tensor(4, seed=1)
    a, w = x.asnumpy(), weight.asnumpy()

    def value(x, weight):
        return mine.blend(x, weight, shift="one")

    def slopes(x, weight):
        return ms.grad(total, (0, 1))(x, weight)

    def total(x, weight):
        return mine.blend(x, weight, 3.0).sum()

    def bare(x):
        return ms.grad(bare_total)(x)

    def bare_total(x):
        return mine.blend(x).sum()

    if jit:
        value, slopes, bare = ms.jit(value), ms.jit(slopes), ms.jit(bare)
    np.testing.assert_allclose(value(x, weight).asnumpy(), 2 * a * a * w + 1, rtol=1e-6)
    dx, dweight = slopes(x, weight)
    np.testing.assert_allclose(dx.asnumpy(), 6 * a * w, rtol=1e-5)
    np.testing.assert_allclose(dweight.asnumpy(), (3 * a * a).sum(0), rtol=1e-5)
    np.testing.assert_allclose(bare(x).asnumpy(), 4 * a, rtol=1e-5)
    assert ops.chosen()["blend float32"] == "cpu/kernel"


@needs_kernels
def test_a_size_may_follow_from_a_scalar(mine):
    x = tensor(3)
    for times in (1, 2, 4):
        expected = np.repeat(x.asnumpy(), times)
        np.testing.assert_array_equal(mine.repeat(x, times).asnumpy(), expected)
        np.testing.assert_array_equal(ops.plain(mine.repeat)(x, times).asnumpy(), expected)


DOUBLE = """
#include "scimind/operator.h"
using namespace scimind;

SCIMIND_OPERATOR(scaled, (View<const double> x, Options options, View<double> y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = options[0] * x[i] * x[i];
}

SCIMIND_OPERATOR(scaled_grad, (View<const double> x, View<const double> dout, Options options,
                               View<double> dx)) {
  for (int64_t i = 0; i < x.size(); ++i) dx[i] = 2 * options[0] * x[i] * dout[i];
}
"""
TWO_DTYPES = """
from scimind.typing import Float, Tensor
@operator(
    Cpp("single.cc", backward="x dout -> dx"),
    Cpp("double.cc", backward="x dout -> dx", dtype="float64"),
)
def scaled(x: Float[Tensor, "*shape"], factor: float = 2.0) -> Float[Tensor, "*shape"]:
    return x * x * factor
"""


@needs_kernels
def test_an_operator_may_have_a_kernel_for_each_dtype(tmp_path, monkeypatch):
    (tmp_path / "double.cc").write_text(DOUBLE)
    (tmp_path / "single.cc").write_text(DOUBLE.replace("double", "float"))
    module = declaration(tmp_path, TWO_DTYPES)
    monkeypatch.setitem(sys.modules, "one", module)
    try:
        for dtype, name in ((np.float32, "cpu/kernel"), (np.float64, "cpu/kernel float64")):
            x = Tensor(np.linspace(-1, 1, 5).astype(dtype))
            y = module.scaled(x, 3.0)
            assert y.asnumpy().dtype == dtype
            np.testing.assert_allclose(y.asnumpy(), 3 * x.asnumpy() ** 2, rtol=np.finfo(dtype).eps)
            assert ops.chosen()[f"scaled {np.dtype(dtype)}"] == name
        check(module.scaled, calls=8)
        (tmp_path / "double.cc").write_text(DOUBLE.replace("2 * options", "3 * options"))
        forget("scaled")
        digest.cache_clear()
        native.STATE.loaded.pop(tmp_path / "double.cc")
        for key in [key for key in cpp.PRIMITIVES if key[1] == tmp_path / "double.cc"]:
            del cpp.PRIMITIVES[key]
        module = declaration(tmp_path, TWO_DTYPES)
        monkeypatch.setitem(sys.modules, "one", module)
        with pytest.raises(AssertionError, match="gradient of x is not that of the plain"):
            check(module.scaled, calls=8)
    finally:
        forget("scaled")
        for name in ("single.cc", "double.cc"):
            native.STATE.sources.remove(tmp_path / name)


def test_other_dtypes_take_the_plain_formulation(mine):
    x = Tensor(np.arange(3.0))
    assert mine.blend(x).dtype == ms.float64
    assert ops.chosen()["blend float64"] == "plain"


def test_the_function_keeps_its_name_signature_and_text(mine):
    import inspect

    assert mine.blend.__name__ == "blend"
    assert list(inspect.signature(mine.blend).parameters) == ["x", "weight", "factor", "shift"]
    assert "plus 1" in mine.blend.__doc__


WRONG = [
    (((3, 4), (5,)), {}, r"blend: weight has shape \(5,\); the rule is float\[dim\] with dim = 4"),
    (((3, 4), (1, 4)), {}, r"blend: weight has shape \(1, 4\); the rule is float\[dim\]"),
    (((), None), {}, r"blend: x has shape \(\); the rule is float\[\*batch dim\]"),
    (((2, 3), None), {"shift": "two"}, r"blend: shift is 'two'; use one of \('none', 'one'\)"),
    (((2, 3), None), {"factor": "a"}, r"blend: factor is 'a'; it has to be a finite number"),
]


@pytest.mark.parametrize(("shapes", "scalars", "message"), WRONG)
def test_a_call_that_breaks_the_rule_names_operator_argument_and_rule(
    mine, shapes, scalars, message
):
    given = [None if shape is None else Tensor(np.ones(shape, np.float32)) for shape in shapes]
    with pytest.raises(RuleError, match=message):
        mine.blend(*given, **scalars)


def test_a_wrong_dtype_and_a_missing_tensor_are_named(mine):
    with pytest.raises(RuleError, match=r"blend: x has dtype int32; the rule is float"):
        mine.blend(Tensor(np.ones((2, 3), np.int32)))
    with pytest.raises(RuleError, match=r"rope: dim = 3 from x has to be a multiple of 2"):
        ops.rope(tensor(1, 1, 2, 3), tensor(1, 1, 2, 1), tensor(1, 1, 2, 1))
    with pytest.raises(RuleError, match=r"attention: head = 3 from query .* multiple of group = 2"):
        ops.attention(tensor(1, 3, 2, 4), tensor(1, 2, 2, 4), tensor(1, 2, 2, 4))


WHOLE = "split_heads: heads is {}; it has to be an int within ±2^53"
NUMBER = "rms_norm: eps is {}; it has to be a finite number"
FLAG = "attention: causal is {}; it has to be True or False"


def split(value):
    return ops.split_heads(tensor(1, 2, 4), value, 2)


def norm(value):
    return ops.rms_norm(tensor(2, 4), None, value)


def causal(value):
    return ops.attention(tensor(1, 2, 3, 4), tensor(1, 2, 3, 4), tensor(1, 2, 3, 4), causal=value)


def window(value):
    return ops.attention(tensor(1, 2, 3, 4), tensor(1, 2, 3, 4), tensor(1, 2, 3, 4), window=value)


SCALARS = [
    *[(split, value, WHOLE) for value in (2.0, np.float32(2), True, None, "a", 2**54, math.nan)],
    (split, np.int64(0), "split_heads: heads is 0; it has to be at least 1"),
    *[(norm, value, NUMBER) for value in (True, None, "a", math.nan, math.inf)],
    *[(causal, value, FLAG) for value in (1, 1.0, None, "a")],
    *[
        (window, value, "attention: window is {}; it has to be an int within ±2^53 or None")
        for value in (2.5, True)
    ],
]


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(("call", "value", "message"), SCALARS)
def test_a_scalar_of_another_kind_is_named(call, value, message, jit):
    if jit and isinstance(value, str):
        pytest.skip("a graph takes no text")
    split(2), norm(1), causal(True), window(2)  # what is equal may have been seen before
    function = ms.jit(call) if jit else call
    shown = repr(value.item() if isinstance(value, np.generic) else value)
    with pytest.raises(RuleError, match=re.escape(message.format(shown))):
        function(value)


@pytest.mark.parametrize("jit", [False, True])
def test_scalars_of_numpy_are_scalars(jit):
    for call, values in (
        (split, (2, np.int64(2), np.int32(2))),
        (norm, (1.0, 1, np.float32(1), np.float64(1), np.int64(1))),
    ):
        function = ms.jit(call) if jit else call
        found = [function(value).asnumpy() for value in values]
        for other in found[1:]:
            np.testing.assert_array_equal(found[0], other)
    np.testing.assert_array_equal(causal(np.bool_(True)).asnumpy(), causal(True).asnumpy())


def test_a_scalar_that_is_large_or_no_scalar_is_not_written_out():
    with pytest.raises(RuleError, match=r"eps is 1000+\.\.\.0+; it has to be a finite number"):
        norm(10**400)
    with pytest.raises(RuleError, match="eps is of type Tensor; it has to be a finite number"):
        norm(tensor(3))
    with pytest.raises(RuleError, match="gelu: approximate is of type Tensor; use one of"):
        ops.gelu(tensor(3), tensor(3))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("value", [None, np.ones((2, 3), np.float32), [1.0, 2.0], 1.0, "a"])
def test_what_is_no_tensor_is_named(value, jit):
    def one(x):
        return ops.gelu(x)

    def optional(x, weight):
        return ops.layer_norm(x, weight)

    if jit:
        one, optional = ms.jit(one), ms.jit(optional)
    kind = "None" if value is None else f"of type {type(value).__name__}"
    if jit and isinstance(value, str):
        pytest.skip("a graph takes no text")
    with pytest.raises(RuleError, match=re.escape(f"gelu: x is {kind}; it has to be a Tensor, ")):
        one(value)
    if value is not None:
        rule = f"layer_norm: weight is {kind}; it has to be a Tensor, float[dim]; None leaves it"
        with pytest.raises(RuleError, match=re.escape(rule)):
            optional(tensor(2, 4), value)


@pytest.mark.parametrize("jit", [False, True])
def test_float_arguments_of_unequal_dtype_are_named(jit):
    def call(x, weight):
        return ops.linear(x, weight)

    function = ms.jit(call) if jit else call
    rule = r"linear: weight has dtype float16; the rule is .* with the dtype of x, float32; cast"
    with pytest.raises(RuleError, match=rule):
        function(tensor(2, 4), tensor(3, 4).astype(ms.float16))
    rows, cache = tensor(1, 2, 1, 4), tensor(1, 2, 3, 4).astype(ms.float16)
    with pytest.raises(RuleError, match="cached_attention: key_cache has dtype float16"):
        ops.cached_attention(rows, rows, rows, cache, cache, Tensor([0], ms.int32))


def test_parameters_of_a_norm_and_a_bias_may_be_wider_than_what_they_are_for():
    x = tensor(2, 4)
    half = ops.layer_norm(x.astype(ms.float16), tensor(4, seed=1), tensor(4, seed=2))
    whole = ops.layer_norm(x, tensor(4, seed=1), tensor(4, seed=2))
    np.testing.assert_allclose(half.asnumpy(), whole.asnumpy(), atol=5e-3)  # of float16
    query = tensor(1, 2, 3, 4).astype(ms.float16)
    out = ops.attention(query, query, query, bias=tensor(1, 2, 3, 3))
    assert out.dtype == ms.float16


def test_a_scalar_may_have_a_limit():
    def sample(x: Float[np.ndarray, " a"], part: float = 0.0) -> Float[np.ndarray, " a"]: ...

    rule = Rule.of(sample, at_least={"part": 0}, less_than={"part": 0.5})
    rule.check((((3,), "float32"),), (0,))
    for value, message in ((-0.1, "at least 0"), (0.5, "less than 0.5")):
        with pytest.raises(RuleError, match=f"sample: part is {value}; it has to be {message}"):
            rule.check((((3,), "float32"),), (value,))


def test_a_graph_that_breaks_the_rule_is_not_compiled(mine):
    @ms.jit
    def run(x, weight):
        return mine.blend(x, weight)

    with pytest.raises(RuleError, match="blend: weight has shape"):
        run(tensor(3, 4), tensor(5))


def declaration(tmp_path, text):
    (tmp_path / "one.cc").write_text('#include "scimind/operator.h"\n')
    path = tmp_path / "one.py"
    path.write_text("from scimind.ops import Cpp, operator\n" + textwrap.dedent(text))
    spec = importlib.util.spec_from_file_location("one", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["one"] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules["one"]
        forget("wrong")
    return module


TYPES = "from scimind.typing import Float, Tensor\nX = Float[Tensor, 'a']\n"
MISTAKES = [
    ("def wrong(x) -> X: ...", TypeError, "argument x has no annotation"),
    ("def wrong(n: int, x: X) -> X: ...", TypeError, "tensor x has to come before the scalars"),
    ("def wrong(x: X): ...", TypeError, "the result has no shape annotation"),
    ("def wrong(x: X, y: dict) -> X: ...", TypeError, "argument y is annotated"),
    ("def gelu(x: X) -> X: ...", ValueError, "gelu is declared already"),
]


def test_arguments_may_have_any_name(tmp_path):
    text = """
    from scimind.typing import Float, Tensor
    X = Float[Tensor, "count"]
    @operator(half=("index", "out"))
    def difference(index: X, out: X, half: float, wide: float) -> X:
        return half * index - wide * out
    """
    module = declaration(tmp_path, text)
    try:
        found = module.difference(tensor(3), 2 * tensor(3), 3.0, 4.0)
    finally:
        forget("difference")
    np.testing.assert_array_equal(found.asnumpy(), -5 * tensor(3).asnumpy())


@pytest.mark.parametrize(("text", "error", "message"), MISTAKES)
def test_a_mistake_in_a_declaration_shows_when_it_is_read(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        declaration(tmp_path, TYPES + "@operator()\n" + text)


@pytest.mark.parametrize(
    ("kernel", "error", "message"),
    [
        ("'one.cc', backward='x dy -> dx'", TypeError, "backward is 'x dy -> dx'"),
        ("'one.cc', backward='x dout -> dz'", TypeError, "has to be 'inputs -> gradients'"),
        ("'two.cc'", FileNotFoundError, "two.cc"),
        ("'one.cc', dtype='float16'", ValueError, "one.cc: dtype is 'float16'; use one of"),
        ("'one.cc'), Cpp('two.cc'", ValueError, "wrong has two kernels of one dtype"),
        ("'one.cc'), Cpp('one.cc', dtype='float64'", ValueError, "two kernels in one source"),
    ],
)
def test_a_mistake_in_a_kernel_shows_when_it_is_read(tmp_path, kernel, error, message):
    with pytest.raises(error, match=message):
        declaration(tmp_path, f"{TYPES}@operator(Cpp({kernel}))\ndef wrong(x: X) -> X: ...")


def test_sizes_are_bound_and_computed():
    def sample(
        x: Float[np.ndarray, "*batch head dim"],
        mask: Bool[np.ndarray, "#head dim//2"],
        index: Int[np.ndarray, "... dim-1"],
        n: int = 3,
    ) -> Float[np.ndarray, "*batch n*dim"]: ...

    rule = Rule.of(sample)
    sizes = rule.bind(((7, 5, 2, 4), (1, 2), (9, 9, 3)), (3,))
    assert sizes == {"n": 3, "batch": (7, 5), "head": 2, "dim": 4}
    assert shape_of(rule.results[0].axes, sizes) == (7, 5, 12)
    with pytest.raises(RuleError, match=r"mask .* dim//2 = 2"):
        rule.bind(((2, 4), (2, 3), (3,)), (3,))
    with pytest.raises(RuleError, match=r"index .* dim-1 = 3"):
        rule.bind(((2, 4), (2, 2), (4,)), (3,))
    with pytest.raises(TypeError, match="a size has to be"):
        evaluate("f(a)", {"a": 1})


def test_the_table_in_the_documentation_is_the_one_of_the_code():
    page = Path(__file__).resolve().parents[3] / "docs" / "ops.md"
    written = page.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip()
    assert written == table(), "run: python -m scimind.ops --write docs/ops.md"

"""What `scimind.ops.testing.check` says about operators that are right, and about wrong ones."""

import importlib.util
import re
import sys
from random import Random

import numpy as np
import pytest
from tests.shared.ops.test_operator import forget, needs_kernels

from scimind import ops
from scimind.errors import EnvironmentProblem
from scimind.ops import OPERATORS
from scimind.ops.kernels import cpp, native
from scimind.ops.rule import evaluate
from scimind.ops.testing import check, draw_call, drawn

HEADER = '#include "scimind/operator.h"\n#include <stdexcept>\nusing namespace scimind;\n'
SOURCE = """
SCIMIND_OPERATOR(blend, (In x, In weight, Options options, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i)
    y[i] = options[0] * x[i] * x[i] * (weight.present ? weight[i % x.width()] : 1.0f);
}
SCIMIND_OPERATOR(blend_grad, (In x, In weight, In dout, Options options, Out dx, Out dweight)) {
  const float factor = options[0];
  for (int64_t j = 0; weight.present && j < weight.size(); ++j) dweight[j] = 0;
  for (int64_t i = 0; i < x.size(); ++i) {
    const int64_t j = i % x.width();
    dx[i] = 2 * factor * x[i] * dout[i] * (weight.present ? weight[j] : 1.0f);
    if (weight.present) dweight[j] += factor * x[i] * x[i] * dout[i];
  }
}
SCIMIND_OPERATOR(wrong_value, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = 2.001f * x[i];
}
SCIMIND_OPERATOR(wrong_whole, (Ints x, Ints y)) {
  for (int64_t i = 0; i < x.size(); ++i) const_cast<int32_t*>(y.data)[i] = x[i] + (i == 4);
}
SCIMIND_OPERATOR(wrong_gradient, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = 2 * x[i];
}
SCIMIND_OPERATOR(wrong_gradient_grad, (In x, In dout, Out dx)) {
  for (int64_t i = 0; i < x.size(); ++i) dx[i] = i == 5 ? dout[i] : 2 * dout[i];
}
SCIMIND_OPERATOR(wrong_again, (In x, Out y)) {
  static int calls = 0;
  const float factor = ++calls % 2 == 0 ? 3 : 2;
  for (int64_t i = 0; i < x.size(); ++i) y[i] = factor * x[i];
}
SCIMIND_OPERATOR(wrong_if_odd, (In x, Out y)) {
  for (int64_t i = 0; i + 2 <= x.size(); ++i) y[i] = 2 * x[i];
  if (x.size() % 2 == 0 && x.size() > 0) y[x.size() - 1] = 2 * x[x.size() - 1];
}
SCIMIND_OPERATOR(wrong_if_long, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = i < 16 ? 2 * x[i] : x[i];
}
SCIMIND_OPERATOR(wrong_if_empty, (In x, Out y)) {
  for (int64_t i = 0; i < x.axis(0); ++i) {
    y[i] = x.width() == 0 ? 1 : 0;
    for (int64_t j = 0; j < x.width(); ++j) y[i] += x[i * x.width() + j];
  }
}
SCIMIND_OPERATOR(unwritten_if_empty, (In x, Out y)) {
  for (int64_t i = 0; i < x.axis(0) && x.width() > 0; ++i) {
    y[i] = 0;
    for (int64_t j = 0; j < x.width(); ++j) y[i] += x[i * x.width() + j];
  }
}
SCIMIND_OPERATOR(unwritten, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] += 2 * x[i];
}
SCIMIND_OPERATOR(raising, (In x, Out y)) {
  if (x.size() > 4) throw std::runtime_error("more than four");
  for (int64_t i = 0; i < x.size(); ++i) y[i] = 2 * x[i];
}
SCIMIND_OPERATOR(constant, (In x, In weight, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = x[i] * weight[i];
}
SCIMIND_OPERATOR(constant_grad, (In weight, In dout, Out dx)) {
  for (int64_t i = 0; i < dx.size(); ++i) dx[i] = weight[i] * dout[i];
}
SCIMIND_OPERATOR(half_gradient, (In x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = x[i] * x[i];
}
SCIMIND_OPERATOR(half_gradient_grad, (In x, In dout, Out dx)) {
  for (int64_t i = 0; i < x.size(); ++i) dx[i] = x[i] * dout[i];
}
SCIMIND_OPERATOR(add_to, (Inout x, In y, Out done)) {
  for (int64_t i = 0; i < x.size(); ++i) x[i] += y[i];
  done[0] = 0;
}
SCIMIND_OPERATOR(wrong_in_place, (Inout x, In y, Out done)) {
  for (int64_t i = 0; i < x.size(); ++i) x[i] += 2 * y[i];
  done[0] = 0;
}
SCIMIND_OPERATOR(changing, (Inout x, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = 2 * x[i];
  for (int64_t i = 0; i < x.size(); ++i) x[i] = 0;
}
SCIMIND_OPERATOR(log_power, (In x, Options options, Out y)) {
  for (int64_t i = 0; i < x.size(); ++i) y[i] = options[0] * std::log(x[i]);
}
SCIMIND_OPERATOR(log_power_grad, (In x, In dout, Options options, Out dx)) {
  for (int64_t i = 0; i < x.size(); ++i) dx[i] = options[0] * dout[i] / x[i];
}
SCIMIND_OPERATOR(never, (In x, Out y)) {}
SCIMIND_OPERATOR(dot, (In x, In y, Out out)) {
  out[0] = 0;
  for (int64_t i = 0; i < x.size(); ++i) out[0] += x[i] * y[i];
}
SCIMIND_OPERATOR(dot_grad, (In x, In y, In dout, Out dx, Out dy)) {
  for (int64_t i = 0; i < x.size(); ++i) dx[i] = y[i] * dout[0], dy[i] = x[i] * dout[0];
}
"""
MODULE = """
from mindspore import ops

from scimind.ops import Cpp, operator
from scimind.typing import Float, Int, Tensor

X = Float[Tensor, "count"]


@operator(Cpp("kernels.cc", backward="x weight dout -> dx dweight"))
def blend(
    x: Float[Tensor, "*batch dim"],
    weight: Float[Tensor, " dim"] | None = None,
    factor: float = 2.0,
) -> Float[Tensor, "*batch dim"]:
    y = x * x * factor
    return y if weight is None else y * weight


@operator(Cpp("kernels.cc"))
def wrong_value(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc"))
def wrong_whole(x: Int[Tensor, "count"]) -> Int[Tensor, "count"]:
    return x + 0


@operator(Cpp("kernels.cc", backward="x dout -> dx"))
def wrong_gradient(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc"))
def wrong_again(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc"))
def wrong_if_odd(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc"))
def wrong_if_long(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc"))
def wrong_if_empty(x: Float[Tensor, "row column"]) -> Float[Tensor, "row"]:
    return ops.zeros(x.shape[0], x.dtype) if x.shape[1] == 0 else x.sum(-1)


@operator(Cpp("kernels.cc"))
def unwritten_if_empty(x: Float[Tensor, "row column"]) -> Float[Tensor, "row"]:
    return x.sum(-1)


@operator(Cpp("kernels.cc"))
def unwritten(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc"))
def raising(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc", backward="weight dout -> dx"))
def constant(x: X, weight: X) -> X:
    return x * weight


@operator(Cpp("kernels.cc", backward="x dout -> dx"))
def half_gradient(x: X) -> X:
    return x * ops.stop_gradient(x)


@operator(Cpp("kernels.cc"), in_place=("x",))
def add_to(x: X, y: X) -> Float[Tensor, "1"]:
    return ops.depend(ops.zeros(1, x.dtype), ops.assign(x, x + y))


@operator(Cpp("kernels.cc"), in_place=("x",))
def wrong_in_place(x: X, y: X) -> Float[Tensor, "1"]:
    return ops.depend(ops.zeros(1, x.dtype), ops.assign(x, x + y))


@operator(Cpp("kernels.cc"))
def changing(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc", backward="x dout -> dx"), at_least={"power": 7})
def log_power(x: X, power: int) -> X:
    return power * ops.log(x)


@operator(Cpp("kernels.cc", when=lambda call: False))
def never(x: X) -> X:
    return x * 2.0


@operator(Cpp("kernels.cc", backward="x y dout -> dx dy"))
def dot(x: X, y: X) -> Float[Tensor, ""]:
    return (x * y).sum()


@operator()
def bare(x: X) -> X:
    return x * 2.0


@operator(Cpp("broken.cc"))
def broken(x: X) -> X:
    return x * 2.0
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A package of a user, whose operators are forgotten in the end."""
    folder, before = tmp_path_factory.mktemp("mine"), set(OPERATORS)
    sources = {"kernels.cc": HEADER + SOURCE, "broken.cc": HEADER + "no C++"}
    for name, text in {**sources, "checked.py": MODULE}.items():
        (folder / name).write_text(text)
    spec = importlib.util.spec_from_file_location("checked", folder / "checked.py")
    sys.modules["checked"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["checked"]
    forget(*set(OPERATORS) - before)
    for key in [key for key in cpp.PRIMITIVES if key[1] in [folder / name for name in sources]]:
        del cpp.PRIMITIVES[key]
    for name in sources:
        native.STATE.sources.remove(folder / name)


@needs_kernels
@pytest.mark.parametrize("name", ["blend", "add_to", "dot"])
def test_a_right_operator_passes(mine, name):
    check(getattr(mine, name), calls=10)
    check(name, calls=5, seed=1)


@needs_kernels
def test_operators_of_scimind_pass():
    check(ops.rms_norm, calls=8)
    check("select_blocks", calls=8)


WRONG = {
    "wrong_value": r"in pynative mode: out is .* 0\.000[45]\d*, tolerance 2e-05, at \[\d+\]",
    "wrong_whole": r"x: \(5,\)\).* out is .* tolerance 0, at \[4\]",
    "wrong_gradient": r"x: \(6,\).* in pynative mode: gradient of x is .* at \[5\]",
    "wrong_again": r"in ms.jit: out is not that of the plain formulation in float64",
    "wrong_if_odd": r"x: \(1,\)\) .* at \[0\]",
    "wrong_if_long": r"x: \((17|33),\)\) .* at \[\d+\]",
    "wrong_if_empty": r"x: \([123], 0\)\).* in pynative mode: out is .* 1.0 instead of 0.0",
    "unwritten_if_empty": r"x: \([123], 0\)\).* out is not that of",
    "unwritten": r"in pynative mode: out is not that of the plain formulation",
    "raising": r"x: \([567],\)\).* in pynative mode: the call raises RuntimeError",
    "constant": r"gradient of weight is not that of the plain formulation",
    "half_gradient": r"gradient of x of the plain formulation is not that of finite differences",
    "wrong_in_place": r"in pynative mode: x afterwards is not that of the plain formulation",
    "changing": r"in pynative mode: x afterwards is not that of the plain formulation",
}


@needs_kernels
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_operator_is_named_with_call_quantity_and_difference(mine, name):
    with pytest.raises(AssertionError, match=WRONG[name]) as raised:
        check(name)
    assert re.match(rf"{name}\(x: \(.*\) with values of seed \d+", str(raised.value))


@needs_kernels
def test_the_calls_follow_from_the_seed(mine):
    found = []
    for seed in (0, 0, 1):
        with pytest.raises(AssertionError) as raised:
            check(mine.wrong_value, seed=seed)
        found.append(str(raised.value))
    assert found[0] == found[1] != found[2]


@needs_kernels
def test_a_looser_tolerance_lets_a_small_difference_pass(mine):
    check(mine.wrong_value, tolerance=1e-3)


def positive(rng, shape):
    return 0.5 + rng.random(shape)


@needs_kernels
def test_arguments_may_be_given(mine):
    check(mine.log_power, calls=8, given={"x": positive, "power": (7, 9)})
    found = drawn(OPERATORS["log_power"], 20, given={"x": positive, "power": (7, 9)})
    assert {call.options for call in found} == {(7,), (9,)}
    assert all((call.arrays(OPERATORS["log_power"])["x"] >= 0.5).all() for call in found)
    with pytest.raises(ValueError, match=r"log_power has no \['scale'\]; .* \['x', 'power'\]"):
        check(mine.log_power, given={"scale": (1.0,)})


@needs_kernels
def test_calls_have_empty_single_odd_and_long_axes_and_every_kind_of_argument():
    found = drawn(OPERATORS["layer_norm"], 40)
    axes = {size for call in found for shape in call.present for size in shape}
    assert {0, 1, 2, 3, 5, 7, 17, 33} <= axes
    assert {None in call.shapes for call in found} == {True, False}
    assert [call.size for call in found] == sorted(call.size for call in found)


@pytest.mark.parametrize("name", ["paged_attention", "cross_entropy", "selected_attention"])
def test_whole_numbers_stay_below_what_the_declaration_says(name):
    entry, random = OPERATORS[name], Random(0)
    for _ in range(50):
        call = draw_call(entry, random, range(1, 8))
        sizes = entry.rule.bind(call.shapes, call.options)
        for argument, value in call.arrays(entry).items():
            if argument in entry.below:
                bound = evaluate(entry.below[argument], sizes)
                assert ((value >= 0) & (value < max(bound, 1))).all()
            elif value is not None and value.dtype == np.float64:
                assert (value.astype(np.float32) == value).all()


@needs_kernels
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("nothing", ValueError, "nothing is no declared operator"),
        ("bare", ValueError, "operator bare has no compiled kernel"),
        ("broken", EnvironmentProblem, r"broken: its kernel cannot be checked here: .*broken\.cc"),
        ("never", EnvironmentProblem, r"takes 0 of 1000 random calls.*\['plain'\]"),
    ],
)
def test_an_operator_without_a_kernel_does_not_pass(mine, name, error, message):
    with pytest.raises(error, match=message):
        check(name)


@needs_kernels
def test_switched_off_kernels_do_not_pass(mine, monkeypatch):
    with ops.plain_formulations(), pytest.raises(EnvironmentProblem, match=r"\['plain'\]"):
        check(mine.blend)
    monkeypatch.setenv("SCIMIND_KERNELS", "plain")
    monkeypatch.setattr(native.STATE, "loaded", {})
    with pytest.raises(EnvironmentProblem, match="SCIMIND_KERNELS=plain"):
        check(mine.blend)

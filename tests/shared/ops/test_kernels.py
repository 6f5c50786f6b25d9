"""The registry, and what a compiled kernel has to keep besides its values."""

import contextlib
import importlib
import inspect
import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import device, ops
from scimind.errors import EnvironmentProblem
from scimind.ops import OPERATORS, plain, registry
from scimind.ops.kernels import ascend, native
from scimind.ops.rule import RuleError, shape_of

capabilities_module = importlib.import_module("scimind.device.capabilities")
HAVE_KERNELS = OPERATORS["rms_norm"].kernels[0].ready()
needs_kernels = pytest.mark.skipif(not HAVE_KERNELS, reason="the CPU kernels cannot be built")


def tensor(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@needs_kernels
def test_the_choice_is_the_kernel_for_float32_and_plain_for_others():
    ops.gelu(tensor(3))
    assert ops.chosen()["gelu float32"] == "cpu/kernel"
    ops.gelu(tensor(3).astype(ms.float16))
    assert ops.chosen()["gelu float16"] == "plain"


def test_every_operator_has_a_plain_formulation_and_one_name_per_implementation():
    for name in registry.FUNCTIONS:
        entries = registry.implementations(name)
        assert entries[0].name == "plain"
        assert len({entry.name for entry in entries}) == len(entries)


def test_a_second_implementation_of_the_same_name_is_refused():
    with pytest.raises(ValueError, match="already has an implementation"):
        ops.register("gelu", name="plain")(lambda x: x)


def test_all_implementations_take_the_same_arguments():
    for name, functions in registry.FUNCTIONS.items():
        first = list(inspect.signature(functions[0]).parameters)
        for function in functions[1:]:
            assert list(inspect.signature(function).parameters) == first, name


def test_ascend_operators_exist_with_the_documented_arguments():
    known = inspect.signature(ms.ops.flash_attention_score).parameters
    for argument in ("real_shift", "attn_mask", "scalar_value", "input_layout"):
        assert argument in known
    assert list(inspect.signature(ms.ops.rotary_position_embedding).parameters) == [
        "x",
        "cos",
        "sin",
        "mode",
    ]
    made = inspect.signature(ms.ops.auto_generate.PagedAttention.__init__).parameters
    assert list(made)[1:4] == ["head_num", "scale_value", "kv_head_num"]
    unverified = [entry for entry in registry.implementations() if not entry.verified]
    assert {entry.device for entry in unverified} == {"ascend"}


@pytest.mark.parametrize("capability", ascend.TRIED)
def test_the_call_that_tells_whether_an_ascend_operator_is_there_keeps_all_rules(capability):
    op, sizes = ascend.TRIED[capability]
    (entry,) = (each for each in registry.implementations(op) if each.requires == capability)
    rule = OPERATORS[op].rule
    given = tuple(
        None if each.optional else (shape_of(each.axes, sizes), entry.dtypes[0])
        for each in rule.tensors
        if each.family != "int"
    )
    integers = [each for each in rule.tensors if each.family == "int"]
    given += tuple((shape_of(each.axes, sizes), "int32") for each in integers)
    options = tuple(each.default for each in rule.options)
    found = rule.check(given, options)
    scalars = {each.name: each.default for each in rule.options}
    assert entry.fits("ascend", (entry.dtypes[0],), {**found, **scalars})


def test_ascend_operators_are_chosen_where_a_call_of_them_succeeds(monkeypatch, caplog):
    """On a device of that name which has the operators of a CPU, and not those of Ascend."""
    caplog.set_level("INFO", "scimind.ops")
    assert not any(name in device.capabilities() for name in ascend.TRIED)
    monkeypatch.setattr(registry, "target", lambda: "ascend")
    monkeypatch.setattr(capabilities_module, "_device", lambda: "ascend")
    registry.reset_choices()
    monkeypatch.setitem(registry._announced, ("attention", "float16"), ("plain", ()))
    try:
        ops.silu(tensor(2, 16))
        half = tensor(1, 1, 16, 16).astype(ms.float16)
        ops.attention(half, half, half)
        chosen = ops.chosen()
    finally:
        monkeypatch.undo()
        registry.reset_choices()
        capabilities_module.reset_capabilities()
    assert chosen["silu float32"] == "ascend/SiLU"
    assert "silu float32 → ascend/SiLU (never run on this device" in caplog.text
    assert chosen["attention float16"] == "plain"
    missing = "attention float16 → plain (this device has no attention.FlashAttentionScore)"
    assert missing in caplog.text
    ops.silu(tensor(2, 16))
    assert ops.chosen()["silu float32"] != "ascend/SiLU"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_reach_the_output(value):
    x = np.ones((2, 20), np.float32)
    x[1, 7] = value
    bad = Tensor(x)
    for function in (ops.layer_norm, ops.rms_norm, ops.softmax):
        out = function(bad).asnumpy()
        assert np.isfinite(out[0]).all(), function
        if not (function is ops.softmax and value == -np.inf):
            assert np.isnan(out[1]).any(), function
    for activation in (None, "gelu", "silu", "relu"):
        out = ops.linear(bad, tensor(4, 20), tensor(4), activation).asnumpy()
        assert np.isfinite(out[0]).all()
        if np.isnan(value):
            assert np.isnan(out[1]).all(), activation
    weights = [Tensor(np.full((1, 1, 3, 4), v, np.float32)) for v in (value, 1.0, 1.0)]
    if not np.isneginf(value):
        assert np.isnan(ops.attention(*weights).asnumpy()).all()


@needs_kernels
def test_large_and_small_arguments_agree_with_the_plain_formulation():
    x = Tensor(np.array([-1e30, -200, -88, -87, 0.0, 1e-30, 87, 89, 200, 1e30], np.float32))
    for kernel, reference in ((ops.silu, plain(ops.silu)), (ops.softmax, plain("softmax"))):
        got, expected = kernel(x).asnumpy(), reference(x).asnumpy()
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-33)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0, 5)])
def test_tensors_without_elements_keep_their_shape(shape):
    x = Tensor(np.zeros(shape, np.float32))
    assert ops.gelu(x).shape == shape
    assert ops.linear(x, tensor(4, 5), tensor(4), "gelu").shape == (*shape[:-1], 4)
    assert ops.layer_norm(x, tensor(5), tensor(5)).shape == shape


def test_a_query_without_permitted_key_gets_zeros():
    q = tensor(1, 2, 3, 4)
    mask = np.ones((1, 1, 3, 3), bool)
    mask[0, 0, 1] = False
    for context in (ops.plain_formulations(), None):
        if context is None:
            out = ops.attention(q, q, q, mask=Tensor(mask)).asnumpy()
        else:
            with context:
                out = ops.attention(q, q, q, mask=Tensor(mask)).asnumpy()
        assert (out[0, :, 1] == 0).all()
        assert (out[0, :, 0] != 0).all()


@needs_kernels
def test_views_are_read_with_their_strides():
    x = tensor(6, 4, 8)
    expected = ops.gelu(Tensor(x.asnumpy().transpose(2, 0, 1).copy())).asnumpy()
    assert (ops.gelu(x.transpose((2, 0, 1))).asnumpy() == expected).all()


@needs_kernels
def test_results_have_the_same_bits_with_one_and_two_threads():
    def all_of_it():
        x, w, b = tensor(700, 96), tensor(200, 96, seed=1), tensor(200, seed=2)
        q = tensor(3, 4, 50, 16, seed=3)
        gradient = ms.grad(lambda x, w, b: ops.linear(x, w, b, "gelu").sum(), (0, 1, 2))
        norm = ms.grad(lambda x, w: ops.layer_norm(x, w, w).sum(), (0, 1))
        attend = ms.grad(lambda q: ops.attention(q, q, q, causal=True).sum())
        results = [*gradient(x, w, b), *norm(x, tensor(96)), attend(q)]
        return [result.asnumpy().copy() for result in results]

    native.set_threads(1)
    one = all_of_it()
    native.set_threads(2)
    two = [all_of_it() for _ in range(3)]
    native.set_threads(1)
    for again in two:
        assert all((a == b).all() for a, b in zip(one, again, strict=True))


def test_a_second_derivative_of_a_kernel_is_an_error_and_of_plain_a_number():
    x = tensor(5)

    def slope(function):
        return ms.grad(lambda x: ms.grad(lambda y: function(y).sum())(x).sum())

    v = x.asnumpy().astype(np.float64)
    s = 1 / (1 + np.exp(-v))
    exact = s * (1 - s) * (2 + v * (1 - 2 * s))
    with ops.plain_formulations():
        got = slope(ops.silu)(x).asnumpy()
    np.testing.assert_allclose(got, exact, rtol=1e-4, atol=1e-6)
    if HAVE_KERNELS:
        with pytest.raises(RuleError, match=r"silu has no second derivative; .*plain\('silu'\)"):
            slope(ops.silu)(x).asnumpy()


@needs_kernels
@pytest.mark.parametrize("jit", [False, True])
def test_an_operator_without_gradient_says_so_where_one_is_asked_for(jit):
    row, start = tensor(1, 1, 1, 4), Tensor([0], ms.int32)
    caches = [ms.Parameter(Tensor(np.zeros((1, 1, 8, 4), np.float32)), name) for name in "kv"]

    def mixed(query):
        return ops.cached_attention(query, row, row, *caches, start)

    def through(query):
        return mixed(query).sum()

    def beside(query):
        return (ms.ops.stop_gradient(mixed(query)) * query).sum()

    asked, stopped = ms.grad(through), ms.grad(beside)

    def slopes(query):
        return asked(query)

    def others(query):
        return stopped(query)

    if jit:
        slopes, others = ms.jit(slopes), ms.jit(others)
    with pytest.raises(
        RuleError, match="cached_attention has no gradient; stop that of its result"
    ):
        slopes(row).asnumpy()
    np.testing.assert_allclose(others(row).asnumpy(), row.asnumpy(), rtol=1e-6)  # of one key


def test_grouped_attention_has_a_second_derivative_in_its_plain_formulation():
    q, k = tensor(1, 4, 3, 2), tensor(1, 2, 3, 2, seed=1)
    step = 1e-2

    def total(q, k):
        return (ops.attention(q, k, k, causal=True) ** 2).sum()

    # In a graph: eager second derivatives of products of matrices are wrong in MindSpore 2.10.
    @ms.jit
    def slope(q, k):
        return ms.grad(total, 1)(q, k)

    @ms.jit
    def second(q, k):
        return ms.grad(slope_sum, 1)(q, k)

    def slope_sum(q, k):
        return ms.grad(total, 1)(q, k).sum()

    with ops.plain_formulations():
        got = second(q, k).asnumpy()
        ahead, behind = (
            slope(q, Tensor(k.asnumpy() + np.float32(sign * step))).asnumpy() for sign in (1, -1)
        )
    np.testing.assert_allclose(got, (ahead - behind) / (2 * step), atol=2e-2)


def run(code, **env):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **env}
    )


REPORT = (
    "import logging; logging.basicConfig(level='INFO'); import numpy as np; import mindspore as ms;"
    "from scimind import ops; ops.gelu(ms.Tensor(np.ones(3, np.float32)));"
    "print(ops.chosen()['gelu float32'])"
)


def test_kernels_can_be_switched_off_and_a_wrong_switch_is_refused():
    assert run(REPORT, SCIMIND_KERNELS="plain").stdout.strip().endswith("plain")
    wrong = run("import scimind.ops", SCIMIND_KERNELS="fast")
    assert EnvironmentProblem.__name__ in wrong.stderr
    assert "use auto or plain" in wrong.stderr


def test_setup_tells_the_kernels_how_many_threads_they_may_use(monkeypatch):
    from scimind import device

    asked = []
    monkeypatch.setattr(native, "set_threads", asked.append)
    device.setup("cpu", threads=2)
    device.setup("cpu", threads=1)
    assert asked == [2, 1]


@needs_kernels
def test_one_adamw_call_for_all_parameters_is_the_published_update():
    rng = np.random.default_rng(0)
    shapes = [(3,), (40, 1000), (2, 1, 5), (33000,)]
    start = [[rng.standard_normal(shape) for shape in shapes] for _ in range(4)]
    start[2] = [abs(value) for value in start[2]]
    rate, factor, beta1, beta2, eps, steps = 0.01, 0.5, 0.9, 0.99, 1e-6, 3
    decays = (0.0, 0.1, 0.2, 0.0)
    corrections = [1 - beta**steps for beta in (beta1, beta2)]
    expected = []
    for p, m, v, g, decay in zip(*start, decays, strict=True):
        m = beta1 * m + (1 - beta1) * g * factor
        v = beta2 * v + (1 - beta2) * (g * factor) ** 2
        update = (m / corrections[0]) / (np.sqrt(v / corrections[1]) + eps)
        expected.append(((1 - rate * decay) * p - rate * update, m, v))
    for kernels in (True, False):
        given = [
            [ms.Parameter(Tensor(value.astype(np.float32)), f"{role}{i}") for i, value in each]
            for role, each in enumerate(map(enumerate, start))
        ]
        scalars = [Tensor(value, ms.float32) for value in (rate, factor, *corrections)]
        with contextlib.nullcontext() if kernels else ops.plain_formulations():
            done = ops.adamw_all(*map(tuple, given), *scalars, beta1, beta2, eps, decays)
            done.asnumpy()
        for index, values in enumerate(expected):
            for role, value in enumerate(values):
                got = given[role][index].asnumpy()
                np.testing.assert_allclose(got, value, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("jit", [False, True])
def test_gradients_of_half_precision_update_as_their_values_do(jit):
    """The kernel is for single precision throughout; the plain formulation takes the others."""
    gradient = np.array([0.5, -2.0, 1.0], np.float16)
    found = []
    for dtype in (np.float16, np.float32):
        p, m, v = (
            (ms.Parameter(Tensor(np.ones(3, np.float32)), f"{role}{dtype.__name__}"),)
            for role in "pmv"
        )
        scalars = [Tensor(value, ms.float32) for value in (0.1, 1.0, 0.1, 0.01)]

        def step(given, p=p, m=m, v=v, scalars=scalars):
            return ops.adamw_all(p, m, v, (given,), *scalars, 0.9, 0.99, 1e-6, (0.1,))

        (ms.jit(step) if jit else step)(Tensor(gradient.astype(dtype))).asnumpy()
        found.append([each[0].asnumpy() for each in (p, m, v)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@needs_kernels
def test_the_sum_of_squares_is_exact_for_many_tensors_and_any_threads():
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(n).astype(np.float32) for n in (1, 70000, 0, 33, 250000)]
    tensors = tuple(Tensor(value) for value in values)
    exact = sum(float((value.astype(np.float64) ** 2).sum()) for value in values)
    found = []
    for threads in (1, 2):
        native.set_threads(threads)
        found.append(ops.square_sum(tensors).asnumpy().copy())
    native.set_threads(1)
    assert (found[0] == found[1]).all()
    np.testing.assert_allclose(found[0], exact, rtol=1e-7)
    with ops.plain_formulations():
        np.testing.assert_allclose(ops.square_sum(tensors).asnumpy(), exact, rtol=1e-5)
    bad = (*tensors, Tensor(np.array([np.nan], np.float32)))
    assert np.isnan(ops.square_sum(bad).asnumpy()).all()


@pytest.mark.parametrize("jit", [False, True])
def test_the_sum_of_squares_takes_unequal_dtypes_and_at_least_one_tensor(jit):
    def total(*tensors):
        return ops.square_sum(tensors)

    def none():
        return ops.square_sum(())

    if jit:
        total, none = ms.jit(total), ms.jit(none)
    for first, second in ((np.float32, np.float16), (np.float16, np.float32), (np.float32,) * 2):
        found = total(Tensor(np.full(3, 2, first)), Tensor(np.full(2, 3, second)))
        np.testing.assert_array_equal(found.asnumpy(), [30])
    with pytest.raises(RuleError, match="square_sum: tensors is empty; it has to have at least"):
        none()


@pytest.mark.parametrize(
    ("shapes", "decays", "message"),
    [
        (((), (), (), ()), 0, "parameters is empty; it has to have at least one"),
        ((((3,),), ((3,),), ((3,),), ((4,),)), 1, r"gradients\[0\] has shape \(4,\); the rule"),
        ((((2, 3),), ((2, 3),), ((3, 2),), ((2, 3),)), 1, r"second\[0\] has shape \(3, 2\)"),
        ((((3,),), ((3,),), ((3,),), ((3,), (3,))), 1, "gradients has 2 tensors; parameters has 1"),
        ((((3,),), ((3,),), ((3,),), ((3,),)), 2, "decays has 2 values; the parameters are 1"),
    ],
)
def test_an_update_of_tensors_that_do_not_fit_is_named(shapes, decays, message):
    given = [
        tuple(ms.Parameter(Tensor(np.ones(shape, np.float32)), f"{role}") for shape in each)
        for role, each in enumerate(shapes)
    ]
    scalars = [Tensor(1.0, ms.float32)] * 4
    with pytest.raises(RuleError, match=f"adamw_all: {message}"):
        ops.adamw_all(*given, *scalars, 0.9, 0.99, 1e-6, (0.0,) * decays)

"""Every declared operator: kernel against plain formulation in float64, gradients, both modes."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mindspore import Tensor, nn
from mindspore import ops as ms_ops
from tests.support.operator_calls import calls

from scimind.ops import OPERATORS, chosen

few = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PURE = [name for name, entry in OPERATORS.items() if entry.kernels and not entry.in_place]
SMOOTH = [name for name in PURE if OPERATORS[name].kernels[0].backward is not None]


class _Call(nn.Cell):
    """A call of an operator whose float tensors are the inputs.

    ``places`` says for each argument which input it is, or -1 for a constant.
    """

    def __init__(self, function, arguments, places):
        super().__init__()
        self.function, self.arguments, self.places = function, tuple(arguments), tuple(places)

    def construct(self, *inputs):
        arguments = ()
        for index in range(len(self.places)):
            if self.places[index] >= 0:
                arguments = (*arguments, inputs[self.places[index]])
            else:
                arguments = (*arguments, self.arguments[index])
        out = self.function(*arguments)
        return out if isinstance(out, tuple) else (out,)


class _Slopes(nn.Cell):
    """Gradients of a call with ``count`` inputs, which are followed by the cotangents."""

    def __init__(self, call, count):
        super().__init__()
        self.call, self.count = call, count
        self.gradient = ms_ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, *given):
        return self.gradient(self.call)(*given[: self.count], given[self.count :])


def arrays_of(outs):
    outs = outs if isinstance(outs, tuple) else (outs,)  # a graph unwraps a tuple of one
    return [out.asnumpy().copy() for out in outs]


def tensor_of(value, dtype):
    if value is None:
        return None
    return Tensor(value.astype(dtype) if value.dtype == np.float64 else value)


def prepare(function, entry, call, values, dtype):
    """The call as a cell, and its float inputs."""
    tensors = [tensor_of(value, dtype) for value in values]
    places, inputs = [], []
    for tensor, rule in zip(tensors, entry.rule.tensors, strict=True):
        varies = rule.family == "float" and tensor is not None
        places.append(len(inputs) if varies else -1)
        inputs += [tensor] if varies else []
    places += [-1] * len(call.options)
    return _Call(function, [*tensors, *call.options], places), tuple(inputs)


def close(got, expected, tolerance):
    assert got.shape == expected.shape
    if got.dtype != np.float32:
        assert (got == expected).all()
        return
    size = np.abs(expected).max(initial=0.0) + 1e-2  # where the exact result is 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("name", PURE)
@few
@given(data=st.data())
def test_kernel_is_the_plain_formulation_in_float64(name, data):
    entry = OPERATORS[name]
    call = data.draw(calls(entry))
    values = call.arrays(entry)
    results = []
    for function, dtype in ((entry.call, np.float32), (entry.plain, np.float64)):
        run, inputs = prepare(function, entry, call, values, dtype)
        results.append(arrays_of(run(*inputs)))
    assert any(line.startswith(f"{name} ") for line in chosen())
    for got, expected, rule in zip(*results, entry.rule.results, strict=True):
        assert got.dtype == (np.float32 if rule.family == "float" else got.dtype)
        close(got, expected, 2e-5)


@pytest.mark.parametrize("name", SMOOTH)
@few
@given(data=st.data())
def test_gradients_are_those_of_the_plain_formulation_and_of_differences(name, data):
    entry = OPERATORS[name]
    call = data.draw(calls(entry))
    values = call.arrays(entry)
    rng = np.random.default_rng(call.seed + 1)
    results = []
    for function, dtype in ((entry.call, np.float32), (entry.plain, np.float64)):
        run, inputs = prepare(function, entry, call, values, dtype)
        outs = run(*inputs)
        if not results:
            cotangents = [rng.standard_normal(out.shape).astype(np.float32) for out in outs]
        sens = tuple(Tensor(value.astype(dtype)) for value in cotangents)
        results.append(arrays_of(_Slopes(run, len(inputs))(*inputs, *sens)))
    for got, expected in zip(*results, strict=True):
        close(got, expected, 1e-4)
    exact = [tensor.asnumpy().copy() for tensor in inputs]
    given = [
        rule.name
        for rule, value in zip(entry.rule.tensors, values, strict=True)
        if rule.family == "float" and value is not None
    ]
    smooth = entry.kernels[0].backward.partition("->")[2].split()
    for index, slope in enumerate(results[1]):
        if f"d{given[index]}" not in smooth:
            assert (slope == 0).all(), f"{given[index]} is a constant"
            continue
        direction = rng.standard_normal(slope.shape)
        sums = []
        for sign in (1.0, -1.0):
            moved = [Tensor(value) for value in exact]
            moved[index] = Tensor(exact[index] + sign * 1e-5 * direction)
            outs = arrays_of(run(*moved))
            sums.append(sum((o * c).sum() for o, c in zip(outs, cotangents, strict=True)))
        finite = (sums[0] - sums[1]) / 2e-5
        scale = np.linalg.norm(slope * direction) + 1e-2
        assert abs((slope * direction).sum() - finite) < 1e-5 * scale, given[index]


@pytest.mark.parametrize("name", PURE)
def test_compiled_call_has_the_bits_of_the_eager_one(name):
    entry = OPERATORS[name]
    call = _fixed_call(entry)
    values = call.arrays(entry)
    run, inputs = prepare(entry.call, entry, call, values, np.float32)
    smooth = entry.kernels[0].backward is not None
    eager = arrays_of(run(*inputs))
    sens = tuple(Tensor(np.ones(out.shape, np.float32)) for out in eager)
    slopes = _Slopes(run, len(inputs))
    eager_slopes = arrays_of(slopes(*inputs, *sens)) if smooth else []

    @ms.jit
    def compiled(*inputs):
        return run(*inputs)

    @ms.jit
    def compiled_slopes(*given):
        return slopes(*given)

    for got, expected in zip(arrays_of(compiled(*inputs)), eager, strict=True):
        assert (got == expected).all()
    if smooth:
        again = arrays_of(compiled_slopes(*inputs, *sens))
        for got, expected in zip(again, eager_slopes, strict=True):
            assert (got == expected).all()


def _fixed_call(entry):
    """A call with all optional arguments, always the same."""
    found = []

    @settings(max_examples=20, derandomize=True, database=None, deadline=None)
    @given(call=calls(entry, 2, 5))
    def collect(call):
        found.append(call)

    collect()
    shapes = [[shape for shape in call.shapes if shape is not None] for call in found]
    most = max(range(len(found)), key=lambda i: (len(shapes[i]), sum(map(len, shapes[i]))))
    return found[most]

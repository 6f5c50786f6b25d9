"""How an operator is compared with its float64 NumPy reference, forward and backward."""

import contextlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from mindspore import ops as ms_ops

from scimind import device, ops


@pytest.fixture(scope="session", autouse=True)
def _runtime():
    device.setup("cpu", threads=1)


class _Function(nn.Cell):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def construct(self, *inputs):
        return self.function(*inputs)


class _Gradient(nn.Cell):
    def __init__(self, function):
        super().__init__()
        self.function = _Function(function)
        self.gradient = ms_ops.GradOperation(get_all=True, sens_param=True)

    def construct(self, *inputs):
        return self.gradient(self.function)(*inputs)


def _jitted(cell):
    @ms.jit
    def run(*inputs):
        return cell(*inputs)

    return run


def _compare(
    function, reference, inputs, *, kernels="auto", jit=False, rtol=2e-5, seed=0, directions=3
):
    """Check values, and each gradient along random directions against central differences.

    The reference runs in float64, so its differences (step 1e-5) are good to 1e-9; the tolerance is
    float32 rounding, relative to the largest entry.
    """
    rng = np.random.default_rng(seed)
    tensors = [Tensor(value.astype(np.float32)) for value in inputs]
    exact = [value.astype(np.float32).astype(np.float64) for value in inputs]
    forward, gradient = _Function(function), _Gradient(function)
    if jit:
        forward, gradient = _jitted(forward), _jitted(gradient)
    context = ops.plain_formulations() if kernels == "plain" else contextlib.nullcontext()
    with context:
        got = forward(*tensors).asnumpy().copy()
        expected = reference(*exact)
        assert got.shape == expected.shape
        assert got.dtype == np.float32
        size = np.abs(expected).max(initial=0.0) + 1e-3
        np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * size)
        cotangent = rng.standard_normal(expected.shape).astype(np.float32)
        slopes = [slope.asnumpy().copy() for slope in gradient(*tensors, Tensor(cotangent))]
    for index, slope in enumerate(slopes):
        assert slope.shape == exact[index].shape
        for _ in range(directions):
            direction = rng.standard_normal(exact[index].shape)
            step = 1e-5
            values = []
            for sign in (1.0, -1.0):
                moved = list(exact)
                moved[index] = exact[index] + sign * step * direction
                values.append(float((reference(*moved) * cotangent).sum()))
            finite = (values[0] - values[1]) / (2 * step)
            # The sum of n rounding errors grows like the norm of the products that are summed.
            scale = np.linalg.norm(slope.astype(np.float64) * direction) + 1e-2
            assert abs((slope * direction).sum() - finite) < 2e-4 * scale, f"input {index}"


@pytest.fixture
def compare():
    return _compare


@pytest.fixture(params=["plain", "auto"])
def kernels(request):
    """Both the plain formulation and what the registry prefers."""
    return request.param

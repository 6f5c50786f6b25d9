"""Matrix products over an axis of size 0, and calls that are no product."""

import inspect

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.ops.rule import RuleError
from scimind.ops.testing.outcomes import _soil

DTYPES = (np.float16, np.float32, np.float64)
matmul = inspect.unwrap(ops.matmul)  # without the checks of annotations that the tests add


def zeros(*shape, dtype):
    return Tensor(np.zeros(shape, dtype))


def calls(dtype):
    """Sums over nothing: a call without arguments and what it gives."""
    x, weight = zeros(3, 0, dtype=dtype), zeros(4, 0, dtype=dtype)
    bias = Tensor(np.arange(4).astype(dtype))
    rows = np.tile(np.arange(4), (3, 1))
    value = Tensor(np.ones((1, 2, 3, 5), dtype))
    return {
        "linear": (
            lambda: ops.linear(x, weight),
            0 * rows,
        ),
        "bias": (
            lambda: ops.linear(x, weight, bias),
            rows,
        ),
        "batch": (
            lambda: ops.linear(zeros(1, 3, 0, dtype=dtype), weight, bias),
            rows[None],
        ),
        "relu": (
            lambda: ops.linear(x, weight, bias, "relu"),
            rows,
        ),
        "matmul": (
            lambda: ops.matmul(zeros(2, 3, 0, dtype=dtype), zeros(2, 0, 4, dtype=dtype)),
            np.zeros((2, 3, 4)),
        ),
        "repeated": (
            lambda: ops.matmul(zeros(2, 3, 0, dtype=dtype), zeros(0, 4, dtype=dtype)),
            np.zeros((2, 3, 4)),
        ),
        "triangle": (
            lambda: ops.triangle_multiply(
                zeros(1, 2, 0, 4, dtype=dtype), zeros(1, 3, 0, 4, dtype=dtype)
            ),
            np.zeros((1, 2, 3, 4)),
        ),
        "incoming": (
            lambda: ops.triangle_multiply(
                zeros(1, 0, 2, 4, dtype=dtype), zeros(1, 0, 3, 4, dtype=dtype), True
            ),
            np.zeros((1, 2, 3, 4)),
        ),
        "attention": (
            lambda: ops.attention(
                zeros(1, 2, 2, 0, dtype=dtype), zeros(1, 2, 3, 0, dtype=dtype), value
            ),
            np.ones((1, 2, 2, 5)),
        ),
        "no key": (
            lambda: ops.attention(
                zeros(1, 2, 2, 3, dtype=dtype),
                zeros(1, 2, 0, 3, dtype=dtype),
                zeros(1, 2, 0, 5, dtype=dtype),
            ),
            np.zeros((1, 2, 2, 5)),
        ),
    }


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", calls(np.float32))
def test_a_sum_over_nothing_is_zero(name, dtype, plain):
    call, expected = calls(dtype)[name]
    for value in (1.5, -1.5):
        _soil(value)
        if plain:
            with ops.plain_formulations():
                found = call().asnumpy()
        else:
            found = call().asnumpy()
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_slope_that_is_a_sum_over_nothing_is_zero(dtype, jit):
    def total(weight, bias):
        return ops.linear(zeros(0, 3, dtype=dtype), weight, bias).sum()

    def products(right):
        return ops.matmul(zeros(2, 0, 3, dtype=dtype), right).sum()

    def slopes(weight, bias, right):
        return (*ms.grad(total, (0, 1))(weight, bias), ms.grad(products)(right))

    run = ms.jit(slopes) if jit else slopes
    given = [Tensor(np.ones(shape, dtype)) for shape in ((4, 3), (4,), (2, 3, 4))]
    for value in (1.5, -1.5):
        _soil(value)
        with ops.plain_formulations():
            found = run(*given)
        for slope, tensor in zip(found, given, strict=True):
            np.testing.assert_array_equal(slope.asnumpy(), np.zeros(tensor.shape))


@pytest.mark.parametrize(
    ("left", "right"), [((5, 2, 3), (4, 4)), ((5, 2, 3), (6, 3, 4)), ((3,), (2, 3, 4))]
)
def test_shapes_that_have_no_product_are_named(left, right):
    given = [Tensor(np.ones(shape, np.float32)) for shape in (left, right)]
    with pytest.raises(RuleError, match=r"matmul: left has shape .* the rule is"):
        matmul(*given)
    with pytest.raises(RuleError, match="matmul: right is None"):
        matmul(given[0], None)

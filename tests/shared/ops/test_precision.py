"""What ``precision=fp16`` changes: products are rounded to half precision, nothing else is."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import device, ops


@pytest.fixture
def half():
    device.setup("cpu", "fp16", threads=1)
    yield
    device.setup("cpu", threads=1)


def tensor(values):
    return Tensor(np.asarray(values, np.float32))


def test_a_product_is_rounded_to_half_precision_and_returned_in_single(half):
    # 1 + 2**-12 lies between two neighbours of half precision and becomes 1
    x = tensor([[1 + 2**-12]])
    y = ops.linear(x, tensor([[1.0]]))
    assert y.dtype == ms.float32
    assert y.asnumpy() == 1.0
    assert ops.chosen()["linear float16"] == "plain"


def test_a_product_of_activations_is_rounded_too_and_its_slopes_are_single(half):
    left, right = tensor([[[1 + 2**-12, 0.5]]]), tensor([[[1.0], [2.0]]])
    product = ops.matmul(left, right)
    assert product.dtype == ms.float32
    assert product.asnumpy() == 2.0
    slopes = ms.grad(lambda a, b: ops.matmul(a, b).sum(), (0, 1))(left, right)
    assert all(slope.dtype == ms.float32 for slope in slopes)
    np.testing.assert_allclose(slopes[0].asnumpy(), [[[1.0, 2.0]]])


def test_single_precision_rounds_nothing():
    assert ops.linear(tensor([[1 + 2**-12]]), tensor([[1.0]])).asnumpy() == 1 + 2**-12
    product = ops.matmul(tensor([[1 + 2**-12]]), tensor([[1.0]]))
    assert product.asnumpy() == np.float32(1 + 2**-12)


def test_a_mask_written_as_a_huge_bias_stays_finite(half):
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 2, 5, 8)).astype(np.float32) for _ in range(3))
    bias = np.zeros((1, 1, 1, 5), np.float32)
    bias[..., 3:] = -1e9

    def attend(q, k, v, bias):
        return ops.attention(q, k, v, bias=bias)

    out = attend(*map(tensor, (q, k, v, bias)))
    logits = q @ k.swapaxes(-1, -2) / np.sqrt(8) + bias
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True) @ v
    assert out.dtype == ms.float32
    # half precision keeps 11 bits
    np.testing.assert_allclose(out.asnumpy(), expected, atol=5e-3)
    blind = attend(tensor(q), tensor(k), tensor(v), tensor(np.full_like(bias, -1e9)))
    assert np.isfinite(blind.asnumpy()).all()
    slopes = ms.grad(attend, (0, 1, 2, 3))(*map(tensor, (q, k, v, bias)))
    assert all(np.isfinite(slope.asnumpy()).all() for slope in slopes)


def test_gradients_of_single_precision_parameters_are_single(half):
    x, weight = tensor([[0.5, -1.5]]), tensor([[2.0, 1.0]])
    slope = ms.grad(lambda w: ops.linear(x, w).sum())(weight)
    assert slope.dtype == ms.float32
    np.testing.assert_allclose(slope.asnumpy(), x.asnumpy())


def test_a_caller_that_chose_its_dtype_keeps_it(half):
    x = Tensor(np.ones((1, 2)), ms.float64)
    assert ops.linear(x, Tensor(np.ones((3, 2)), ms.float64)).dtype == ms.float64

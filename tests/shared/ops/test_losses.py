"""Losses and the AdamW update against NumPy."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def log_softmax(x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_counts_only_labelled_elements(compare, smoothing):
    labels = np.array([[1, -100, 3], [0, 4, -100]])
    mask = np.array([[1.0, 1.0, 0.5], [0.0, 2.0, 1.0]])
    index, weight = Tensor(labels, ms.int32), Tensor(mask.astype(np.float32))

    def reference(logits):
        target = np.eye(5)[np.maximum(labels, 0)] * (1 - smoothing) + smoothing / 5
        loss = -(target * log_softmax(logits)).sum(-1)
        counted = mask * (labels != -100)
        return np.asarray((loss * counted).sum() / counted.sum())

    compare(
        lambda x: ops.cross_entropy(x, index, weight, label_smoothing=smoothing),
        reference,
        [normal(2, 3, 5)],
    )


def test_cross_entropy_without_any_label_is_zero_and_large_logits_do_not_overflow():
    logits = Tensor(np.array([[1e4, -1e4, 0.0]], np.float32))
    assert ops.cross_entropy(logits, Tensor([-100], ms.int32)).asnumpy() == 0
    assert ops.cross_entropy(logits, Tensor([1], ms.int32)).asnumpy() == pytest.approx(2e4)


def test_reductions_of_cross_entropy_agree():
    logits, labels = Tensor(normal(4, 3).astype(np.float32)), Tensor([0, -100, 2, 1], ms.int32)
    each = ops.cross_entropy(logits, labels, reduction="none").asnumpy()
    assert each[1] == 0
    total = ops.cross_entropy(logits, labels, reduction="sum").asnumpy()
    assert total == pytest.approx(each.sum())
    assert ops.cross_entropy(logits, labels).asnumpy() == pytest.approx(each.sum() / 3)


def test_quantile_loss_is_smallest_at_the_quantile():
    target = normal(4001)
    levels = np.array([0.1, 0.5, 0.9])

    def loss(prediction):
        row = np.broadcast_to(prediction, (target.size, 3)).astype(np.float32)
        args = (Tensor(row), Tensor(target.astype(np.float32)), Tensor(levels.astype(np.float32)))
        return float(ops.quantile_loss(*args).asnumpy())

    best = np.quantile(target, levels)
    assert all(loss(best) < loss(best + shift) for shift in (-0.1, 0.1))


def test_regression_losses_have_the_gradients_of_their_formulas(compare):
    target = normal(3, 4, seed=1)
    fixed = Tensor(target.astype(np.float32))
    exact = target.astype(np.float32).astype(np.float64)
    compare(
        lambda p: ops.mse_loss(p, fixed),
        lambda p: np.asarray(((p - exact) ** 2).mean()),
        [normal(3, 4)],
    )

    def huber(p):
        e = abs(p - exact)
        return np.asarray(np.where(e <= 0.7, e * e / 2, 0.7 * (e - 0.35)).mean())

    compare(lambda p: ops.huber_loss(p, fixed, 0.7), huber, [normal(3, 4)])
    levels = np.array([0.2, 0.8])
    tensor_levels = Tensor(levels.astype(np.float32))

    def pinball(p):
        e = exact[..., None] - p
        return np.asarray(np.maximum(levels * e, (levels - 1) * e).mean())

    compare(lambda p: ops.quantile_loss(p, fixed, tensor_levels), pinball, [normal(3, 4, 2)])


def test_binary_cross_entropy_is_stable_and_has_its_gradient(compare):
    label = (normal(3, 4, seed=2) > 0).astype(np.float32)

    def reference(x):
        return np.asarray((np.logaddexp(0, x) - x * label).mean())

    compare(lambda x: ops.bce_with_logits(x, Tensor(label)), reference, [4 * normal(3, 4)])
    extreme = Tensor(np.array([500.0, -500.0], np.float32))
    value = ops.bce_with_logits(extreme, Tensor(np.array([0.0, 1.0], np.float32))).asnumpy()
    assert value == pytest.approx(500.0)


def test_a_masked_nan_counts_nothing():
    prediction = Tensor(np.array([1.0, np.nan], np.float32))
    zero, mask = Tensor(np.zeros(2, np.float32)), Tensor(np.array([1.0, 0.0], np.float32))
    assert ops.mse_loss(prediction, zero, mask).asnumpy() == 1.0

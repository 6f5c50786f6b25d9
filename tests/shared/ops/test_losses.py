"""Losses and the AdamW update against NumPy."""

import contextlib
import inspect
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.ops.rule import RuleError

# As users have it, without the checks of annotations that the tests add.
cross_entropy = inspect.unwrap(ops.cross_entropy)


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


def no_elements(*shape):
    return Tensor(np.zeros(shape, np.float32))


def nothing(name, logits):
    """A loss of no elements."""
    rows = no_elements(*logits.shape[:-1])
    labels = Tensor(np.zeros(logits.shape[:-1], np.int32))
    if name in ("mean", "sum"):
        return ops.cross_entropy(logits, labels, reduction=name)
    if name == "masked":
        return ops.cross_entropy(logits, labels, rows)
    if name == "mse":
        return ops.mse_loss(logits, no_elements(*logits.shape))
    if name == "huber":
        return ops.huber_loss(logits, no_elements(*logits.shape), mask=no_elements(*logits.shape))
    if name == "bce":
        return ops.bce_with_logits(logits, no_elements(*logits.shape))
    return ops.quantile_loss(logits, rows, no_elements(logits.shape[-1]), rows)


LOSSES = ("mean", "sum", "masked", "mse", "huber", "bce", "quantile")


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("shape", [(0, 4), (2, 0, 3)])
def test_a_loss_of_nothing_is_zero_and_so_is_its_gradient(kernels, name, shape, jit):
    def loss(x):
        return nothing(name, x)

    def slope(x):
        return ms.grad(loss)(x)

    run, turn = (ms.jit(loss), ms.jit(slope)) if jit else (loss, slope)
    context = ops.plain_formulations() if kernels == "plain" else contextlib.nullcontext()
    with context:
        for value in (1.5, -1.5):
            soil(value)
            assert run(no_elements(*shape)).asnumpy() == 0
        assert turn(no_elements(*shape)).shape == shape


def test_a_quantile_loss_without_quantiles_is_zero():
    for value in (1.5, -1.5):
        soil(value)
        loss = ops.quantile_loss(no_elements(3, 0), no_elements(3), no_elements(0))
        assert loss.asnumpy() == 0


def soil(value):
    """Fill memory that is handed out next, so that what nobody writes is seen."""
    for elements in (1, 32, 128, 512):
        for filled in [ms.ops.fill(ms.float32, (elements,), value) for _ in range(8)]:
            filled.asnumpy()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("jit", [False, True])
def test_a_label_that_is_no_category_gives_nan(dtype, jit):
    labels = np.array([0, -100, 5, 2**32 + 1, -3, -(2**40)])

    def each(x, y):
        return ops.cross_entropy(x, y, reduction="none", label_smoothing=0.1)

    def total(x, y):
        return each(x, y).sum()

    def slopes(x, y):
        return ms.grad(total)(x, y)

    if jit:
        each, slopes = ms.jit(each), ms.jit(slopes)
    for width in (3, 0):
        logits = Tensor(normal(6, width).astype(dtype))
        loss = each(logits, Tensor(labels)).asnumpy()
        assert loss.dtype == (np.float64 if dtype == np.float64 else np.float32)
        wrong = (labels != -100) & ((labels < 0) | (labels >= width))
        np.testing.assert_array_equal(np.isnan(loss), wrong)
        assert loss[1] == 0
        slope = slopes(logits, Tensor(labels)).asnumpy()
        np.testing.assert_array_equal(np.isnan(slope), wrong[:, None] & np.ones((1, width), bool))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": "mena"}, "reduction is 'mena'; use one of ('mean', 'sum', 'none')"),
        ({"reduction": None}, "reduction is None; use one of"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; it has to be less than 1"),
        ({"label_smoothing": -0.1}, "label_smoothing is -0.1; it has to be at least 0"),
        ({"label_smoothing": None}, "label_smoothing is None; it has to be a finite number"),
        ({"ignore_index": 0.5}, "ignore_index is 0.5; it has to be an int"),
    ],
)
def test_cross_entropy_names_a_wrong_option(options, message, jit):
    def loss(x, y):
        return cross_entropy(x, y, **options)

    run = ms.jit(loss) if jit else loss
    with pytest.raises(RuleError, match=re.escape(f"cross_entropy: {message}")):
        run(Tensor(normal(2, 3).astype(np.float32)), Tensor([0, 1], ms.int32))


def test_cross_entropy_names_labels_that_are_not_whole():
    logits = Tensor(normal(2, 3).astype(np.float32))
    with pytest.raises(RuleError, match="cross_entropy: labels has dtype float32; the rule is int"):
        cross_entropy(logits, Tensor(np.array([0.0, 1.7], np.float32)))
    with pytest.raises(RuleError, match="cross_entropy: logits is None"):
        cross_entropy(None, Tensor([0, 1], ms.int32))


def test_cross_entropy_of_double_precision_stays_in_it():
    logits, labels = normal(4, 3), np.array([0, 2, 1, 1])
    loss = ops.cross_entropy(Tensor(logits), Tensor(labels)).asnumpy()
    expected = -log_softmax(logits)[np.arange(4), labels].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


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

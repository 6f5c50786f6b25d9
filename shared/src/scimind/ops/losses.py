"""Losses; each returns the mean over the counted elements unless told otherwise."""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Int, Tensor


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Float[Tensor, "*shape"] | None = None
) -> Float[Tensor, ""]:
    """Weighted mean of ``values``; 0 where the weights sum to 0."""
    if mask is None:
        return ops.mean(values)
    weight = mask.astype(values.dtype)
    # A masked element may be NaN; multiplying it by 0 would keep it.
    kept = ops.select(weight != 0, values * weight, ops.zeros_like(values))
    return ops.sum(kept) / ops.maximum(ops.sum(weight), 1e-12)


@operator(
    Cpp(
        "kernels/cpu/losses.cc",
        saved={"log_sum": "*batch 1"},
        backward="logits labels log_sum dout -> dlogits",
    ),
    name="cross_entropy",
    below={"labels": "category"},
    sizes=(
        {"batch": (16, 128), "category": 1024},
        {"batch": (4096,), "category": 8192},
        {"batch": (1024,), "category": 50257},
    ),
)
def _cross_entropy(
    logits: Float[Tensor, "*batch category"],
    labels: Int[Tensor, "*batch"],
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "*batch"]:
    """Negative log-likelihood of each label; 0 for ignored ones.

    A label that is neither ignored nor a category gives NaN on the CPU and is undefined elsewhere.
    """
    counted = labels != ignore_index
    known = ops.select(counted, labels, ops.zeros_like(labels))
    shifted = logits - ops.stop_gradient(ops.max(logits, -1, True)[0])
    normaliser = ops.log(ops.sum(ops.exp(shifted), -1))
    picked = ops.gather_elements(shifted, -1, known.expand_dims(-1)).squeeze(-1)
    loss = normaliser - picked
    if label_smoothing > 0.0:
        uniform = normaliser - ops.mean(shifted, -1)
        loss = loss * (1.0 - label_smoothing) + uniform * label_smoothing
    return ops.select(counted, loss, ops.zeros_like(loss))


def cross_entropy(
    logits: Float[Tensor, "*batch category"],
    labels: Int[Tensor, "*batch"],
    mask: Float[Tensor, "*batch"] | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Float[Tensor, "..."]:
    """Negative log-likelihood of ``labels`` under ``softmax(logits)``.

    Args:
        logits: Unnormalised log-probabilities.
        labels: Category numbers, or ``ignore_index`` where there is none.
        mask: Weight of each element.
        ignore_index: Label of elements that count nothing.
        label_smoothing: Weight of the uniform distribution mixed into the labels.
        reduction: ``"mean"`` over the counted elements, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or one value per element, in float32.
    """
    labels = labels.astype(mstype.int32)
    loss = _cross_entropy(logits.astype(mstype.float32), labels, ignore_index, label_smoothing)
    weight = (labels != ignore_index).astype(mstype.float32)
    if mask is not None:
        weight = weight * mask.astype(mstype.float32)
    if reduction == "mean":
        return masked_mean(loss, weight)
    loss = ops.select(weight != 0, loss * weight, ops.zeros_like(loss))
    return ops.sum(loss) if reduction == "sum" else loss


def quantile_loss(
    prediction: Float[Tensor, "*batch quantile"],
    target: Float[Tensor, "*batch"],
    quantiles: Float[Tensor, " quantile"],
    mask: Float[Tensor, "*batch"] | None = None,
) -> Float[Tensor, ""]:
    """Pinball loss ``max(q e, (q - 1) e)`` with ``e = target - prediction``, mean over quantiles.

    Source: Koenker and Bassett, Econometrica 46 (1978).
    """
    error = target.expand_dims(-1) - prediction
    loss = ops.mean(ops.maximum(error * quantiles, error * (quantiles - 1.0)), -1)
    return masked_mean(loss, mask)


def huber_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    delta: float = 1.0,
    mask: Float[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """``e²/2`` up to ``|e| = delta``, then ``delta (|e| - delta/2)``.

    Source: Huber, Annals of Mathematical Statistics 35 (1964).
    """
    size = ops.abs(prediction - target)
    near = ops.minimum(size, delta)
    return masked_mean(near * (size - 0.5 * near), mask)


def mse_loss(
    prediction: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    mask: Float[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error."""
    error = prediction - target
    return masked_mean(error * error, mask)


def bce_with_logits(
    logits: Float[Tensor, "*shape"],
    target: Float[Tensor, "*shape"],
    mask: Float[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """Binary cross-entropy as ``max(x, 0) - x t + log1p(exp(-|x|))``, which does not overflow."""
    loss = ops.relu(logits) - logits * target + ops.log1p(ops.exp(-ops.abs(logits)))
    return masked_mean(loss, mask)

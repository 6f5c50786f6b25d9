"""Losses; each returns the mean over the counted elements, 0 of none, unless told otherwise."""

from __future__ import annotations

import math

from mindspore import dtype as mstype
from mindspore import ops
from mindspore.ops import constexpr

from scimind.ops.operator import Cpp, operator
from scimind.ops.rule import RuleError
from scimind.typing import Float, Int, Tensor


def masked_mean(
    values: Float[Tensor, "*shape"], mask: Float[Tensor, "*shape"] | None = None
) -> Float[Tensor, ""]:
    """Weighted mean of ``values``; 0 where the weights sum to 0, and of no values at all."""
    if 0 in values.shape:
        return ops.zeros((), values.dtype)
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
    at_least={"label_smoothing": 0},
    less_than={"label_smoothing": 1},
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

    A label that is neither ignored nor a category gives NaN.
    """
    counted = labels != ignore_index
    category = ops.logical_and(labels >= 0, labels < logits.shape[-1])
    one = ops.ones(labels.shape, logits.dtype)
    sense = ops.select(ops.logical_or(category, ops.logical_not(counted)), one, one * math.nan)
    if 0 in logits.shape:
        return ops.select(counted, sense, ops.zeros_like(sense))
    known = ops.select(ops.logical_and(counted, category), labels, ops.zeros_like(labels))
    shifted = logits - ops.stop_gradient(ops.max(logits, -1, True)[0])
    normaliser = ops.log(ops.sum(ops.exp(shifted), -1))
    picked = ops.gather_elements(shifted, -1, known.expand_dims(-1)).squeeze(-1)
    loss = normaliser - picked
    if label_smoothing > 0.0:
        uniform = normaliser - ops.mean(shifted, -1)
        loss = loss * (1.0 - label_smoothing) + uniform * label_smoothing
    return ops.select(counted, loss * sense, ops.zeros_like(loss))


@constexpr  # type: ignore[untyped-decorator]
def _known_reduction(reduction: object) -> None:
    if reduction not in ("mean", "sum", "none"):
        raise RuleError(
            f"cross_entropy: reduction is {reduction!r}; use one of ('mean', 'sum', 'none')"
        )


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
        labels: Category numbers, or ``ignore_index`` where there is none; others give NaN.
        mask: Weight of each element.
        ignore_index: Label of elements that count nothing.
        label_smoothing: Weight of the uniform distribution mixed into the labels, below 1.
        reduction: ``"mean"`` over the counted elements, ``"sum"`` or ``"none"``.

    Returns:
        A scalar, or one value per element; in float32 unless the logits are in float64. The mean of
        no elements and their sum are 0.

    Raises:
        RuleError: A shape, dtype or scalar is not as it has to be.
    """
    _known_reduction(reduction)
    if isinstance(logits, Tensor) and logits.dtype in (mstype.float16, mstype.bfloat16):
        logits = logits.astype(mstype.float32)
    loss = _cross_entropy(logits, labels, ignore_index, label_smoothing)
    weight = (labels != ignore_index).astype(loss.dtype)
    if mask is not None:
        weight = weight * mask.astype(loss.dtype)
    if reduction == "mean":
        return masked_mean(loss, weight)
    loss = ops.select(weight != 0, loss * weight, ops.zeros_like(loss))
    if reduction == "none":
        return loss
    return ops.zeros((), loss.dtype) if 0 in loss.shape else ops.sum(loss)


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
    if 0 in error.shape:
        return masked_mean(error)
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

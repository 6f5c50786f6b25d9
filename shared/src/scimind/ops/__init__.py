"""Operators as functions; the implementation is chosen per device and dtype, see `registry`."""

from scimind.ops import kernels, plain, random
from scimind.ops.activations import gelu, silu, softmax, swiglu
from scimind.ops.attention import attention, position_mask
from scimind.ops.linear import embedding, linear, matmul
from scimind.ops.losses import (
    bce_with_logits,
    cross_entropy,
    huber_loss,
    masked_mean,
    mse_loss,
    quantile_loss,
)
from scimind.ops.norms import layer_norm, rms_norm
from scimind.ops.optimizer import adamw
from scimind.ops.random import bernoulli, dropout, fold_in, normal, uniform
from scimind.ops.registry import chosen, plain_formulations, register
from scimind.ops.rotary import rope, rope_angles
from scimind.ops.spread import spread

__all__ = [
    "adamw",
    "attention",
    "bce_with_logits",
    "bernoulli",
    "chosen",
    "cross_entropy",
    "dropout",
    "embedding",
    "fold_in",
    "gelu",
    "huber_loss",
    "kernels",
    "layer_norm",
    "linear",
    "masked_mean",
    "matmul",
    "mse_loss",
    "normal",
    "plain",
    "plain_formulations",
    "position_mask",
    "quantile_loss",
    "random",
    "register",
    "rms_norm",
    "rope",
    "rope_angles",
    "silu",
    "softmax",
    "spread",
    "swiglu",
    "uniform",
]

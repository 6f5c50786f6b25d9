"""Operators as functions; the implementation is chosen per device and dtype, see `registry`."""

from scimind.ops import random
from scimind.ops.activations import gelu, silu, softmax, swiglu
from scimind.ops.attention import attention
from scimind.ops.cached import cached_attention, cached_self_attention
from scimind.ops.fused import fused
from scimind.ops.heads import (
    merge_heads,
    split_heads,
    split_key_value,
    split_query_key_value,
)
from scimind.ops.joined import adamw_all, square_sum
from scimind.ops.linear import embedding, linear, matmul
from scimind.ops.losses import (
    bce_with_logits,
    cross_entropy,
    huber_loss,
    masked_mean,
    mse_loss,
    quantile_loss,
)
from scimind.ops.masks import position_mask
from scimind.ops.mlp import mlp
from scimind.ops.norms import add_layer_norm, add_rms_norm, layer_norm, rms_norm
from scimind.ops.operator import OPERATORS, Cpp, Operator, operator, plain
from scimind.ops.paged import latent_attention, paged_attention
from scimind.ops.random import bernoulli, dropout, fold_in, normal, uniform
from scimind.ops.registry import chosen, plain_formulations, register
from scimind.ops.rotary import rope, rope_angles
from scimind.ops.sparse import compressed_attention, select_blocks, selected_attention
from scimind.ops.spread import spread
from scimind.ops.triangle import gated, triangle_multiply

from scimind.ops.kernels import ascend  # isort: skip - adds to the operators above

__all__ = [
    "OPERATORS",
    "Cpp",
    "Operator",
    "adamw_all",
    "add_layer_norm",
    "add_rms_norm",
    "ascend",
    "attention",
    "bce_with_logits",
    "bernoulli",
    "cached_attention",
    "cached_self_attention",
    "chosen",
    "compressed_attention",
    "cross_entropy",
    "dropout",
    "embedding",
    "fold_in",
    "fused",
    "gated",
    "gelu",
    "huber_loss",
    "latent_attention",
    "layer_norm",
    "linear",
    "masked_mean",
    "matmul",
    "merge_heads",
    "mlp",
    "mse_loss",
    "normal",
    "operator",
    "paged_attention",
    "plain",
    "plain_formulations",
    "position_mask",
    "quantile_loss",
    "random",
    "register",
    "rms_norm",
    "rope",
    "rope_angles",
    "select_blocks",
    "selected_attention",
    "silu",
    "softmax",
    "split_heads",
    "split_key_value",
    "split_query_key_value",
    "spread",
    "square_sum",
    "swiglu",
    "triangle_multiply",
    "uniform",
]

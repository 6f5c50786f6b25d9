"""Formulations in MindSpore operators: run on every device, differentiable any number of times."""

from scimind.ops.plain.activations import gelu, silu, softmax, swiglu
from scimind.ops.plain.attention import attention
from scimind.ops.plain.linear import embedding, linear
from scimind.ops.plain.norms import layer_norm, rms_norm
from scimind.ops.plain.optimizer import adamw
from scimind.ops.plain.rope import rope
from scimind.ops.plain.spread import spread
from scimind.ops.plain.threefry import random_bits

__all__ = [
    "adamw",
    "attention",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "random_bits",
    "rms_norm",
    "rope",
    "silu",
    "softmax",
    "spread",
    "swiglu",
]

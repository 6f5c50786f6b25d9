"""Cells on top of `scimind.ops`; initialisation is explicit and seeded by a NumPy generator."""

from scimind.nn.attention import Attention, KVCache
from scimind.nn.block import AdaLN, TransformerBlock
from scimind.nn.dropout import Dropout
from scimind.nn.linear import Embedding, Linear
from scimind.nn.mlp import MLP, SwiGLU
from scimind.nn.mode import evaluation_mode
from scimind.nn.norms import LayerNorm, RMSNorm
from scimind.nn.parameters import parameter_writer
from scimind.nn.sparse_attention import BlockCompression, NativeSparseAttention

__all__ = [
    "MLP",
    "AdaLN",
    "Attention",
    "BlockCompression",
    "Dropout",
    "Embedding",
    "KVCache",
    "LayerNorm",
    "Linear",
    "NativeSparseAttention",
    "RMSNorm",
    "SwiGLU",
    "TransformerBlock",
    "evaluation_mode",
    "parameter_writer",
]

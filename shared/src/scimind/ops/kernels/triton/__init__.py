"""Operators that MindSpore lacks on Ascend, in Triton: sparse, latent and paged attention.

The functions here check their arguments, allocate results and start the kernels of ``kernels/`` on
the arrays that they are given, see `arrays`. What is known about them: they agree with float64
references in Triton's interpreter, and triton-ascend lowers them to its Linalg dialect without a
device (`lowering`). **None was run on Ascend**: memory limits, speed, and everything after that
dialect are unverified there, see `driver`.

Nothing here needs the rest of scimind, so that ``benchmarks/triton_gpu.py`` can use the folder on
machines without MindSpore.
"""

from scimind.ops.kernels.triton.compression import (
    compress_blocks,
    compressed_attention,
    compressed_attention_grad,
)
from scimind.ops.kernels.triton.decoding import latent_attention, paged_attention
from scimind.ops.kernels.triton.selection import (
    block_scores,
    select_blocks,
    selected_attention,
    selected_attention_grad,
)

__all__ = [
    "block_scores",
    "compress_blocks",
    "compressed_attention",
    "compressed_attention_grad",
    "latent_attention",
    "paged_attention",
    "select_blocks",
    "selected_attention",
    "selected_attention_grad",
]

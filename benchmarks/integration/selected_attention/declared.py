"""Selected attention of native sparse attention, declared."""

from __future__ import annotations

from mindspore import ops
from mindspore.ops import constexpr

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Int, Tensor


@constexpr
def _require_positive(block_size: int) -> bool:
    if block_size < 1:
        raise ValueError(f"demo_selected_attention: block_size is {block_size}; it has to be >= 1")
    return True


@operator(
    Cpp(
        "declared.cc",
        saved={"logsumexp": "batch head query"},
        backward="query key value blocks out logsumexp dout -> dquery dkey dvalue",
        when=lambda call: call["block_size"] >= 1 and call["group"] >= 1,
    ),
    name="demo_selected_attention",
    multiples={"head": "group"},
    below={"blocks": "key//block_size+1"},
)
def selected_attention(
    query: Float[Tensor, "batch head query dim"],
    key: Float[Tensor, "batch group key dim"],
    value: Float[Tensor, "batch group key width"],
    blocks: Int[Tensor, "batch group query count"],
    block_size: int,
    scale: float | None = None,
) -> Float[Tensor, "batch head query width"]:
    """Causal attention of each query to its choice of blocks of keys.

    Block j holds ``block_size`` keys from ``j block_size``; one that is listed twice counts once,
    one that does not exist, such as -1, not at all. The last query is aligned with the last key. A
    query without keys gets zeros. ``scale`` is ``dim ** -0.5`` when None.

    Raises:
        ValueError: ``block_size`` is not positive.

    Source: Yuan et al., arXiv 2502.11089, section 3.3.2.
    """
    _require_positive(block_size)
    batch, heads, queries, dim = query.shape
    groups, keys, width = value.shape[1:]
    position = ops.arange(0, keys)
    own = (ops.arange(0, queries) + (keys - queries)).expand_dims(-1)
    listed = (position // block_size == blocks.expand_dims(-1)).any(axis=3)
    seen = ops.logical_and(listed, position <= own).expand_dims(2)
    rows = query.reshape((batch, groups, -1, queries, dim))
    scale = dim**-0.5 if scale is None else scale
    logits = ops.matmul(rows, key.expand_dims(2).swapaxes(3, 4)) * scale
    logits = ops.where(seen, logits, ops.full_like(logits, -1e30))
    top = ops.stop_gradient(logits.max(axis=-1, keepdims=True))
    weight = ops.exp(logits - top) * seen.astype(query.dtype)
    weight = weight / ops.maximum(weight.sum(axis=-1, keepdims=True), 1e-30)
    return ops.matmul(weight, value.expand_dims(2)).reshape((batch, heads, queries, width))

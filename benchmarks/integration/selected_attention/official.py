"""Selected attention of native sparse attention through MindSpore's own interface."""

from __future__ import annotations

from pathlib import Path

import mindspore as ms
from benchmarks.integration import toolkit
from mindspore import Tensor, ops

LIBRARY = toolkit.build(Path(__file__).with_name("official.cc"))
RULES = {
    "query": (toolkit.FLOAT, "batch head query dim"),
    "key": (toolkit.FLOAT, "batch group key dim"),
    "value": (toolkit.FLOAT, "batch group key width"),
    "blocks": (toolkit.INT, "batch group query count"),
}


def plain(query, key, value, blocks, block_size, scale=None):
    """The same in MindSpore operators, for all devices and dtypes."""
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


def _shapes(query, key, value, *_):
    return [*query[:3], value[3]], query[:3]


def _bprop(query, key, value, blocks, options, out, dout):
    slopes = _backward(query, key, value, blocks, options, out[0], out[1], dout[0])
    return (*slopes, ops.zeros_like(blocks), ops.zeros_like(options))


_backward = toolkit.custom(
    LIBRARY, "selected_attention_grad", lambda *shapes: shapes[:3], (ms.float32,) * 3
)
_forward = toolkit.custom(LIBRARY, "selected_attention", _shapes, (ms.float32,) * 2, _bprop)


@ops.constexpr
def _chooses_kernel(given, block_size):
    sizes = toolkit.bind("selected_attention", RULES, given)
    toolkit.require_multiple("selected_attention", sizes, "head", "group")
    if block_size < 1:
        raise ValueError(f"selected_attention: block_size is {block_size}; it has to be >= 1")
    return toolkit.runs_kernel(LIBRARY, given)


def selected_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    blocks: Tensor,
    block_size: int,
    scale: float | None = None,
) -> Tensor:
    """Causal attention of each query to its choice of blocks of keys.

    Block j holds ``block_size`` keys from ``j block_size``; one that is listed twice counts once,
    one that does not exist, such as -1, not at all. The last query is aligned with the last key. A
    query without keys gets zeros. ``scale`` is ``dim ** -0.5`` when None.

    Raises:
        ValueError: ``block_size`` is not positive.

    Source: Yuan et al., arXiv 2502.11089, section 3.3.2.
    """
    if _chooses_kernel(toolkit.described(query, key, value, blocks), block_size):
        options = toolkit.scalars(block_size, query.shape[-1] ** -0.5 if scale is None else scale)
        return _forward(query, key, value, blocks.astype(ms.int32), options)[0]
    return plain(query, key, value, blocks, block_size, scale)

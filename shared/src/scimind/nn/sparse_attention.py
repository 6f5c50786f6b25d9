"""Native sparse attention: compressed, selected and nearby tokens, mixed by gates."""

from __future__ import annotations

import numpy as np
from mindspore import nn
from mindspore import ops as ms_ops

from scimind import ops
from scimind.nn.initial import parameter
from scimind.nn.linear import Linear
from scimind.ops.sparse import compressed_attention, select_blocks, selected_attention
from scimind.typing import Float, Int, Tensor


class BlockCompression(nn.Cell):
    """One vector for each block of consecutive tokens, by a perceptron over the whole block.

    Block i holds the tokens ``i stride`` to ``i stride + length - 1``; tokens after the last whole
    block are left out. A learned vector per position within the block is added before.

    Args:
        dim: Size of a token and of a block.
        length: Tokens of a block, a multiple of ``stride``.
        stride: Tokens from one block to the next.
        hidden: Size between the two layers.
        rng: Source of the initial weights.

    Source: Yuan et al., arXiv 2502.11089, equation 7.

    Example:
        >>> compress = BlockCompression(64, 32, 16, 256, rng=np.random.default_rng(0))
    """

    def __init__(
        self, dim: int, length: int, stride: int, hidden: int, *, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.dim, self.length, self.stride = dim, length, stride
        self.positions = parameter((length, dim), "positions", "normal", rng)
        self.expand = Linear(length * dim, hidden, activation="gelu", rng=rng)
        self.contract = Linear(hidden, dim, rng=rng)

    def construct(
        self, x: Float[Tensor, "batch group token dim"]
    ) -> Float[Tensor, "batch group block dim"]:
        """Compress; ``token`` is at least ``length``."""
        batch, groups, tokens, _ = x.shape
        count = (tokens - self.length) // self.stride + 1
        strides = count - 1 + self.length // self.stride
        pieces = x[:, :, : strides * self.stride].reshape(
            (batch, groups, strides, self.stride * self.dim)
        )
        shifted: tuple[Tensor, ...] = ()
        for first in range(self.length // self.stride):
            shifted = (*shifted, pieces[:, :, first : first + count])
        blocks = ms_ops.cat(shifted, -1) + self.positions.reshape((1, 1, 1, -1))
        return self.contract(self.expand(blocks))


class NativeSparseAttention(nn.Cell):
    """Causal self-attention whose work per token grows far slower than the sequence.

    Each query attends to all earlier tokens compressed in blocks, to the ``count`` blocks of
    tokens that those compressed ones call most important, and to the last ``window`` tokens; each
    branch has keys and values of its own, and a gate per head weighs its result. With rotary
    positions, a compressed key is rotated to the place of the last token of its block.

    Args:
        dim: Size of input and output.
        heads: Query heads.
        groups: Key and value heads; a divisor of ``heads``, which is the default. The heads of a
            group select the same blocks.
        head_dim: Size of a head, ``dim / heads`` by default.
        length: Tokens of a compressed block.
        stride: Tokens from one compressed block to the next; a divisor of ``length`` and
            ``block_size``.
        block_size: Tokens of a block to select.
        count: Blocks to select, with the three that are always there: the first, the query's own
            and the one before that.
        window: Tokens of the sliding window, with the query's own.
        hidden: Size between the layers of the compression, ``4 head_dim`` by default.
        bias: Whether the projections have biases.
        rope_base: Base of rotary positions, or None for no rotary positions.
        rng: Source of the initial weights.

    Source: Yuan et al., arXiv 2502.11089; the defaults are those of its section 4.1.

    Example:
        >>> attend = NativeSparseAttention(
        ...     256, 8, groups=2, rope_base=1e4, rng=np.random.default_rng(0)
        ... )
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        groups: int | None = None,
        head_dim: int | None = None,
        length: int = 32,
        stride: int = 16,
        block_size: int = 64,
        count: int = 16,
        window: int = 512,
        hidden: int | None = None,
        bias: bool = False,
        rope_base: float | None = None,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        groups = heads if groups is None else groups
        if groups < 1 or heads % groups:
            raise ValueError(f"heads={heads} is not a multiple of groups={groups}")
        if head_dim is None:
            if dim % heads:
                raise ValueError(f"dim={dim} is not a multiple of heads={heads}; pass head_dim")
            head_dim = dim // heads
        if rope_base is not None and head_dim % 2:
            raise ValueError(f"rotary positions need an even head_dim, got {head_dim}")
        if stride < 1 or length < 1 or length % stride or block_size < 1 or block_size % stride:
            raise ValueError(
                f"length={length} and block_size={block_size} have to be multiples of "
                f"stride={stride}"
            )
        if count < 3 or window < 1:
            raise ValueError(f"count={count} has to be at least 3 and window={window} at least 1")
        self.heads, self.groups, self.head_dim = heads, groups, head_dim
        self.length, self.stride, self.block_size = length, stride, block_size
        self.count, self.window, self.rope_base = count, window, rope_base
        hidden = 4 * head_dim if hidden is None else hidden
        self.query = Linear(dim, heads * head_dim, bias=bias, rng=rng)
        self.key_value = Linear(dim, 6 * groups * head_dim, bias=bias, rng=rng)
        self.compress_key = BlockCompression(head_dim, length, stride, hidden, rng=rng)
        self.compress_value = BlockCompression(head_dim, length, stride, hidden, rng=rng)
        self.gate = Linear(dim, 3 * heads, rng=rng)
        self.output = Linear(heads * head_dim, dim, bias=bias, rng=rng, init="residual")

    def construct(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """Attend from each token to itself and earlier ones."""
        batch, tokens, dim = x.shape
        if tokens < self.length:
            # A block that reaches into the added tokens ends after every query: none attends to it.
            padding = ms_ops.zeros((batch, self.length - tokens, dim), x.dtype)
            return self.mixed(ms_ops.cat((x, padding), 1))[:, :tokens]
        return self.mixed(x)

    def mixed(self, x: Float[Tensor, "batch token dim"]) -> Float[Tensor, "batch token dim"]:
        """The three branches for at least ``length`` tokens."""
        batch, tokens, _ = x.shape
        query = ops.split_heads(self.query(x), self.heads, self.head_dim)
        groups, dim = self.groups, self.head_dim
        branches = ms_ops.split(self.key_value(x), 2 * groups * dim, axis=-1)
        keys, values = ops.split_key_value(branches[0], groups, dim)
        keys, values = self.compress_key(keys), self.compress_value(values)
        selected_key, selected_value = ops.split_key_value(branches[1], groups, dim)
        near_key, near_value = ops.split_key_value(branches[2], groups, dim)
        if self.rope_base is not None:
            base, here = self.rope_base, ms_ops.arange(0, tokens)
            ends = ms_ops.arange(0, keys.shape[2]) * self.stride + (self.length - 1)
            query, keys = _rotated(query, here, base), _rotated(keys, ends, base)
            selected_key = _rotated(selected_key, here, base)
            near_key = _rotated(near_key, here, base)
        blocks = select_blocks(
            ms_ops.stop_gradient(query),
            ms_ops.stop_gradient(keys),
            self.length,
            self.stride,
            self.block_size,
            self.count,
        )
        coarse = compressed_attention(query, keys, values, self.length, self.stride)
        fine = selected_attention(query, selected_key, selected_value, blocks, self.block_size)
        near = ops.attention(query, near_key, near_value, None, None, True, self.window)
        gates = ms_ops.sigmoid(self.gate(x)).reshape((batch, tokens, 3, self.heads, 1))
        gates = gates.transpose((2, 0, 3, 1, 4))
        mixed = gates[0] * coarse + gates[1] * fine + gates[2] * near
        return self.output(ops.merge_heads(mixed))


def _rotated(
    x: Float[Tensor, "batch head length dim"], positions: Int[Tensor, " length"], base: float
) -> Float[Tensor, "batch head length dim"]:
    cos, sin = ops.rope_angles(positions.reshape((1, -1)), x.shape[-1], base)
    return ops.rope(x, cos.expand_dims(1), sin.expand_dims(1))

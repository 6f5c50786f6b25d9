"""Multi-head attention with grouped queries, rotary positions and cached keys."""

from __future__ import annotations

from typing import Any

import numpy as np
from mindspore import Parameter, ParameterTuple, nn
from mindspore import ops as ms_ops

from scimind import ops
from scimind.nn.linear import Linear
from scimind.nn.norms import RMSNorm
from scimind.typing import Bool, Float, Int, Tensor

KVCache = tuple[Parameter, ...]
"""Keys and values so far, each (batch, group, capacity, dim), which `Attention.extend` fills."""


class Attention(nn.Cell):
    """Multi-head self- or cross-attention.

    Args:
        dim: Size of input and output.
        heads: Query heads.
        groups: Key and value heads; a divisor of ``heads``, which is the default.
        head_dim: Size of a head, ``dim / heads`` by default.
        bias: Whether the projections have biases.
        causal: Attend only to earlier positions.
        window: Attend only to keys fewer than ``window`` positions away.
        rope_base: Base of rotary positions, or None for no rotary positions.
        normalise_queries: RMS-normalise queries and keys per head (Henry et al., 2010.04245).
        rng: Source of the initial weights.

    Example:
        >>> attend = Attention(256, 8, causal=True, rope_base=1e4, rng=np.random.default_rng(0))
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        groups: int | None = None,
        head_dim: int | None = None,
        bias: bool = False,
        causal: bool = False,
        window: int | None = None,
        rope_base: float | None = None,
        normalise_queries: bool = False,
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
        self.heads, self.groups, self.head_dim = heads, groups, head_dim
        self.causal, self.window, self.rope_base = causal, window, rope_base
        self.query = Linear(dim, heads * head_dim, bias=bias, rng=rng)
        self.key_value = Linear(dim, 2 * groups * head_dim, bias=bias, rng=rng)
        self.output = Linear(heads * head_dim, dim, bias=bias, rng=rng, init="residual")
        self.normalise_queries = normalise_queries
        if normalise_queries:
            self.query_norm = RMSNorm(head_dim)
            self.key_norm = RMSNorm(head_dim)

    def project(
        self,
        x: Float[Tensor, "batch query dim"],
        context: Float[Tensor, "batch key dim"],
        query_positions: Int[Tensor, "batch query"] | None,
        key_positions: Int[Tensor, "batch key"] | None,
        angles: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (batch, head, query, head_dim), keys and values (batch, group, key, head_dim)."""
        length, keys = x.shape[1], context.shape[1]
        query = self.apart(self.query(x))
        key, value = ops.split_key_value(self.key_value(context), self.groups, self.head_dim)
        if self.normalise_queries:
            query, key = self.query_norm(query), self.key_norm(key)
        if self.rope_base is not None and angles is not None:
            cos, sin = angles[0].expand_dims(1), angles[1].expand_dims(1)
            query, key = ops.rope(query, cos, sin), ops.rope(key, cos, sin)
        elif self.rope_base is not None:
            if query_positions is None:
                query_positions = ms_ops.arange(0, length).reshape((1, length))
            if key_positions is None:
                key_positions = ms_ops.arange(0, keys).reshape((1, keys))
            cos, sin = ops.rope_angles(query_positions, self.head_dim, self.rope_base)
            query = ops.rope(query, cos.expand_dims(1), sin.expand_dims(1))
            cos, sin = ops.rope_angles(key_positions, self.head_dim, self.rope_base)
            key = ops.rope(key, cos.expand_dims(1), sin.expand_dims(1))
        return query, key, value

    def construct(
        self,
        x: Float[Tensor, "batch query dim"],
        context: Float[Tensor, "batch key dim"] | None = None,
        mask: Bool[Tensor, "..."] | None = None,
        bias: Float[Tensor, "..."] | None = None,
        positions: Int[Tensor, "batch query"] | None = None,
        key_positions: Int[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Attend from ``x`` to ``context`` (to ``x`` when None); masks as in `ops.attention`."""
        if context is None:
            context = x
            key_positions = positions if key_positions is None else key_positions
        query, key, value = self.project(x, context, positions, key_positions)
        mixed = ops.attention(query, key, value, mask, bias, self.causal, self.window)
        return self.output(self.merge(mixed))

    def apart(self, x: Tensor) -> Tensor:
        """(batch, token, heads * head_dim) to (batch, head, token, head_dim)."""
        if x.shape[1] == 1:  # nothing to move
            return x.reshape((x.shape[0], self.heads, 1, self.head_dim))
        return ops.split_heads(x, self.heads, self.head_dim)

    def merge(self, mixed: Tensor) -> Tensor:
        """(batch, head, query, head_dim) to (batch, query, heads * head_dim)."""
        if mixed.shape[2] == 1:
            return mixed.reshape((mixed.shape[0], 1, self.heads * self.head_dim))
        return ops.merge_heads(mixed)

    def empty_cache(self, batch: int, capacity: int, name: str = "cache") -> KVCache:
        """A cache for ``capacity`` positions.

        Args:
            batch: Sequences.
            capacity: Most positions of a sequence.
            name: Start of the names of its parameters, which have to be unique in a network.
        """
        zeros: Any = np.zeros((batch, self.groups, capacity, self.head_dim), np.float32)
        cache: KVCache = ParameterTuple(
            [
                Parameter(Tensor(zeros), f"{name}.{part}", requires_grad=False)
                for part in ("key", "value")
            ]
        )
        return cache

    def extend(
        self,
        x: Float[Tensor, "batch new dim"],
        cache: KVCache,
        start: Int[Tensor, " batch"],
        angles: tuple[Float[Tensor, "batch new half"], Float[Tensor, "batch new half"]]
        | None = None,
    ) -> Float[Tensor, "batch new dim"]:
        """Attend from new tokens to the cached ones and themselves; causal whatever the setting.

        The keys and values of the new tokens are written into ``cache``. Shapes are static, so one
        compiled graph serves every step; a graph uses a cache that is an attribute of its cell.

        Args:
            x: New tokens, of row b at positions ``start[b]``, ``start[b] + 1``, ….
            cache: From `empty_cache`, changed in place.
            start: Tokens in the cache so far; ``start + new`` must not exceed its capacity.
            angles: Of the new positions, from `ops.rope_angles`: they are those of all layers, and
                where they come from outside, layers can be one operator (`ops.fused`). Computed
                here when None.
        """
        batch, new, _ = x.shape
        positions = None
        if self.rope_base is not None and angles is None:
            positions = start.reshape((batch, 1)) + ms_ops.arange(0, new).reshape((1, new))
        query, key, value = self.project(x, x, positions, positions, angles)
        mixed = ops.cached_attention(query, key, value, cache[0], cache[1], start, self.window)
        return self.output(self.merge(mixed))

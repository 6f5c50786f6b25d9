"""Between the output of a projection and the heads of attention, in one pass over memory."""

from __future__ import annotations

from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.typing import Float, Tensor

_SOURCE = "kernels/cpu/heads.cc"


def _apart(x: Tensor, heads: int, dim: int) -> Tensor:
    return x.reshape((*x.shape[:2], heads, dim)).transpose((0, 2, 1, 3))


@operator(
    Cpp(_SOURCE, backward="dout -> dx"),
    at_least={"heads": 1, "dim": 1},
    derived={"width": "heads*dim"},
    sizes=(
        {"batch": 1, "token": 128, "heads": 8, "dim": 32},
        {"batch": 16, "token": 128, "heads": 8, "dim": 32},
        {"batch": 4, "token": 1024, "heads": 16, "dim": 64},
    ),
)
def split_heads(
    x: Float[Tensor, "batch token width"], heads: int, dim: int
) -> Float[Tensor, "batch heads token dim"]:
    """The heads that lie side by side in each token, one after the other.

    Args:
        x: Queries of all heads, as a projection gives them.
        heads: Number of heads.
        dim: Size of a head.
    """
    return _apart(x, heads, dim)


@operator(
    Cpp(_SOURCE, backward="dout0 dout1 -> dx"),
    at_least={"groups": 1, "dim": 1},
    derived={"width": "2*groups*dim"},
    sizes=(
        {"batch": 1, "token": 128, "groups": 8, "dim": 32},
        {"batch": 16, "token": 128, "groups": 8, "dim": 32},
        {"batch": 4, "token": 1024, "groups": 16, "dim": 64},
    ),
)
def split_key_value(
    x: Float[Tensor, "batch token width"], groups: int, dim: int
) -> tuple[Float[Tensor, "batch groups token dim"], Float[Tensor, "batch groups token dim"]]:
    """Keys and values of `attention` from one projection.

    Args:
        x: Of each token the keys of all groups, then the values.
        groups: Number of key and value heads.
        dim: Size of a head.
    """
    key, value = ops.split(_apart(x, 2 * groups, dim), groups, axis=1)
    return key, value


@operator(
    Cpp(_SOURCE, backward="dout0 dout1 dout2 -> dx"),
    at_least={"heads": 1, "groups": 1, "dim": 1},
    derived={"width": "(heads+2*groups)*dim"},
    sizes=(
        {"batch": 1, "token": 128, "heads": 8, "groups": 8, "dim": 32},
        {"batch": 16, "token": 128, "heads": 8, "groups": 8, "dim": 32},
        {"batch": 4, "token": 1024, "heads": 16, "groups": 4, "dim": 64},
    ),
)
def split_query_key_value(
    x: Float[Tensor, "batch token width"], heads: int, groups: int, dim: int
) -> tuple[
    Float[Tensor, "batch heads token dim"],
    Float[Tensor, "batch groups token dim"],
    Float[Tensor, "batch groups token dim"],
]:
    """Queries, keys and values of `attention` from one projection.

    Args:
        x: Of each token the queries of all heads, then the keys of all groups, then the values.
        heads: Number of query heads.
        groups: Number of key and value heads.
        dim: Size of a head.
    """
    apart = _apart(x, heads + 2 * groups, dim)
    query, key, value = ops.split(apart, [heads, groups, groups], axis=1)
    return query, key, value


@operator(
    Cpp(_SOURCE, backward="x dout -> dx"),
    sizes=(
        {"batch": 1, "head": 8, "token": 128, "dim": 32},
        {"batch": 16, "head": 8, "token": 128, "dim": 32},
        {"batch": 4, "head": 16, "token": 1024, "dim": 64},
    ),
)
def merge_heads(
    x: Float[Tensor, "batch head token dim"],
) -> Float[Tensor, "batch token head*dim"]:
    """The heads side by side in each token, as the output projection takes them."""
    batch, heads, tokens, dim = x.shape
    return x.transpose((0, 2, 1, 3)).reshape((batch, tokens, heads * dim))

"""Heads side by side in each token, and apart."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.ops.rule import RuleError

BATCH, HEADS, GROUPS = 2, 3, 2
sizes = pytest.mark.parametrize(("tokens", "dim"), [(1, 16), (7, 1), (8, 33), (19, 40), (70, 64)])


def joined(tokens, width, seed=0):
    return np.random.default_rng(seed).standard_normal((BATCH, tokens, width)).astype(np.float32)


def apart(x, first, heads, dim):
    """Heads ``first``, … of ``x``, one by one."""
    columns = (slice(h * dim, (h + 1) * dim) for h in range(first, first + heads))
    return np.stack([x[:, :, column] for column in columns], axis=1)


@sizes
def test_each_head_gets_its_columns_of_each_token(tokens, dim):
    x = joined(tokens, (HEADS + 2 * GROUPS) * dim)
    query, key, value = ops.split_query_key_value(Tensor(x), HEADS, GROUPS, dim)
    np.testing.assert_array_equal(query.asnumpy(), apart(x, 0, HEADS, dim))
    np.testing.assert_array_equal(key.asnumpy(), apart(x, HEADS, GROUPS, dim))
    np.testing.assert_array_equal(value.asnumpy(), apart(x, HEADS + GROUPS, GROUPS, dim))
    both = x[:, :, HEADS * dim :]
    for got, expected in zip(
        ops.split_key_value(Tensor(both), GROUPS, dim), (key, value), strict=True
    ):
        np.testing.assert_array_equal(got.asnumpy(), expected.asnumpy())


@sizes
def test_merging_takes_splitting_back_and_its_gradient_is_splitting(tokens, dim):
    x, weight = joined(tokens, HEADS * dim), joined(tokens, HEADS * dim, seed=1)
    heads = ops.split_heads(Tensor(x), HEADS, dim)
    np.testing.assert_array_equal(ops.merge_heads(heads).asnumpy(), x)
    slope = ms.grad(lambda heads: (ops.merge_heads(heads) * Tensor(weight)).sum())(heads)
    np.testing.assert_array_equal(slope.asnumpy(), apart(weight, 0, HEADS, dim))


def test_a_width_that_is_not_that_of_the_heads_is_refused():
    x = Tensor(joined(4, 50))
    rule = r"split_query_key_value: width = 50 from x has to be \(heads\+2\*groups\)\*dim = 56"
    with pytest.raises(RuleError, match=rule):
        ops.split_query_key_value(x, HEADS, GROUPS, 8)

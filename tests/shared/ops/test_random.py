"""The counter generator: published words, distribution, and the same numbers everywhere."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from scipy import stats

from scimind import ops
from scimind.ops import plain
from scimind.ops.threefry import threefry


def key(*words):
    return Tensor(np.array(words, np.uint32).view(np.int32))


# Known answers of Threefry-2x32-20 in the Random123 distribution.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("words", "counter", "expected"), KNOWN)
def test_threefry_gives_the_published_words(words, counter, expected):
    parts = [key(value) for value in (*words, *counter)]
    got = [int(word.asnumpy().view(np.uint32)[0]) for word in threefry(*parts)]
    assert tuple(got) == expected


@pytest.mark.parametrize("count", [1, 2, 7, 40001])
def test_kernel_and_plain_words_are_equal(count):
    for stream in (0, 3):
        got = ops.random.random_bits(key(5, 2**31 + 9), count, stream).asnumpy()
        number = Tensor([stream], ms.int32)
        assert (got == plain("random_bits")(key(5, 2**31 + 9), number, count).asnumpy()).all()


def test_uniform_numbers_are_uniform_and_uncorrelated():
    x = ops.uniform(key(1, 2), (200_000,)).asnumpy().astype(np.float64)
    assert x.min() >= 0.0
    assert x.max() < 1.0
    assert stats.kstest(x, "uniform").pvalue > 1e-3
    for lag in (1, 2, 1000, 100_000):
        assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 4 / np.sqrt(x.size - lag)


def test_each_bit_is_set_half_of_the_time():
    words = ops.random.random_bits(key(3, 4), 100_000, 0).asnumpy().view(np.uint32)
    share = ((words[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
    assert (abs(share - 0.5) < 4.5 * 0.5 / np.sqrt(words.size)).all()


def test_one_changed_key_bit_changes_half_of_the_bits():
    base = ops.random.random_bits(key(8, 8), 1000, 0).asnumpy()
    for bit in range(0, 32, 5):
        other = ops.random.random_bits(key(8 ^ (1 << bit), 8), 1000, 0).asnumpy()
        changed = np.unpackbits((base ^ other).view(np.uint8)).mean()
        assert abs(changed - 0.5) < 0.02


def test_normal_numbers_are_normal():
    x = ops.normal(key(7, 1), (99_999,)).asnumpy()
    assert stats.kstest(x, "norm").pvalue > 1e-3
    assert np.isfinite(x).all()


def test_streams_of_folded_keys_differ_and_a_tensor_folds_like_an_int():
    keys = [ops.fold_in(key(1, 1), n).asnumpy().copy() for n in range(50)]
    assert len({tuple(pair) for pair in keys}) == 50
    again = ops.fold_in(key(1, 1), Tensor(7, ms.int32)).asnumpy()
    assert (again == keys[7]).all()


def test_jit_draws_the_same_numbers_and_depends_on_the_key():
    def draw(key):
        return ops.normal(ops.fold_in(key, 3), (5, 7)), ops.uniform(key, (4,))

    @ms.jit
    def compiled(key):
        return draw(key)

    for words in ((1, 2), (2, 2)):
        eager, graph = draw(key(*words)), compiled(key(*words))
        for a, b in zip(eager, graph, strict=True):
            np.testing.assert_allclose(a.asnumpy(), b.asnumpy(), rtol=1e-6)
    assert (compiled(key(1, 2))[1].asnumpy() != compiled(key(2, 2))[1].asnumpy()).all()


def test_dropout_keeps_the_mean_and_its_gradient_has_the_same_mask():
    x = Tensor(np.ones((300, 300), np.float32))
    out = ops.dropout(x, key(1, 9), 0.25).asnumpy()
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((out == 0).mean() - 0.25) < 0.01
    slope = ms.grad(lambda x: ops.dropout(x, key(1, 9), 0.25).sum())(x).asnumpy()
    assert (slope == out).all()
    assert (ops.dropout(x, key(1, 9), 0.0).asnumpy() == 1).all()

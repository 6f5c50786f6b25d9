"""Native sparse attention as a cell, against the equations of the paper in float64."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.nn.sparse_attention import BlockCompression, NativeSparseAttention

SIZES = {"length": 8, "stride": 4, "block_size": 8, "count": 4, "window": 5}


@pytest.fixture(scope="module", autouse=True)
def _runtime():
    from scimind import device

    device.setup("cpu", threads=1)


def rng(seed=0):
    return np.random.default_rng(seed)


def array(*shape, seed=0):
    return rng(seed).standard_normal(shape).astype(np.float32)


def attention_cell(**settings):
    settings = {"groups": 2, "rope_base": 100.0, **SIZES, **settings}
    cell = NativeSparseAttention(16, 4, rng=rng(), **settings)
    # All parameters away from zero, so that each of them matters.
    for index, parameter in enumerate(cell.trainable_params()):
        noise = 0.3 * array(*parameter.shape, seed=index)
        parameter.set_data(Tensor(parameter.asnumpy() + noise))
    return cell


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def rotated(x, positions):
    """Rotary positions of base 100 for (token, dim)."""
    half = x.shape[-1] // 2
    angle = np.asarray(positions)[:, None] * 100.0 ** (-np.arange(half) / half)
    pair = (x[:, :half] + 1j * x[:, half:]) * np.exp(1j * angle)
    return np.concatenate((pair.real, pair.imag), -1)


def reference(parameters, x):
    """One sequence (token, 16) through a cell of 4 heads of size 4, 2 groups and `SIZES`."""
    w = parameters
    tokens, heads, groups, dim = len(x), 4, 2, 4
    length, stride, block_size, count, window = SIZES.values()
    query = (x @ w["query.weight"].T).reshape(tokens, heads, dim)
    branches = (x @ w["key_value.weight"].T).reshape(tokens, 3, 2, groups, dim)
    gate = 1 / (1 + np.exp(-(x @ w["gate.weight"].T + w["gate.bias"])))
    gate = gate.reshape(tokens, 3, heads)

    def compressed(name, kept):
        starts = range(0, tokens - length + 1, stride)
        blocks = np.array([(kept[i : i + length] + w[f"{name}.positions"]).ravel() for i in starts])
        hidden = gelu(blocks @ w[f"{name}.expand.weight"].T + w[f"{name}.expand.bias"])
        return hidden @ w[f"{name}.contract.weight"].T + w[f"{name}.contract.bias"]

    out = np.zeros((tokens, heads, dim))
    for g in range(groups):
        members = range(g * heads // groups, (g + 1) * heads // groups)
        turned = {h: rotated(query[:, h], range(tokens)) / np.sqrt(dim) for h in members}
        key = compressed("compress_key", branches[:, 0, 0, g])
        ends = [i * stride + length - 1 for i in range(len(key))]
        key, value = rotated(key, ends), compressed("compress_value", branches[:, 0, 1, g])
        fine, near = (rotated(branches[:, i, 0, g], range(tokens)) for i in (1, 2))
        for t in range(tokens):
            own = t // block_size
            importance = np.zeros(own + 1)
            seen = [i for i, end in enumerate(ends) if end <= t]
            for h in members:
                if not seen:
                    continue
                probability = softmax(key[seen] @ turned[h][t])
                out[t, h] += gate[t, 0, h] * (probability @ value[seen])
                for i, p in zip(seen, probability, strict=True):
                    for part in range(length // stride):
                        block = (i + part) * stride // block_size
                        if block <= own:
                            importance[block] += p
            importance[[0, own, max(own - 1, 0)]] = np.inf
            blocks = np.argsort(-importance, kind="stable")[:count]
            chosen = [i for i in range(t + 1) if i // block_size in blocks]
            close = list(range(max(0, t - window + 1), t + 1))
            for h in members:
                weight = softmax(fine[chosen] @ turned[h][t])
                out[t, h] += gate[t, 1, h] * (weight @ branches[chosen, 1, 1, g])
                weight = softmax(near[close] @ turned[h][t])
                out[t, h] += gate[t, 2, h] * (weight @ branches[close, 2, 1, g])
    return out.reshape(tokens, heads * dim) @ w["output.weight"].T


def values_of(cell):
    return {
        parameter.name: parameter.asnumpy().astype(np.float64)
        for parameter in cell.trainable_params()
    }


@pytest.mark.parametrize("plain", [False, True])
def test_the_cell_is_the_three_branches_of_the_paper(plain):
    cell, x = attention_cell(), array(2, 59, 16, seed=7)
    if plain:
        with ops.plain_formulations():
            out = cell(Tensor(x)).asnumpy().copy()
    else:
        out = cell(Tensor(x)).asnumpy().copy()
    weights = values_of(cell)
    expected = np.stack([reference(weights, row.astype(np.float64)) for row in x])
    np.testing.assert_allclose(out, expected, atol=2e-5 * np.abs(expected).max())


def test_gradients_are_those_of_the_paper_s_equations():
    cell, x, cotangent = attention_cell(), array(1, 43, 16, seed=7), array(1, 43, 16, seed=8)

    def weighted(x):
        return (cell(x) * Tensor(cotangent)).sum()

    slope, slopes = ms.grad(weighted, 0, cell.trainable_params())(Tensor(x))
    weights, exact = values_of(cell), x[0].astype(np.float64)
    inputs = {"x": slope.asnumpy()[0]}
    names = [parameter.name for parameter in cell.trainable_params()]
    inputs |= {name: s.asnumpy() for name, s in zip(names, slopes, strict=True)}
    for index, (name, found) in enumerate(inputs.items()):
        direction = rng(index).standard_normal(found.shape)
        sums = []
        for sign in (1e-6, -1e-6):
            moved = {"x": exact, **weights}
            moved[name] = moved[name] + sign * direction
            sums.append((reference(moved, moved["x"]) * cotangent[0]).sum())
        finite = (sums[0] - sums[1]) / 2e-6
        scale = np.linalg.norm(found * direction) + 1e-2
        assert abs((found * direction).sum() - finite) < 2e-4 * scale, name
        assert np.abs(found).max() > 0, name


def test_later_tokens_do_not_change_earlier_outputs():
    cell, x = attention_cell(), array(2, 59, 16)
    out = cell(Tensor(x)).asnumpy().copy()
    for first in (1, 8, 30, 58):
        changed = x.copy()
        changed[:, first:] += 3 * array(2, 59 - first, 16, seed=first)
        moved = cell(Tensor(changed)).asnumpy()
        assert (moved[:, :first] == out[:, :first]).all()
        assert (moved[:, first:] != out[:, first:]).any(-1).all()


@pytest.mark.parametrize("tokens", [1, 3, 8, 11, 40])
def test_a_prefix_has_the_outputs_of_the_whole(tokens):
    cell, x = attention_cell(), array(2, 59, 16)
    whole = cell(Tensor(x)).asnumpy()[:, :tokens].copy()
    out = cell(Tensor(x[:, :tokens].copy())).asnumpy()
    np.testing.assert_allclose(out, whole, atol=2e-6 * np.abs(whole).max())


def test_with_every_block_selected_and_the_gate_on_it_alone_it_is_causal_attention():
    cell = attention_cell(count=8, rope_base=None)
    bias = np.repeat(np.array([-50.0, 50.0, -50.0], np.float32), 4)
    cell.gate.weight.set_data(Tensor(np.zeros((12, 16), np.float32)))
    cell.gate.bias.set_data(Tensor(bias))
    x = Tensor(array(2, 59, 16))
    query = cell.query(x).reshape((2, 59, 4, 4)).transpose((0, 2, 1, 3))
    both = cell.key_value(x).reshape((2, 59, 3, 2, 2, 4)).transpose((2, 3, 0, 4, 1, 5))
    mixed = ops.attention(query, both[1, 0], both[1, 1], causal=True)
    expected = cell.output(mixed.transpose((0, 2, 1, 3)).reshape((2, 59, 16))).asnumpy()
    np.testing.assert_allclose(cell(x).asnumpy(), expected, atol=2e-6 * np.abs(expected).max())


def test_the_compiled_cell_equals_the_eager_one():
    cell, x = attention_cell(), Tensor(array(2, 45, 16))

    @ms.jit
    def compiled(x):
        return cell(x)

    np.testing.assert_allclose(compiled(x).asnumpy(), cell(x).asnumpy(), atol=1e-6)

    def squared(x):
        return (cell(x) ** 2).sum()

    gradient = ms.grad(squared)

    @ms.jit
    def compiled_gradient(x):
        return gradient(x)

    expected = gradient(x).asnumpy()
    found = compiled_gradient(x).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_compression_leaves_out_what_is_no_whole_block():
    compress = BlockCompression(3, 8, 4, 5, rng=rng())
    x = array(2, 1, 23, 3)
    out = compress(Tensor(x)).asnumpy().copy()
    assert out.shape == (2, 1, 4, 3)
    np.testing.assert_allclose(compress(Tensor(x[:, :, :20].copy())).asnumpy(), out, atol=1e-6)
    x[:, :, 4:8] += 1.0
    moved = np.abs(compress(Tensor(x)).asnumpy() - out).max(axis=(0, 1, 3)) > 1e-6
    assert moved.tolist() == [True, True, False, False]


def test_sizes_that_do_not_fit_are_refused():
    for settings in (
        {"groups": 3},
        {"stride": 3},
        {"block_size": 6},
        {"stride": 0},
        {"count": 2},
        {"window": 0},
        {"head_dim": 5},
    ):
        with pytest.raises(ValueError, match=r"multiple|at least|even"):
            attention_cell(**settings)
    with pytest.raises(ValueError, match="pass head_dim"):
        NativeSparseAttention(18, 4, rng=rng())

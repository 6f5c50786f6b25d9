"""The cells: what they compute, how they start, and how they are written to."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from mindspore.nn.utils import no_init_parameters

from scimind import nn as snn
from scimind import ops
from scimind.nn.initial import parameter


@pytest.fixture(scope="module", autouse=True)
def _runtime():
    from scimind import device

    device.setup("cpu", threads=1)


def rng(seed=0):
    return np.random.default_rng(seed)


def tensor(*shape, seed=0):
    return Tensor(rng(seed).standard_normal(shape).astype(np.float32))


def test_the_same_generator_gives_the_same_parameters():
    first, second = (snn.TransformerBlock(16, 2, rng=rng(3)) for _ in range(2))
    for a, b in zip(first.get_parameters(), second.get_parameters(), strict=True):
        assert (a.asnumpy() == b.asnumpy()).all()
    other = snn.TransformerBlock(16, 2, rng=rng(4))
    assert (other.mlp.expand.weight.asnumpy() != first.mlp.expand.weight.asnumpy()).any()


def test_a_linear_layer_keeps_unit_variance():
    layer = snn.Linear(400, 300, rng=rng())
    assert abs(layer(tensor(500, 400)).asnumpy().std() - 1.0) < 0.05
    assert np.abs(layer.weight.asnumpy()).max() <= 2.0 / 0.8796 / np.sqrt(400) * 1.001


def test_a_random_start_needs_a_generator():
    with pytest.raises(ValueError, match="pass rng"):
        snn.Linear(3, 4)
    assert (snn.Linear(3, 4, init="zeros").weight.asnumpy() == 0).all()
    with pytest.raises(ValueError, match="choose one of"):
        snn.Linear(3, 4, init="xavier", rng=rng())
    with pytest.raises(ValueError, match="choose one of"):
        snn.Linear(3, 4, activation="tanh", rng=rng())


def test_large_cells_can_be_built_without_memory():
    with no_init_parameters():
        block = snn.TransformerBlock(8192, 64, rng=rng())
    count = sum(int(np.prod(parameter.shape)) for parameter in block.get_parameters())
    assert count == 12 * 8192**2 + 4 * 8192 + 4 * 8192 + 8192


def test_deferred_parameters_get_the_values_of_the_seed():
    eager = snn.Linear(5, 6, rng=rng(1))
    with no_init_parameters():
        deferred = snn.Linear(5, 6, rng=rng(1))
    deferred.init_parameters_data()
    assert (deferred.weight.asnumpy() == eager.weight.asnumpy()).all()


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize(("groups", "window"), [(4, None), (2, None), (1, 3)])
def test_cached_decoding_equals_one_causal_pass(groups, window, given):
    cell = snn.Attention(
        16, 4, groups=groups, causal=True, window=window, rope_base=100.0, rng=rng()
    )
    x = tensor(2, 7, 16)
    whole = cell(x).asnumpy()
    cache = cell.empty_cache(2, 9)
    parts, start = [], 0
    for length in (3, 1, 1, 2):
        filled = Tensor([start, start], ms.int32)
        positions = filled.reshape((2, 1)) + ms.ops.arange(0, length).reshape((1, length))
        angles = ops.rope_angles(positions, 4, 100.0) if given else None
        out = cell.extend(x[:, start : start + length], cache, filled, angles)
        parts.append(out.asnumpy().copy())
        start += length
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, atol=1e-6)


def test_rotary_attention_depends_on_distances_only():
    cell = snn.Attention(16, 2, rope_base=100.0, rng=rng())
    x = tensor(1, 6, 16)
    here = Tensor(np.arange(6)[None], ms.int32)
    a = cell(x, positions=here).asnumpy()
    b = cell(x, positions=here + 1000).asnumpy()
    np.testing.assert_allclose(a, b, atol=2e-5)
    assert abs(cell(x, positions=here * 2).asnumpy() - a).max() > 1e-4


def test_attention_without_positions_is_equivariant_to_order():
    cell = snn.Attention(16, 2, rng=rng())
    x, order = tensor(1, 6, 16), [3, 0, 5, 1, 4, 2]
    permuted = cell(Tensor(x.asnumpy()[:, order].copy())).asnumpy()
    np.testing.assert_allclose(permuted, cell(x).asnumpy()[:, order], atol=1e-6)


def test_adaptive_norm_starts_as_plain_norm_with_closed_gate():
    cell = snn.AdaLN(8, 5)
    x = tensor(2, 3, 8)
    out, gate = cell(x, tensor(2, 5))
    assert (gate.asnumpy() == 0).all()
    assert (out.asnumpy() == snn.LayerNorm(8, affine=False)(x).asnumpy()).all()


def test_dropout_acts_in_training_only():
    cell = snn.Dropout(0.5)
    x, key = tensor(30, 30), Tensor(np.array([1, 2], np.int32))
    cell.set_train(False)
    assert (cell(x, key).asnumpy() == x.asnumpy()).all()
    cell.set_train(True)
    assert 0.4 < (cell(x, key).asnumpy() == 0).mean() < 0.6
    with pytest.raises(ValueError, match="outside"):
        snn.Dropout(1.0)


@pytest.mark.parametrize("gated", [False, True])
def test_a_compiled_block_equals_the_eager_one(gated):
    block = snn.TransformerBlock(16, 2, gated=gated, causal=True, rng=rng())
    x = tensor(2, 5, 16)

    @ms.jit
    def compiled(x):
        return block(x)

    np.testing.assert_allclose(compiled(x).asnumpy(), block(x).asnumpy(), atol=1e-6)


def test_heads_that_do_not_divide_are_refused():
    for arguments in ({"heads": 3}, {"heads": 4, "groups": 3}, {"heads": 16, "rope_base": 1e4}):
        with pytest.raises(ValueError, match=r"multiple|even"):
            snn.Attention(16, rng=rng(), **arguments)


def test_the_writer_reaches_graphs_that_already_ran():
    class Scale(nn.Cell):
        def __init__(self):
            super().__init__()
            self.scale = parameter((1,), "scale", "ones")

        def construct(self, x):
            return x * self.scale

    cell = Scale()

    @ms.jit
    def read(x):
        return cell(x)

    @ms.jit
    def train(x):
        return ms.ops.assign(cell.scale, cell.scale + x)

    one = Tensor(np.ones(1, np.float32))
    assert read(one).asnumpy()[0] == 1
    train(one).asnumpy()
    assert read(one).asnumpy()[0] == 2
    write = snn.parameter_writer([cell.scale])
    for value in (5.0, 7.0):
        write([np.array([value], np.float32)])
        assert read(one).asnumpy()[0] == value
        assert cell.scale.asnumpy()[0] == value
        train(one).asnumpy()
        assert read(one).asnumpy()[0] == value + 1
    with pytest.raises(ValueError, match="shape"):
        write([np.ones(2, np.float32)])
    with pytest.raises(ValueError, match="2 values for 1"):
        write([np.ones(1, np.float32)] * 2)

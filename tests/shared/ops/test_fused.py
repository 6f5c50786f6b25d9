"""A cell as one operator: the bits of its operators one by one, and what cannot be one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, ParameterTuple, Tensor, nn
from mindspore import ops as ms_ops

from raw_kernels import Kernels
from scimind import ops
from scimind.graphs.key import Unkeyable, graph_key
from scimind.nn import MLP, Attention, LayerNorm, Linear, TransformerBlock
from scimind.ops.kernels import native
from scimind.ops.rule import RuleError
from scimind.ops.tracing import Trace

KERNELS = Path(native.__file__).with_name("cpu") / "fused.cc"
pytestmark = pytest.mark.skipif(
    native.load(KERNELS) is None, reason="the CPU kernels cannot be built"
)


def numbers(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def same_bits(one, other):
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    assert one.asnumpy().tobytes() == other.asnumpy().tobytes()


class Decoder(nn.Cell):
    """Blocks with cached keys and values."""

    def __init__(self, rope_base=None, layers=2, dim=32, heads=4, capacity=16, batch=3):
        super().__init__()
        rng = np.random.default_rng(0)
        self.blocks = nn.CellList(
            [TransformerBlock(dim, heads, rope_base=rope_base, rng=rng) for _ in range(layers)]
        )
        self.caches = [
            block.attention.empty_cache(batch, capacity, f"cache{index}")
            for index, block in enumerate(self.blocks)
        ]
        self.kept = ParameterTuple([each for cache in self.caches for each in cache])
        self.norm = LayerNorm(dim)

    def construct(self, x, start, *angles):
        for index, block in enumerate(self.blocks):
            cache = self.kept[2 * index : 2 * index + 2]
            normal = block.attention_norm(x)
            x = x + block.attention.extend(normal, cache, start, angles if angles else None)
            x = x + block.mlp(block.mlp_norm(x))
        return self.norm(x), x


class Wrapped(nn.Cell):
    """Uses what is fused between other operators, so that one graph has both."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def construct(self, *inputs):
        normal, x = self.function(*[each * 1 for each in inputs])
        return normal + x


@pytest.mark.parametrize("jit", [False, True])
def test_a_block_has_the_bits_of_its_operators(jit):
    block = TransformerBlock(48, 4, gated=True, rng=np.random.default_rng(0)).set_train(False)
    fast = ops.fused(block)
    one, many = (ms.jit(fast), ms.jit(block)) if jit else (fast, block)
    for shape in ((2, 7, 48), (1, 1, 48), (2, 7, 48)):
        same_bits(one(numbers(*shape)), many(numbers(*shape)))
    assert ops.chosen()["fused float32"] == "cpu/kernel"


@pytest.mark.parametrize("rope_base", [None, 1e4])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("jit", [False, True])
def test_generation_changes_the_caches(jit, frozen, rope_base):
    """Token by token, also where weights are frozen: they are copied, the caches are not."""
    slow, other = Decoder(rope_base).set_train(False), Decoder(rope_base).set_train(False)
    fast = ops.fused(other, other.trainable_params() if frozen else ())
    cells = Wrapped(slow), Wrapped(fast)
    assert all(p.name.startswith("function.") for p in cells[0].get_parameters())
    runs = [ms.jit(cell) if jit else cell for cell in cells]
    for step in range(6):
        x, start = numbers(3, 1, 32, seed=step), Tensor(np.array([step, step + 2, step + 9]))
        angles = () if rope_base is None else ops.rope_angles(start.expand_dims(1), 8, rope_base)
        same_bits(*(run(x, start, *angles) for run in runs))
    for one, two in zip(slow.kept, other.kept, strict=True):
        same_bits(one, two)
        assert abs(one.asnumpy()).max() > 0


def test_parameters_are_used_as_they_are_now_unless_they_are_frozen():
    cell, x = Linear(3, 4, rng=np.random.default_rng(0)).set_train(False), numbers(2, 3)
    live, frozen = ops.fused(cell), ops.fused(cell, cell.trainable_params())
    before = cell(x)
    same_bits(live(x), before)
    same_bits(frozen(x), before)
    cell.weight.set_data(cell.weight * 2)
    same_bits(live(x), cell(x))
    same_bits(frozen(x), before)
    assert [p.name for p in cell.get_parameters()] == ["weight", "bias"]


class Several(nn.Cell):
    """Results that are inputs, parameters, views and one tensor twice."""

    def __init__(self):
        super().__init__()
        self.norm = LayerNorm(4)

    def construct(self, x, index):
        y = self.norm(x)
        wide = y.reshape((-1, 2)).expand_dims(1)
        return x, y, y, wide, self.norm.weight, index, (y + y).reshape(-1)


def test_results_may_be_anything_the_cell_has():
    cell = Several().set_train(False)
    inputs = numbers(3, 4), Tensor(np.array([[1, 2]]), ms.int32)
    expected = cell(*inputs)
    found = ops.fused(cell)(*inputs)
    assert isinstance(found, tuple)
    for one, other in zip(found, expected, strict=True):
        same_bits(one, other)


def test_training_has_the_gradient_of_the_cell():
    cell, x = MLP(6, 12, rng=np.random.default_rng(0)), numbers(5, 6)
    fast = ops.fused(cell)
    weights = ParameterTuple(cell.trainable_params())

    def slopes(function):
        return ms.grad(lambda x: (function(x) ** 2).sum(), 0, weights)(x)

    cell.set_train()
    (one, ones), (other, others) = slopes(fast), slopes(cell)
    for a, b in zip((one, *ones), (other, *others), strict=True):
        same_bits(a, b)
    cell.set_train(False)
    with pytest.raises(RuleError, match=r"MLP has no gradient as one operator; .*set_train"):
        slopes(fast)


class Gelu(nn.Cell):
    """An operator without kernels in half precision."""

    def construct(self, x):
        return ops.gelu(x)


def test_operators_without_kernels_run_one_by_one_and_it_is_said(caplog):
    caplog.set_level("INFO", "scimind.ops")
    fast = ops.fused(Gelu().set_train(False))
    half = numbers(2, 4).astype(ms.float16)
    same_bits(fast(half), ops.gelu(half))
    assert "fused Gelu: its operators run one by one, as a tensor has dtype float16" in caplog.text
    x = numbers(2, 4)
    with ops.plain_formulations():
        same_bits(fast(x), ops.gelu(x))
    assert "one by one, as gelu is plain here" in caplog.text
    assert ops.chosen()["fused float32"] == "plain"
    same_bits(fast(x), ops.gelu(x))
    assert ops.chosen()["fused float32"] == "cpu/kernel"


class Function(nn.Cell):
    """A function as a cell."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def construct(self, *inputs):
        return self.function(*inputs)


OUTSIDE = numbers(4)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: ops.gelu(x) * 2, "__mul__ of a tensor; what is fused may use declared"),
        (lambda x: ops.gelu(x[0]), "__getitem__ of a tensor"),
        (lambda x: ops.gelu(x.transpose()), "transpose of a tensor"),
        (lambda x: x + OUTSIDE, "b of a sum is neither an input, nor a parameter of the cell"),
        (lambda x: ops.layer_norm(x, OUTSIDE), "weight of layer_norm is neither an input"),
        (lambda x: OUTSIDE, "result 0 is neither an input"),
        (lambda x: x + x.reshape((4, 3)), r"a sum of float32 \(3, 4\) and float32 \(4, 3\)"),
        (lambda x: x.reshape((5, 2)), r"reshape of \(3, 4\) to \(5, 2\)"),
        (lambda x: ops.linear(x, x.reshape((2, 6))), "linear: weight has shape"),
        (lambda x: ops.square_sum((x,)), "square_sum is no declared operator"),
        (lambda x: ops.gelu(ms_ops.exp(x)), "x of gelu is neither an input"),
    ],
)
def test_what_cannot_be_one_operator_is_said(function, said):
    fast = ops.fused(Function(function).set_train(False))
    with pytest.raises(RuleError, match=f"fused: Function cannot be one operator: {said}"):
        fast(numbers(3, 4))


def test_frozen_parameters_are_those_of_the_cell_and_stay():
    other = Parameter(numbers(4), name="other")
    with pytest.raises(RuleError, match="frozen has other, which is no parameter of the cell"):
        ops.fused(LayerNorm(4), [other])
    attention = Attention(8, 2, rng=np.random.default_rng(0)).set_train(False)
    cell = Function(lambda x, start: attention.extend(x, cache, start)).set_train(False)
    cache = cell.cache = attention.empty_cache(1, 4)
    cell.attention = attention
    fast = ops.fused(cell, list(cache))
    with pytest.raises(RuleError, match="cached_attention changes a parameter that is frozen"):
        fast(numbers(1, 1, 8), Tensor(np.zeros(1, np.int32)))


def test_an_input_that_is_changed_has_to_own_its_memory():
    """As for the operator alone."""
    cell = Function(lambda x, k, v, start: ops.cached_self_attention(x, k, v, start))
    fast = ops.fused(cell.set_train(False))
    whole = Tensor(np.zeros((2, 1, 2, 4, 8), np.float32))
    x, start = numbers(1, 1, 48), Tensor(np.zeros(1, np.int32))
    with pytest.raises(RuleError, match="an input is a view of another tensor"):
        fast(x, whole[0], whole[1], start)
    caches = whole[0].copy(), whole[1].copy()
    fast(x, *caches, start)
    assert all(abs(cache.asnumpy()).max() > 0 for cache in caches)


class Sums(nn.Cell):
    """A random network of sums and operators; see `Trace` for what shares memory."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed
        self.norm = LayerNorm(5)

    def construct(self, x, y):
        rng = np.random.default_rng(self.seed)
        known = [x, y, self.norm(x)]
        for _ in range(rng.integers(1, 25)):
            a, b = (known[i] for i in rng.integers(len(known), size=2))
            match rng.integers(4):
                case 0:
                    known.append(a + b)
                case 1:
                    known += self.norm.add(a, b)
                case 2:
                    known.append(ops.gelu(a.reshape((5, -1))).reshape(a.shape))
                case _:
                    known.append(ops.swiglu(a, b))
        return tuple(known[i] for i in rng.integers(len(known), size=3))


@pytest.mark.parametrize("seed", range(40))
def test_tensors_share_memory_only_when_one_is_done_with(seed):
    cell = Sums(seed).set_train(False)
    shape = (0, 5) if seed % 8 == 7 else (3 + seed % 3, 5)
    inputs = numbers(*shape), numbers(*shape, seed=1)
    for one, other in zip(ops.fused(cell)(*inputs), cell(*inputs), strict=True):
        same_bits(one, other)


def test_memory_between_is_that_of_the_widest_place():
    """A chain of n sums needs two tensors, whatever n."""
    trace = Trace("library", [((100,), "float32")], [])
    x = trace.inputs[0]
    for _ in range(20):
        x = trace.sum(x, x)
    size, steps = map(int, trace.program([x]).splitlines()[0].split()[:2])
    assert (size, steps) == (2 * 448, 20)  # 400 bytes, on multiples of 64


def test_its_graphs_can_be_kept_unless_weights_are_frozen():
    """A kept graph would have the weights of another run."""
    cell = Decoder().set_train(False)
    inputs = numbers(3, 1, 32), Tensor(np.zeros(3, np.int32))
    whole = Wrapped(ops.fused(cell))
    whole.cell = cell
    before = graph_key(whole, "construct", inputs)
    whole(*inputs)
    assert graph_key(whole, "construct", inputs) == before
    whole.function = ops.fused(cell, cell.trainable_params())
    with pytest.raises(Unkeyable, match=r"fused.frozen.* is not one of the cell's own"):
        graph_key(whole, "construct", inputs)


def test_threads_share_a_program():
    """Each has memory of its own between the kernels; MindSpore itself is not for two threads."""
    library = native.load(KERNELS)
    trace = Trace(str(library), [((50_000,), "float32")], [])
    x = trace.inputs[0]
    for _ in range(6):
        x = trace.sum(x, trace.inputs[0])
    text = np.frombuffer(trace.program([x]).encode(), np.int8)
    kernels = Kernels(library, Path(ms.__file__).parent / "lib" / "libdnnl.so.3")

    def seven_times(value):
        out = np.zeros(50_000, np.float32)
        kernels.call("fused", [text, np.full(50_000, value, np.float32)], [out])
        return out

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(seven_times, range(40)))
    for value, out in enumerate(found):
        np.testing.assert_array_equal(out, np.float32(7 * value))
    with pytest.raises(RuntimeError, match="fused returned 1"):  # more tensors than it has
        kernels.call("fused", [text, *[np.zeros(50_000, np.float32)] * 3], [])

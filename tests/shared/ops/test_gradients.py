"""Each operator against a float64 NumPy reference, forward and backward, on random shapes."""

import mindspore as ms
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import erf

from scimind import ops
from scimind.ops.norms import fused_layer_norm

# Few examples: each new shape builds MindSpore kernels.
few = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
size = st.integers(1, 9)
seed = st.integers(0, 2**31)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


ACTIVATION = {
    None: lambda z: z,
    "gelu": gelu_tanh,
    "silu": lambda z: z * sigmoid(z),
    "relu": lambda z: np.maximum(z, 0),
}


@few
@given(rows=size, width=st.integers(1, 70), seed=seed)
def test_gelu_tanh_is_the_published_formula(compare, kernels, rows, width, seed):
    x = 3 * normal(seed, rows, width)
    compare(lambda x: ops.gelu(x), gelu_tanh, [x], kernels=kernels)


def test_gelu_without_approximation_is_the_normal_distribution(compare, kernels):
    reference = lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2)))  # noqa: E731
    compare(lambda x: ops.gelu(x, "none"), reference, [3 * normal(0, 5, 7)], kernels=kernels)


@few
@given(rows=size, width=st.integers(1, 70), seed=seed)
def test_silu_and_swiglu_gradients(compare, kernels, rows, width, seed):
    gate, up = 3 * normal(seed, 2, rows, width)
    compare(lambda x: ops.silu(x), ACTIVATION["silu"], [gate], kernels=kernels)
    compare(
        lambda g, u: ops.swiglu(g, u),
        lambda g, u: g * sigmoid(g) * u,
        [gate, up],
        kernels=kernels,
    )


@few
@given(rows=size, width=st.integers(1, 70), seed=seed)
def test_softmax_gradient(compare, kernels, rows, width, seed):
    compare(lambda x: ops.softmax(x), softmax, [3 * normal(seed, 2, rows, width)], kernels=kernels)


def test_softmax_over_another_axis(compare, kernels):
    reference = lambda x: np.swapaxes(softmax(np.swapaxes(x, 1, -1)), 1, -1)  # noqa: E731
    compare(lambda x: ops.softmax(x, 1), reference, [normal(1, 3, 5, 4)], kernels=kernels)


def normalised(x, weight, bias):
    """Layer norm with epsilon 0.01."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-2) * weight + bias


@few
@given(rows=size, width=st.integers(2, 70), seed=seed)
def test_layer_norm_gradient(compare, kernels, rows, width, seed):
    x, weight, bias = normal(seed, 2, rows, width), normal(seed + 1, width), normal(seed + 2, width)

    compare(
        lambda x, w, b: ops.layer_norm(x, w, b, 1e-2),
        normalised,
        [x, weight, bias],
        kernels=kernels,
    )
    compare(
        lambda x: ops.layer_norm(x, None, None, 1e-2),
        lambda x: normalised(x, 1.0, 0.0),
        [x],
        kernels=kernels,
    )


@few
@given(rows=size, width=st.integers(2, 70), seed=seed, jit=st.booleans())
def test_layer_norm_of_mindspore_gradient(compare, rows, width, seed, jit):
    x, weight, bias = normal(seed, 2, rows, width), normal(seed + 1, width), normal(seed + 2, width)

    def affine(x, weight, bias):
        return fused_layer_norm(x, weight, bias, 1e-2)

    def bare(x):
        return fused_layer_norm(x, None, None, 1e-2)

    compare(affine, normalised, [x, weight, bias], jit=jit)
    compare(bare, lambda x: normalised(x, 1.0, 0.0), [x + 30.0], jit=jit, rtol=2e-4)


@few
@given(rows=size, width=st.integers(1, 70), seed=seed)
def test_rms_norm_gradient(compare, kernels, rows, width, seed):
    def reference(x, weight):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-2) * weight

    compare(
        lambda x, w: ops.rms_norm(x, w, 1e-2),
        reference,
        [normal(seed, 2, rows, width), normal(seed + 1, width)],
        kernels=kernels,
    )


@pytest.mark.parametrize("activation", ACTIVATION)
@settings(few, max_examples=3)
@given(rows=size, fan_in=st.integers(1, 40), fan_out=st.integers(1, 40), seed=seed)
def test_linear_gradient(compare, kernels, activation, rows, fan_in, fan_out, seed):
    x, weight = normal(seed, 2, rows, fan_in), normal(seed + 1, fan_out, fan_in)
    bias = normal(seed + 2, fan_out)
    act = ACTIVATION[activation]
    compare(
        lambda x, w, b: ops.linear(x, w, b, activation),
        lambda x, w, b: act(x @ w.T + b),
        [x, weight, bias],
        kernels=kernels,
    )
    compare(
        lambda x, w: ops.linear(x, w, None, activation),
        lambda x, w: act(x @ w.T),
        [x, weight],
        kernels=kernels,
    )


def attend(q, k, v, mask=None, bias=0.0):
    share = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, share, 1), np.repeat(v, share, 1)
    logits = np.einsum("bhqd,bhkd->bhqk", q, k) / np.sqrt(q.shape[-1]) + bias
    if mask is None:
        return softmax(logits) @ v
    allowed = np.broadcast_to(mask, logits.shape)
    e = np.exp(logits - logits.max(-1, keepdims=True)) * allowed
    return e / np.maximum(e.sum(-1, keepdims=True), 1e-300) @ v


@few
@given(
    batch=st.integers(1, 3),
    groups=st.integers(1, 2),
    share=st.integers(1, 3),
    queries=size,
    keys=size,
    dim=st.integers(1, 9),
    seed=seed,
)
def test_attention_gradient(compare, kernels, batch, groups, share, queries, keys, dim, seed):
    heads = groups * share
    q = normal(seed, batch, heads, queries, dim)
    k = normal(seed + 1, batch, groups, keys, dim)
    v = normal(seed + 2, batch, groups, keys, dim + 1)
    bias = normal(seed + 3, 1, heads, queries, keys)
    mask = np.random.default_rng(seed).random((batch, 1, queries, keys)) < 0.6
    tensor_mask = ms.Tensor(mask)
    compare(lambda q, k, v: ops.attention(q, k, v), attend, [q, k, v], kernels=kernels)
    compare(
        lambda q, k, v, b: ops.attention(q, k, v, bias=b),
        lambda q, k, v, b: attend(q, k, v, None, b),
        [q, k, v, bias],
        kernels=kernels,
    )
    compare(
        lambda q, k, v: ops.attention(q, k, v, mask=tensor_mask),
        lambda q, k, v: attend(q, k, v, mask),
        [q, k, v],
        kernels=kernels,
    )
    compare(
        lambda q, k, v, b: ops.attention(q, k, v, mask=tensor_mask, bias=b),
        lambda q, k, v, b: attend(q, k, v, mask, b),
        [q, k, v, bias],
        kernels=kernels,
    )


@few
@given(queries=size, extra=st.integers(0, 4), window=st.integers(1, 5), seed=seed)
def test_causal_window_attends_to_the_nearest_earlier_keys(
    compare, kernels, queries, extra, window, seed
):
    keys = queries + extra
    q, k, v = (normal(seed + i, 2, 2, n, 4) for i, n in enumerate((queries, keys, keys)))
    distance = np.arange(queries)[:, None] + extra - np.arange(keys)[None]
    causal, near = distance >= 0, abs(distance) < window
    compare(
        lambda q, k, v: ops.attention(q, k, v, causal=True),
        lambda q, k, v: attend(q, k, v, causal),
        [q, k, v],
        kernels=kernels,
    )
    compare(
        lambda q, k, v: ops.attention(q, k, v, causal=True, window=window),
        lambda q, k, v: attend(q, k, v, causal & near),
        [q, k, v],
        kernels=kernels,
    )
    compare(
        lambda q, k, v: ops.attention(q, k, v, window=window),
        lambda q, k, v: attend(q, k, v, near),
        [q, k, v],
        kernels=kernels,
    )


def test_rope_rotates_each_pair_by_position_times_rate(compare, kernels):
    dim, length = 8, 5
    angle = np.arange(length)[:, None] * 100.0 ** (-2 * np.arange(dim // 2) / dim)
    positions = ms.Tensor(np.arange(length)[None], ms.int32)

    def function(x):
        cos, sin = ops.rope_angles(positions, 8, 100.0)
        return ops.rope(x, cos.expand_dims(1), sin.expand_dims(1))

    def reference(x):
        pair = (x[..., : dim // 2] + 1j * x[..., dim // 2 :]) * np.exp(1j * angle)
        return np.concatenate((pair.real, pair.imag), -1)

    compare(function, reference, [normal(0, 2, 3, length, dim)], kernels=kernels)


def test_embedding_adds_gradients_of_repeated_rows(compare, kernels):
    index = np.array([[1, 3, 1], [0, 1, 3]])
    tensor = ms.Tensor(index, ms.int32)
    compare(
        lambda table: ops.embedding(tensor, table),
        lambda table: table[index],
        [normal(0, 5, 4)],
        kernels=kernels,
    )


@pytest.mark.parametrize("kernels", ["plain", "auto"])
def test_a_compiled_block_has_the_gradients_of_the_reference(compare, kernels):
    def block(x, w, b, g, s, q):
        hidden = ops.linear(ops.layer_norm(x, g, s), w, b, "gelu")
        heads = hidden.reshape((2, 6, 2, 4)).transpose((0, 2, 1, 3))
        return ops.attention(heads, heads, heads, bias=q, causal=True)

    def reference(x, w, b, g, s, q):
        centred = x - x.mean(-1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * g + s
        heads = gelu_tanh(normed @ w.T + b).reshape(2, 6, 2, 4).transpose(0, 2, 1, 3)
        return attend(heads, heads, heads, np.tri(6, dtype=bool), q)

    inputs = [normal(0, 2, 6, 5), normal(1, 8, 5), normal(2, 8), normal(3, 5), normal(4, 5)]
    compare(block, reference, [*inputs, normal(5, 1, 2, 6, 6)], kernels=kernels, jit=True)

"""Triangle updates against sums written as einsums (AlphaFold 3, algorithms 12-15)."""

import numpy as np
import pytest
from mindspore import Tensor

from biomol.model.triangle import TriangleAttention, TriangleMultiplication

pytestmark = pytest.mark.usefixtures("runtime")

TOKENS, DIM, HEADS = 7, 8, 2


def randomised(cell):
    rng = np.random.default_rng(0)
    for parameter in cell.get_parameters():
        values = parameter.asnumpy() + 0.4 * rng.standard_normal(parameter.shape)
        parameter.set_data(Tensor(values.astype(np.float32)))
    return {p.name: p.asnumpy().astype(np.float64) for p in cell.get_parameters()}


def norm(x, parameters, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * parameters[f"{name}.weight"] + parameters[f"{name}.bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    mask = np.ones((2, TOKENS))
    mask[1, 5:] = 0
    return rng.normal(size=(2, TOKENS, TOKENS, DIM)), mask


def run(cell, pair, mask):
    return cell(Tensor(pair.astype(np.float32)), Tensor(mask.astype(np.float32))).asnumpy()


@pytest.mark.parametrize("outgoing", [True, False])
def test_triangle_multiplication(pair, outgoing):
    x, mask = pair
    cell = TriangleMultiplication(DIM, outgoing, np.random.default_rng(0))
    p = randomised(cell)
    z = norm(x, p, "norm")
    both = mask[:, :, None, None] * mask[:, None, :, None]
    a, b, gate_a, gate_b = np.split(z @ p["project.weight"].T, 4, axis=-1)
    a, b = a * sigmoid(gate_a) * both, b * sigmoid(gate_b) * both
    contraction = "bikc,bjkc->bijc" if outgoing else "bkic,bkjc->bijc"
    product = np.einsum(contraction, a, b) / np.sqrt(mask.sum(1))[:, None, None, None]
    expected = norm(product, p, "output_norm") @ p["output.weight"].T
    expected *= sigmoid(z @ p["gate.weight"].T)
    real = both[..., 0] > 0
    # rows of padding are normalised zeros: only real edges count
    np.testing.assert_allclose(run(cell, x, mask)[real], expected[real], atol=2e-4)


@pytest.mark.parametrize("starting", [True, False])
def test_triangle_attention(pair, starting):
    x, mask = pair
    cell = TriangleAttention(DIM, HEADS, starting, np.random.default_rng(0))
    p = randomised(cell)
    z = norm(x, p, "norm")
    q, k, v = (
        part.reshape(*x.shape[:3], HEADS, DIM // HEADS)
        for part in np.split(z @ p["qkv.weight"].T, 3, axis=-1)
    )
    bias = z @ p["bias.weight"].T
    if starting:  # edge (i, j) looks at edges (i, k), biased by (j, k)
        logits = np.einsum("bijhc,bikhc->bijkh", q, k) / np.sqrt(DIM // HEADS) + bias[:, None]
    else:  # edge (i, j) looks at edges (k, j), biased by (k, i)
        logits = np.einsum("bijhc,bkjhc->bijkh", q, k) / np.sqrt(DIM // HEADS)
        logits = logits + bias.swapaxes(1, 2)[:, :, None]
    logits = np.where(mask[:, None, None, :, None] > 0, logits, -np.inf)
    weights = np.exp(logits - logits.max(3, keepdims=True))
    weights /= weights.sum(3, keepdims=True)
    mixed = np.einsum("bijkh,bikhc->bijhc" if starting else "bijkh,bkjhc->bijhc", weights, v)
    expected = mixed.reshape(x.shape) * sigmoid(z @ p["gate.weight"].T) @ p["output.weight"].T
    real = mask[:, :, None] * mask[:, None, :] > 0
    np.testing.assert_allclose(run(cell, x, mask)[real], expected[real], atol=2e-4)

"""The triangle update against its definition, and what follows from it."""

import contextlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from scimind import ops
from scimind.ops.rule import RuleError
from scimind.ops.triangle import gated, triangle_multiply

DEFINITION = {False: "bikc,bjkc->bijc", True: "bkic,bkjc->bijc"}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def call(kernels, function, *arguments):
    tensors = [Tensor(value) if isinstance(value, np.ndarray) else value for value in arguments]
    context = ops.plain_formulations() if kernels == "plain" else contextlib.nullcontext()
    with context:
        return function(*tensors)


def edges(incoming, batch, row, column, inner, channel):
    if incoming:
        shapes = (batch, inner, row, channel), (batch, inner, column, channel)
    else:
        shapes = (batch, row, inner, channel), (batch, column, inner, channel)
    return normal(*shapes[0], seed=1), normal(*shapes[1], seed=2)


def close(got, expected):
    size = np.abs(expected).max(initial=0.0) + 1e-3
    np.testing.assert_allclose(got, expected, rtol=0, atol=3e-6 * size)


# The larger ones are over the sizes of the kernel's tiles (132 columns, depth 64, 16 channels).
SIZES = [(2, 3, 5, 4, 1), (1, 5, 137, 70, 17), (3, 9, 2, 131, 33), (1, 4, 4, 4, 16)]


@pytest.mark.parametrize("incoming", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
def test_update_and_gradient_are_the_sums_over_the_third_corner(kernels, sizes, incoming):
    left, right = edges(incoming, *sizes)
    exact = left.astype(np.float64), right.astype(np.float64)
    rule = DEFINITION[incoming]
    close(
        call(kernels, triangle_multiply, left, right, incoming).asnumpy(), np.einsum(rule, *exact)
    )

    cotangent = normal(*sizes[:3], sizes[4], seed=3)

    def weighted(left, right, cotangent):
        return (triangle_multiply(left, right, incoming) * cotangent).sum()

    slopes = call(kernels, ms.grad(weighted, (0, 1)), left, right, cotangent)
    one, other, out = rule.replace("->", ",").split(",")
    close(slopes[0].asnumpy(), np.einsum(f"{out},{other}->{one}", cotangent, exact[1]))
    close(slopes[1].asnumpy(), np.einsum(f"{out},{one}->{other}", cotangent, exact[0]))


def test_incoming_edges_are_the_outgoing_ones_of_the_reversed_graph(kernels):
    left, right = edges(False, 2, 6, 7, 5, 8)
    outgoing = call(kernels, triangle_multiply, left, right)
    turned = [np.ascontiguousarray(value.swapaxes(1, 2)) for value in (left, right)]
    incoming = call(kernels, triangle_multiply, *turned, True)
    close(incoming.asnumpy(), outgoing.asnumpy())


def test_update_does_not_depend_on_the_numbering_of_residues(kernels):
    left, right = edges(False, 1, 9, 9, 9, 5)
    order = np.random.default_rng(4).permutation(9)

    def renumber(pair):
        return np.ascontiguousarray(pair[:, order][:, :, order])

    plain = call(kernels, triangle_multiply, left, right).asnumpy()
    renumbered = call(kernels, triangle_multiply, renumber(left), renumber(right)).asnumpy()
    close(renumbered, renumber(plain))


@pytest.mark.parametrize("sizes", [(0, 3, 3, 3, 4), (1, 0, 3, 3, 4), (1, 3, 3, 3, 0)])
def test_no_edges_give_an_empty_update(sizes):
    left, right = edges(False, *sizes)
    assert call("auto", triangle_multiply, left, right).shape == (*sizes[:3], sizes[4])


def test_without_a_third_corner_the_update_is_zero():
    left, right = edges(False, 1, 3, 2, 0, 4)
    assert (call("auto", triangle_multiply, left, right).asnumpy() == np.zeros((1, 3, 2, 4))).all()


def test_edges_of_different_triangles_are_refused():
    with pytest.raises(RuleError, match="triangle_outgoing: right has shape"):
        triangle_multiply(Tensor(normal(1, 3, 4, 2)), Tensor(normal(1, 3, 5, 2)))


def test_a_closed_gate_and_a_mask_let_nothing_through(kernels):
    x, gate = normal(4, 3, 20), normal(4, 3, 20, seed=1)
    gate[0] = -200.0
    mask = np.ones((4, 3, 1), bool)
    mask[1] = False
    out = call(kernels, gated, x, gate, mask).asnumpy()
    assert (out[:2] == 0).all()
    close(out[2:], (x / (1 + np.exp(-gate.astype(np.float64))))[2:])

    def total(x, gate, mask):
        return gated(x, gate, mask).sum()

    for slope in call(kernels, ms.grad(total, (0, 1)), x, gate, mask):
        assert (slope.asnumpy()[:2] == 0).all()
        assert (slope.asnumpy()[2:] != 0).all()

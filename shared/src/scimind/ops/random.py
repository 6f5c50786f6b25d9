"""Random numbers as a pure function of a key, equal in pynative mode and in jit.

The generator is Threefry-2x32 with 20 rounds: word i of a stream is a keyed permutation of the
counter i, so there is no state to save and a resumed run draws what the uninterrupted one did.
Keys are int32 tensors of shape (2,); give them to a jitted step as an input.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
"""

from __future__ import annotations

import math

from mindspore import dtype as mstype
from mindspore import ops

from scimind.ops.operator import Cpp, operator
from scimind.ops.threefry import threefry
from scimind.typing import Float, Int, Tensor


@operator(
    Cpp("kernels/cpu/update.cc"),
    name="random_bits",
    at_least={"count": 0},
    sizes=({"count": 1 << 14}, {"count": 1 << 18}, {"count": 1 << 22}),
)
def _random_bits(
    key: Int[Tensor, "2"], stream: Int[Tensor, "1"], count: int
) -> Int[Tensor, " count"]:
    """``count`` words of Threefry-2x32-20: both words of counters (0, stream), (1, stream), …."""
    half = (count + 1) // 2
    index = ops.arange(0, half).astype(mstype.int32)
    first, second = threefry(key[0], key[1], index, ops.zeros_like(index) + stream)
    return ops.cat((first, second))[:count]


def random_bits(key: Int[Tensor, "2"], count: int, stream: int | Tensor) -> Int[Tensor, " count"]:
    """``count`` random words of stream number ``stream`` of ``key``, as int32."""
    # Words, of which kernels take 32 bits.
    stream = (ops.zeros((1,), mstype.int32) + stream).astype(mstype.int32)
    return _random_bits(key.astype(mstype.int32), stream, count)


def fold_in(key: Int[Tensor, "2"], data: int | Tensor) -> Int[Tensor, "2"]:
    """A new key for purpose number ``data`` >= 0 (an int32 scalar when it is a tensor).

    Its streams are independent of those of ``key`` and of other purposes.
    """
    return random_bits(key, 2, data + 1)


def uniform(key: Int[Tensor, "2"], shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """Numbers in [0, 1), multiples of 2^-24, in float32."""
    bits = random_bits(key, math.prod(shape), 0)
    top = ops.bitwise_and(ops.bitwise_right_shift(bits, 8), 0xFFFFFF)
    return (top.astype(mstype.float32) * (2.0**-24)).reshape(shape)


def normal(key: Int[Tensor, "2"], shape: tuple[int, ...]) -> Float[Tensor, "..."]:
    """Standard normal numbers, in float32.

    Source: Box and Muller, Annals of Mathematical Statistics 29 (1958).
    """
    count = math.prod(shape)
    pairs = uniform(key, (2, (count + 1) // 2))
    radius = ops.sqrt(-2.0 * ops.log(pairs[0] + 2.0**-25))
    angle = pairs[1] * (2.0 * math.pi)
    both = ops.cat((radius * ops.cos(angle), radius * ops.sin(angle)))
    return both[:count].reshape(shape)


def bernoulli(key: Int[Tensor, "2"], probability: float, shape: tuple[int, ...]) -> Tensor:
    """True with ``probability``."""
    return uniform(key, shape) < probability


def dropout(
    x: Float[Tensor, "*shape"], key: Int[Tensor, "2"], rate: float
) -> Float[Tensor, "*shape"]:
    """Set elements to zero with probability ``rate`` and divide the others by ``1 - rate``.

    Source: Srivastava et al., JMLR 15 (2014).
    """
    if rate <= 0.0:
        return x
    keep = bernoulli(key, 1.0 - rate, x.shape).astype(x.dtype)
    return x * (keep * (1.0 / (1.0 - rate)))

"""The softmax of rows that are seen piece by piece, as in FlashAttention (arXiv 2205.14135)."""
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def absorb(scores, value, largest, total, out):
    """Add a tile: its scores [row key], -inf where hidden, and its values [key width].

    ``largest`` and ``total`` [row] are the maximum so far and the sum of exponentials below it,
    ``out`` [row width] the sum of values with these weights.
    """
    larger = tl.maximum(largest, tl.max(scores, 1))
    shift = tl.where(larger == float("-inf"), 0.0, larger)
    weight = tl.exp(scores - shift[:, None])
    decay = tl.exp(largest - shift)
    out = out * decay[:, None]
    out = tl.dot(weight.to(value.dtype), value, acc=out, input_precision="ieee")
    return larger, total * decay + tl.sum(weight, 1), out


@triton.jit
@no_type_check
def finish(largest, total, out):
    """The weighted mean [row width] and the logarithm of the sum of exponentials [row].

    A row that has seen nothing is zero, with -inf.
    """
    unseen = total == 0.0
    whole = tl.where(unseen, 1.0, total)
    logsumexp = tl.where(unseen, float("-inf"), largest + tl.log(whole))
    return out / whole[:, None], logsumexp

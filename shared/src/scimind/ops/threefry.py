"""Threefry-2x32-20 in int32 operators.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
"""

from __future__ import annotations

from typing import Any

from mindspore import ops

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def _rotate(x: Any, count: int) -> Any:
    high = ops.bitwise_left_shift(x, count)
    # The shift of a signed word copies the sign; the mask keeps what a logical shift would.
    low = ops.bitwise_and(ops.bitwise_right_shift(x, 32 - count), (1 << count) - 1)
    return ops.bitwise_or(high, low)


def threefry(key0: Any, key1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Encrypt the counters (x0, x1) with the key (key0, key1), all int32."""
    schedule = (key0, key1, ops.bitwise_xor(ops.bitwise_xor(key0, key1), _PARITY))
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for block in range(5):
        for step in range(4):
            x0 = x0 + x1
            x1 = ops.bitwise_xor(_rotate(x1, _ROTATIONS[4 * (block % 2) + step]), x0)
        x0 = x0 + schedule[(block + 1) % 3]
        x1 = x1 + schedule[(block + 2) % 3] + (block + 1)
    return x0, x1

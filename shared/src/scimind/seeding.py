"""Host random streams that are pure functions of a seed and a purpose.

Nothing is saved and nothing can be forgotten: a resumed process draws the numbers that the
uninterrupted one would have drawn, in whatever order the draws are made.
"""

from __future__ import annotations

import hashlib
import operator
from typing import SupportsIndex

import numpy as np


def numpy_generator(seed: SupportsIndex, *path: SupportsIndex | str) -> np.random.Generator:
    """A generator keyed by the seed of the run and a path of purposes.

    The same key gives the same stream in every process and on every machine; different keys give
    independent streams, also where they differ only in how they are split (``"a", "b"`` against
    ``"ab"``) or in type (``1`` against ``"1"``).

    Args:
        seed: Seed of the run, any integer.
        path: Purpose, epoch, step, index … that tell this stream from the others.

    Returns:
        A Philox generator (Salmon et al., SC'11) whose 128-bit key is a hash of the arguments.

    Raises:
        TypeError: The seed is not an integer, or a part of the path neither integer nor text.
    """
    if not _is_integer(seed):
        raise TypeError(f"seed {seed!r} is a {type(seed).__name__}; it must be an integer")
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(seed, path), "little")))


def step_key(seed: SupportsIndex, *path: SupportsIndex | str) -> np.ndarray:
    """The key of `scimind.ops.random` for one step, drawn from the same hash.

    Returns:
        int32 array of shape (2,), an explicit input of the jitted step.
    """
    if not _is_integer(seed):
        raise TypeError(f"seed {seed!r} is a {type(seed).__name__}; it must be an integer")
    return np.frombuffer(_digest(seed, path)[:8], dtype="<i4").astype(np.int32)


def _is_integer(value: object) -> bool:
    return isinstance(value, SupportsIndex) and not isinstance(value, bool | np.ndarray)


def _digest(seed: SupportsIndex, path: tuple[SupportsIndex | str, ...]) -> bytes:
    # Each part carries its type and length, so no two paths share an encoding.
    hasher = hashlib.blake2b(digest_size=16, person=b"scimind.seeding")
    for part in (seed, *path):
        if isinstance(part, str):
            data, kind = part.encode(), b"s"
        elif _is_integer(part):
            data, kind = str(operator.index(part)).encode(), b"i"
        else:
            raise TypeError(
                f"{part!r} in a random path is a {type(part).__name__}; use integers and text"
            )
        hasher.update(kind + len(data).to_bytes(8, "little") + data)
    return hasher.digest()

"""Calls the compiled kernels with NumPy arrays, past MindSpore."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ABSENT = np.zeros(1, np.int8)
"""What an optional argument that is None looks like to a kernel."""


def options(*values: float | None) -> np.ndarray:
    """The scalars of a call, as a kernel gets them."""
    return np.array([np.nan if value is None else float(value) for value in values], np.float64)


class Kernels:
    """The operators of one compiled library.

    Args:
        library: The compiled library.
        onednn: MindSpore's ``libdnnl.so.3``.
        threads: Threads that each kernel may use.
    """

    def __init__(self, library: Path, onednn: Path, threads: int = 1) -> None:
        self.path = str(library)
        self._library = ctypes.CDLL(self.path)
        status = self._library.scimind_start(str(onednn).encode(), threads)
        if status != 0:
            raise RuntimeError(f"scimind_start of {library} returned {status}")

    def call(
        self, symbol: str, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray]
    ) -> None:
        """Run ``symbol``; every array has to be contiguous, outputs are written in place."""
        arrays = [*inputs, *outputs]
        if not all(array.flags.c_contiguous for array in arrays):
            raise ValueError(f"{symbol}: every array has to be contiguous")
        count = len(arrays)
        shapes = [(ctypes.c_int64 * max(array.ndim, 1))(*array.shape) for array in arrays]
        status = getattr(self._library, symbol)(
            count,
            (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays)),
            (ctypes.c_int * count)(*(array.ndim for array in arrays)),
            (ctypes.POINTER(ctypes.c_int64) * count)(
                *(ctypes.cast(shape, ctypes.POINTER(ctypes.c_int64)) for shape in shapes)
            ),
            (ctypes.c_char_p * count)(*(array.dtype.name.encode() for array in arrays)),
            None,
            None,
        )
        if status != 0:
            raise RuntimeError(f"{symbol} returned {status}")

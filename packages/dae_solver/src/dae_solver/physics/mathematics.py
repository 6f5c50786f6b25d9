"""The functions that the equations use, for arrays of NumPy and tensors of MindSpore."""

from __future__ import annotations

from typing import Any

import numpy as np


class NumPyMath:
    """Functions of NumPy arrays."""

    abs = staticmethod(np.abs)
    sin = staticmethod(np.sin)
    cos = staticmethod(np.cos)
    atan2 = staticmethod(np.arctan2)
    exp = staticmethod(np.exp)
    log = staticmethod(np.log)
    sqrt = staticmethod(np.sqrt)
    where = staticmethod(np.where)
    minimum = staticmethod(np.minimum)
    maximum = staticmethod(np.maximum)
    concat = staticmethod(np.concatenate)
    matmul = staticmethod(np.matmul)

    @staticmethod
    def rows(x: Any, index: np.ndarray | slice) -> Any:
        """Some rows of an array, in the order of ``index``."""
        return x[index]

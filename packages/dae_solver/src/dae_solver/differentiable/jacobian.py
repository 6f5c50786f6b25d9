"""Jacobian matrices of a program, for all scenarios at once.

Rows of the result that depend on different variables share one reverse sweep; those of the
machines of one model do, so a grid needs about as many sweeps as one machine has states.

Source: Griewank and Walther, Evaluating Derivatives (2008), 8 (compression by rows).
"""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import ops

from dae_solver.differentiable.pullback import pullback
from dae_solver.differentiable.written import function
from dae_solver.recorded import Program, Recorded, RecordingMath
from scimind.typing import Bool, Int


def colours(pattern: Bool[np.ndarray, "row column"]) -> Int[np.ndarray, " row"]:
    """A number for each row, such that rows with one number have no column in common."""
    found = np.zeros(len(pattern), int)
    used: list[np.ndarray] = []
    for row, columns in enumerate(pattern):
        free = [k for k, taken in enumerate(used) if not (taken & columns).any()]
        if not free:
            free = [len(used)]
            used.append(np.zeros_like(columns))
        used[free[0]] |= columns
        found[row] = free[0]
    return found


class Jacobian:
    """``d result / d variables`` as a function that may be called inside ``ms.jit``.

    Attributes:
        sweeps: Reverse sweeps that are needed.

    Args:
        result: Of the recording.
        inputs: All its inputs.
        variables: Some of the inputs; their rows, one below the other, are the columns.
        dtype: Of the tensors.
    """

    def __init__(
        self, result: Recorded, inputs: list[Recorded], variables: list[Recorded], dtype: Any
    ) -> None:
        rows, columns = len(result), sum(len(each) for each in variables)
        every = Program(result, inputs).pattern
        ends = np.cumsum([len(each) for each in inputs])
        chosen = np.concatenate(
            [
                np.arange(end - len(each), end)
                for each, end in zip(inputs, ends, strict=True)
                if any(each is variable for variable in variables)
            ]
        )
        pattern = every[:, chosen]
        colour = colours(pattern)
        self.sweeps = int(colour.max()) + 1
        seed = result.recording.input("seed", rows)
        swept = RecordingMath.concat(pullback(result, seed, variables))
        self.sweep = function(Program(swept, [*inputs, seed]), dtype)
        seeds = np.zeros((rows, self.sweeps, 1))
        seeds[np.arange(rows), colour] = 1.0
        place = np.arange(columns)[None] * self.sweeps + colour[:, None]
        self.seeds = ms.Tensor(seeds, dtype)
        self.place = ms.Tensor(place.reshape(-1).astype(np.int32))
        self.mask = ms.Tensor(pattern[:, :, None].astype(float), dtype)
        self.shape = (rows, columns)


@ms.jit_class
class Dense:
    """Evaluates a :class:`Jacobian`; apart from it because ``ms.jit`` reads this class."""

    def __init__(self, jacobian: Jacobian) -> None:
        self.sweep, self.sweeps, self.shape = jacobian.sweep, jacobian.sweeps, jacobian.shape
        # The function ops.tile is lost where MindSpore compiles the bprop of a Cell.
        self.tile = ops.Tile()
        self.seeds, self.place, self.mask = jacobian.seeds, jacobian.place, jacobian.mask

    def at(self, x: Any, y: Any, p: Any) -> Any:
        """``[row, column, scenario]``."""
        scenarios = x.shape[1]
        times = (1, self.sweeps)
        seeds = ops.broadcast_to(self.seeds, (self.shape[0], self.sweeps, scenarios))
        seeds = ops.reshape(seeds, (self.shape[0], self.sweeps * scenarios))
        tile = self.tile
        swept = self.sweep(tile(x, times), tile(y, times), tile(p, times), seeds)
        swept = ops.reshape(swept, (self.shape[1] * self.sweeps, scenarios))
        dense = ops.gather(swept, self.place, 0)
        return ops.mul(ops.reshape(dense, (self.shape[0], self.shape[1], scenarios)), self.mask)

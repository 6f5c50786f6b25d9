"""The operations that lead to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dae_solver.recorded.recording import Operation, Recorded
from scimind.typing import Bool


@dataclass(frozen=True, kw_only=True)
class Stages:
    """A program in two parts, so that a loop over one input repeats only what it changes.

    Attributes:
        still: Operations that do not depend on that input.
        given: Those of them that the others need, without constants.
        late: The others, with all constants.
    """

    still: list[Operation]
    given: list[Operation]
    late: list[Operation]


class Program:
    """The operations that lead to a result, in order.

    Attributes:
        recorded: The result as it was recorded.
        inputs: Variables that the function takes, in this order.
        result: What it returns.
        operations: Those that the result needs.
    """

    def __init__(self, result: Recorded, inputs: Sequence[Recorded]) -> None:
        self.recorded, self.inputs = result, [each.operation for each in inputs]
        self.result = result.operation
        needed = _needed(self.result)
        self.operations = [o for o in result.recording.operations if id(o) in needed]

    @cached_property
    def pattern(self) -> Bool[np.ndarray, "result variable"]:
        """Which rows of the result depend on which rows of the inputs, one below the other."""
        total = sum(each.rows for each in self.inputs)
        found: dict[int, np.ndarray] = {}
        begin = 0
        for each in self.inputs:
            found[id(each)] = np.eye(total, dtype=bool)[begin : begin + each.rows]
            begin += each.rows
        for each in self.operations:
            if each.kind != "input":
                found[id(each)] = _depends(each, [found[id(a)] for a in each.arguments], total)
        return found[id(self.result)]

    def stages(self, late: Recorded) -> Stages:
        """What does not depend on the input ``late``, and what does."""
        moving = {id(late.operation)}
        for each in self.operations:
            if any(id(a) in moving for a in each.arguments):
                moving.add(id(each))
        used = {id(a) for each in self.operations if id(each) in moving for a in each.arguments}
        still = [each for each in self.operations if id(each) not in moving]
        return Stages(
            still=still,
            given=[each for each in still if id(each) in used and not each.constant],
            late=[each for each in self.operations if id(each) in moving or each.constant],
        )


def _needed(result: Operation) -> set[int]:
    found: set[int] = set()
    open_ = [result]
    while open_:
        operation = open_.pop()
        if id(operation) not in found:
            found.add(id(operation))
            open_ += operation.arguments
    return found


def _depends(operation: Operation, parts: list[np.ndarray], total: int) -> np.ndarray:
    kind, rows = operation.kind, operation.rows
    if not parts:
        return np.zeros((rows, total), bool)
    if kind == "rows":
        return np.asarray(parts[0][operation.value])
    if kind == "concat":
        return np.concatenate(parts)
    if kind == "matmul":
        return np.asarray((operation.value != 0) @ parts[0])
    return np.asarray(np.logical_or.reduce([np.broadcast_to(p, (rows, total)) for p in parts]))

"""The training flag of a network, for as long as it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mindspore import nn


@contextmanager
def evaluation_mode(cell: nn.Cell) -> Iterator[None]:
    """Evaluation mode inside, the mode from before outside.

    A compiled graph keeps the mode of its first call: make that call inside.

    Args:
        cell: The network.
    """
    before = cell.training
    cell.set_train(False)
    try:
        yield
    finally:
        cell.set_train(before)

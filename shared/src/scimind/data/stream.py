"""The interface between data and training: an endless, resumable stream of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

Batch: TypeAlias = dict[str, np.ndarray] | tuple[np.ndarray, ...]
State: TypeAlias = dict[str, Any]

BatchT_co = TypeVar("BatchT_co", covariant=True)
ItemT_co = TypeVar("ItemT_co", covariant=True)


@runtime_checkable
class Stream(Protocol[BatchT_co]):
    """Batches of static shape, with a position that can be saved and restored.

    ``state()`` is JSON-able and describes the batches *handed out*, however far a prefetching
    implementation has run ahead: after ``restore(state)`` iteration continues with the batch that
    would have come next, equal in every bit.
    """

    def __iter__(self) -> Iterator[BatchT_co]: ...

    def state(self) -> State:
        """The position after the last batch handed out."""
        ...

    def restore(self, state: State) -> None:
        """Continues after the position that ``state`` describes."""
        ...


@runtime_checkable
class MapSource(Protocol[ItemT_co]):
    """Examples by index. A source raises ``InputError`` for an example it cannot read.

    Two optional methods add to it: ``name(index) -> str`` names an example in reports, and
    ``sizes(index) -> Mapping[str, int]`` gives its length along each bucket axis without loading.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> ItemT_co: ...


def item_name(source: object, index: int) -> str:
    """The name of an example for messages: the source's own, or its index."""
    name = getattr(source, "name", None)
    return str(name(index)) if callable(name) else f"example {index}"


@dataclass(frozen=True)
class Shard:
    """The part of every global batch that this process loads.

    The global batch of a step is the concatenation of the ranks' batches in rank order, so it does
    not depend on how many processes share it.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank {self.rank} is outside 0..{self.world - 1}")

    def slice(self, batch_size: int) -> slice:
        """This rank's part of ``world * batch_size`` examples."""
        return slice(self.rank * batch_size, (self.rank + 1) * batch_size)


def batch_arrays(batch: Batch) -> list[np.ndarray]:
    """The arrays of a batch, whether it is a dict or a tuple."""
    return list(batch.values()) if isinstance(batch, dict) else list(batch)

"""Static shapes: the bucket that an example goes into, and padding up to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from scimind.errors import ConfigError, InputError


@dataclass(frozen=True)
class Bucket:
    """One static shape.

    Attributes:
        batch_size: Examples per batch and process.
        sizes: Length of every axis that varies between examples, such as ``{"token": 128}``.
    """

    batch_size: int
    sizes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for axis, size in {"batch": self.batch_size, **self.sizes}.items():
            if size < 1:
                raise ConfigError(f"bucket axis {axis} has size {size}; it must be at least 1")

    def holds(self, sizes: Mapping[str, int]) -> bool:
        """Whether an example of these sizes fits."""
        return all(sizes[axis] <= size for axis, size in self.sizes.items())

    @property
    def volume(self) -> int:
        """Elements per example, the product over the axes."""
        return math.prod(self.sizes.values())


class Buckets:
    """The static shapes of a run, smallest first. All name the same axes.

    Example:
        >>> buckets = Buckets([Bucket(8, {"token": 64}), Bucket(2, {"token": 256})])
        >>> buckets.choose({"token": 65}, name="1abc").batch_size
        2
    """

    def __init__(self, buckets: Iterable[Bucket]) -> None:
        self._buckets = sorted(buckets, key=lambda bucket: bucket.volume)
        if not self._buckets:
            raise ConfigError("no bucket given; a run needs at least one static shape")
        axes = {tuple(sorted(bucket.sizes)) for bucket in self._buckets}
        if len(axes) > 1:
            raise ConfigError(f"buckets name different axes: {sorted(axes)}; they must agree")
        self.axes: tuple[str, ...] = axes.pop()

    def __len__(self) -> int:
        return len(self._buckets)

    def __getitem__(self, index: int) -> Bucket:
        return self._buckets[index]

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._buckets)

    def index(self, sizes: Mapping[str, int], *, name: str = "example", crop: bool = False) -> int:
        """Index of the smallest bucket that holds an example.

        Args:
            sizes: Length of the example along every bucket axis.
            name: The example, for the message.
            crop: The caller crops what is too long: the largest bucket is returned for it.

        Raises:
            InputError: The example is longer than every bucket (rule ``bucket.too_long``), or a
                length is missing (rule ``bucket.sizes``).
        """
        missing = [axis for axis in self.axes if axis not in sizes]
        if missing:
            raise InputError(
                f"{name} gives no size for {', '.join(missing)}; the buckets have the axes "
                f"{', '.join(self.axes)}",
                rule="bucket.sizes",
            )
        for index, bucket in enumerate(self._buckets):
            if bucket.holds(sizes):
                return index
        if crop:
            return len(self._buckets) - 1
        found = ", ".join(f"{sizes[axis]} {axis}s" for axis in self.axes)
        largest = ", ".join(f"{self._buckets[-1].sizes[axis]} {axis}s" for axis in self.axes)
        raise InputError(
            f"{name} has {found}, the largest bucket holds {largest}; add a larger bucket, or give "
            "a crop",
            rule="bucket.too_long",
        )

    def choose(self, sizes: Mapping[str, int], *, name: str = "example") -> Bucket:
        """The smallest bucket that holds an example; raises as :meth:`index` does."""
        return self._buckets[self.index(sizes, name=name)]


@dataclass(frozen=True)
class Field:
    """Shape and filling of one array of a batch.

    Attributes:
        shape: Per axis of one example, an axis name of the bucket or a fixed length.
        dtype: Type in the batch; only safe casts (same kind) are made.
        fill: Value of the padding.
    """

    shape: tuple[int | str, ...]
    dtype: npt.DTypeLike = np.float32
    fill: float | int | bool = 0


class PadCollate:
    """Pads dictionaries of arrays to a bucket and stacks them along a new first axis.

    Example:
        >>> collate = PadCollate({"pos": Field(("token", 3)), "mask": Field(("token",), bool)})
        >>> example = {"pos": np.ones((5, 3), np.float32), "mask": np.ones(5, bool)}
        >>> collate([example], Bucket(1, {"token": 8}))["pos"].shape
        (1, 8, 3)
    """

    def __init__(self, layout: Mapping[str, Field]) -> None:
        self.layout = dict(layout)

    def __call__(
        self, examples: Sequence[Mapping[str, npt.ArrayLike]], bucket: Bucket
    ) -> dict[str, np.ndarray]:
        """The batch of ``len(examples)`` examples.

        Raises:
            InputError: An example lacks an array, or one has the wrong rank, length or type.
        """
        batch = {}
        for name, spec in self.layout.items():
            shape = tuple(bucket.sizes[n] if isinstance(n, str) else n for n in spec.shape)
            batch[name] = np.full((len(examples), *shape), spec.fill, dtype=spec.dtype)
        for row, example in enumerate(examples):
            self._check_names(example)
            for name, spec in self.layout.items():
                _place(batch[name], row, np.asarray(example[name]), name, spec)
        return batch

    def _check_names(self, example: Mapping[str, npt.ArrayLike]) -> None:
        missing = sorted(self.layout.keys() - example.keys())
        extra = sorted(example.keys() - self.layout.keys())
        if missing or extra:
            raise InputError(
                f"an example lacks {missing or 'nothing'} and has {extra or 'nothing'} too much; "
                f"the layout names {sorted(self.layout)}",
                rule="collate.fields",
            )


def _place(batch: np.ndarray, row: int, value: np.ndarray, name: str, spec: Field) -> None:
    limits = batch.shape[1:]
    fits = value.ndim == len(limits) and all(
        size <= limit if isinstance(axis, str) else size == limit
        for size, limit, axis in zip(value.shape, limits, spec.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"array {name!r} has shape {value.shape}, the layout {spec.shape} allows at most "
            f"{limits}",
            rule="collate.shape",
        )
    if not np.can_cast(value.dtype, batch.dtype, casting="same_kind"):
        raise InputError(
            f"array {name!r} has type {value.dtype}, which does not convert to {batch.dtype} "
            "without loss of meaning; convert it in the source",
            rule="collate.dtype",
        )
    batch[(row, *(slice(size) for size in value.shape))] = value

"""Records to training batches: which part of the records, which tasks, which static shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biomol.data.batch import Batch
from biomol.data.complex import Complex
from biomol.data.crop import contiguous_crop, spatial_crop
from biomol.data.noise import PRESETS, corrupt, stack
from biomol.data.scaling import PropertyScale
from scimind.data import Batches, Bucket, Buckets, FailureLog, Shard
from scimind.errors import ConfigError
from scimind.typing import Int

Crop = Callable[[Complex, int, np.random.Generator], Complex]
CROPS: dict[str, Crop] = {"contiguous": contiguous_crop, "spatial": spatial_crop}

CONDITION_SHARE = 0.3
"""Share of samples in which some known properties are a condition instead of a question."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One stream of the training mixture.

    Attributes:
        name: Name in the log and in ``data.weights``.
        records: All records of the data set.
        members: Indices of those to train on.
        presets: Names of `biomol.data.noise.PRESETS` and their shares; all run the same tracks.
        buckets: Token counts of the static shapes, ascending; longer records are cropped.
        weight: Share of the steps, relative to the other sources.
        crop: ``"contiguous"`` or ``"spatial"``.
        max_batch: Complexes in a batch at most, below the limit of the run; None leaves that.
    """

    name: str
    records: Sequence[Complex]
    members: Sequence[int] | Int[np.ndarray, " member"]
    presets: Mapping[str, float]
    buckets: tuple[int, ...]
    weight: float = 1.0
    crop: str = "contiguous"
    max_batch: int | None = None

    @property
    def tracks(self) -> str:
        """Parts of the network that a batch of this source runs."""
        found = {PRESETS[name][1] for name in self.presets}
        if len(found) != 1:
            raise ConfigError(f"the presets of source {self.name} run different tracks: {found}")
        return found.pop()


class _Members:
    """The training records of a source, with their sizes, for `scimind.data.Batches`."""

    def __init__(self, source: Source) -> None:
        self._records = source.records
        self._members = source.members
        lengths = getattr(source.records, "num_tokens", None)
        self._lengths = None if lengths is None else np.asarray(lengths)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> Complex:
        return self._records[int(self._members[index])]

    def sizes(self, index: int) -> dict[str, int]:
        """Number of tokens, without building the record where that is known."""
        member = int(self._members[index])
        if self._lengths is not None:
            return {"token": int(self._lengths[member])}
        return {"token": self._records[member].num_tokens}


def _with_generator(
    record: Complex, rng: np.random.Generator
) -> tuple[Complex, np.random.Generator]:
    return record, rng


@dataclass(frozen=True)
class _Collate:
    source: Source
    scale: PropertyScale

    def __call__(
        self, items: list[tuple[Complex, np.random.Generator]], bucket: Bucket
    ) -> tuple[Any, ...]:
        size = dict(bucket.sizes)["token"]
        names = list(self.source.presets)
        shares = np.array([self.source.presets[name] for name in names], float)
        rows = []
        for record, rng in items:
            levels_of, tracks = PRESETS[names[rng.choice(len(names), p=shares / shares.sum())]]
            piece = CROPS[self.source.crop](record, size, rng)
            features = self.scale.features(piece, size)
            levels = levels_of(features, rng)
            known = features["prop_mask"] > 0
            asked_elsewhere = tracks != "sequence" or known.sum() > 1
            if asked_elsewhere and known.any() and rng.random() < CONDITION_SHARE:
                give = known & (rng.random(len(known)) < 0.5)
                levels = levels.giving(give)
            rows.append(corrupt(features, levels, rng))
        inputs, targets = stack(rows)
        batch = Batch(
            inputs=inputs, targets=targets, tracks=self.source.tracks, task=self.source.name
        )
        return (batch.tracks, *batch.inputs.arrays(), *batch.targets.arrays())


def batch_size(num_tokens: int, max_batch: int, max_pairs: int) -> int:
    """Complexes of a size in one batch."""
    return max(1, min(max_batch, max_pairs // num_tokens**2))


def stream(
    source: Source,
    scale: PropertyScale,
    *,
    seed: int,
    max_batch: int,
    max_pairs: int,
    shard: Shard,
    failures: FailureLog,
) -> Batches[Any, tuple[Any, ...]]:
    """Endless shuffled batches of a source, a pure function of seed and step.

    Each batch is ``(tracks, *Inputs.arrays(), *Targets.arrays())``: the arguments of
    `biomol.losses.BioMolLoss` after the key.
    """
    if source.max_batch is not None:
        max_batch = min(max_batch, source.max_batch)
    buckets = Buckets(
        [Bucket(batch_size(size, max_batch, max_pairs), {"token": size}) for size in source.buckets]
    )
    return Batches(
        _Members(source),
        _Collate(source, scale),
        buckets=buckets,
        seed=seed,
        shard=shard,
        transform=_with_generator,
        crop=True,
        on_error="record",
        failures=failures,
        name=source.name,
    )

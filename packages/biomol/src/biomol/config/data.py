"""What a model is trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(kw_only=True)
class DataConfig:
    """Training data and how it becomes batches.

    Attributes:
        kind: ``components`` is the Chemical Component Dictionary that comes with biotite;
            ``real`` reads every file of ``root``.
        root: Folder of structures, ligands, sequences and tables; empty takes
            ``$SCIMIND_DATA/biomol``.
        limit: Components drawn from the dictionary; 0 takes all usable ones.
        flip_split: Split of FLIP assays whose folder offers several.
        weights: Share of the steps by source name, relative; sources not named keep their own.
        overfit: Names of chains to be memorised from sequence alone (an experiment, not a task).
        crop: Tokens that polymers are cropped to.
        molecule_tokens: Tokens of the buckets for small molecules.
        max_batch: Complexes in a batch at most.
        max_pairs: Token pairs in a batch at most: bounds memory and time.
        workers: Threads that prepare batches ahead of the step; 0 prepares them in between.
    """

    kind: Literal["components", "real"] = "components"
    root: str = ""
    limit: int = 4000
    flip_split: str = "two_vs_rest"
    weights: dict[str, float] = field(default_factory=dict)
    overfit: list[str] = field(default_factory=list)
    crop: int = 128
    molecule_tokens: list[int] = field(default_factory=lambda: [32, 64])
    max_batch: int = 32
    max_pairs: int = 131_072
    workers: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("crop", "max_batch", "max_pairs"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name}={getattr(self, name)} must be at least 1")
        if self.limit < 0 or self.workers < 0:
            raise ValueError(
                f"data.limit={self.limit} and data.workers={self.workers} must not be negative"
            )
        if not self.molecule_tokens or sorted(self.molecule_tokens) != list(self.molecule_tokens):
            raise ValueError(f"data.molecule_tokens={self.molecule_tokens} must ascend")
        negative = [name for name, weight in self.weights.items() if not weight >= 0]
        if negative:
            raise ValueError(f"data.weights of {negative} must be 0 (off) or positive")

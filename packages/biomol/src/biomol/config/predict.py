"""Configuration of ``python -m biomol.predict``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from scimind.config import RunConfig

PredictionTask = Literal[
    "all", "property", "secondary_structure", "inverse_folding", "fold", "side_chains"
]


@dataclass(kw_only=True)
class PredictConfig(RunConfig):
    """Settings of a batch of predictions.

    Attributes:
        checkpoint: Checkpoint folder, or run folder (its best checkpoint is taken).
        input: A folder, a file (mmCIF, PDB, BinaryCIF, SDF, FASTA, CSV, TSV, Parquet), a SMILES,
            or a list of these.
        task: What to predict; ``all`` does what each input allows.
        properties: Names of the properties to predict; all that the model knows by default.
        temperature: Temperature of designed sequences; 0 takes the most probable residues.
        num_designs: Sequences per backbone.
        design_steps: Rounds of unmasking per sequence.
        num_samples: Structures per input.
        num_steps: Steps of the structure sampler.
        noise: Scale of its initial noise: 1 samples, 0 gives the central answer. By default a fold
            is sampled, and a single answer of side chains is the central one.
        resume: Skip the inputs that are done in the output folder.
    """

    checkpoint: str
    input: str | list[str]
    task: PredictionTask | list[PredictionTask] = "all"
    properties: list[str] = field(default_factory=list)
    temperature: float = 0.1
    num_designs: int = 1
    design_steps: int = 16
    num_samples: int = 1
    num_steps: int = 20
    noise: float | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        for name in ("num_designs", "design_steps", "num_samples", "num_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.noise is not None and self.noise < 0:
            raise ValueError(f"noise={self.noise} must be 0 (the central answer) or positive")
        if self.temperature < 0:
            raise ValueError(f"temperature={self.temperature} must not be negative")

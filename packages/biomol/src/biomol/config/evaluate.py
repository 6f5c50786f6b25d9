"""Configuration of ``python -m biomol.evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, field

from scimind.config import RunConfig


@dataclass(kw_only=True)
class EvaluateDataConfig:
    """Where the benchmark data are.

    Attributes:
        root: Data folder with ``structures`` and ``property``; ``$SCIMIND_DATA`` by default.
        path: File of the tasks ``table`` (CSV, TSV, Parquet) and ``inverse_folding_file``
            (JSON, JSON lines).
        splits: File whose list ``test`` names the scored entries of ``inverse_folding_file``.
        variant: Split of ``flip_gb1``: one_vs_rest, two_vs_rest, three_vs_rest, low_vs_high or
            sampled.
        chains: Chains (file or file:chain) that ``structure`` scores instead of the test split.
    """

    root: str = ""
    path: str = ""
    splits: str = ""
    variant: str = ""
    chains: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class EvaluateConfig(RunConfig):
    """Settings of an evaluation.

    Attributes:
        checkpoint: Checkpoint folder, or run folder (its best checkpoint is taken).
        task: Names of tasks, as ``esol`` or ``[esol,flip_gb1]``; ``all`` takes every task that
            the checkpoint has the outputs for.
        data: Where the benchmark data are.
        num_steps: Steps of the structure sampler; each task's own by default.
        noise: Scale of its initial noise: 1 samples, 0 gives the central answer; each task's own
            by default.
        limit: Score only the first items, for a quick look; 0 scores all.
        resamples: Bootstrap resamples behind the confidence intervals.
    """

    checkpoint: str
    task: str | list[str] = "all"
    data: EvaluateDataConfig = field(default_factory=EvaluateDataConfig)
    num_steps: int | None = None
    noise: float | None = None
    limit: int = 0
    resamples: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if self.resamples < 100:
            raise ValueError(f"resamples={self.resamples} must be at least 100")
        if self.limit < 0:
            raise ValueError(f"limit={self.limit} must be 0 (all items) or positive")
        if self.num_steps is not None and self.num_steps < 1:
            raise ValueError(f"num_steps={self.num_steps} must be at least 1")
        if self.noise is not None and self.noise < 0:
            raise ValueError(f"noise={self.noise} must be 0 (the central answer) or positive")

"""How one run is spread over processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class ParallelConfig:
    """Data parallelism over local processes.

    Attributes:
        workers: Processes that train together, each on its own batch: the global batch is
            ``workers`` times the batch size. 1 trains in this process, without communication.
        fuse_mb: Gradients are joined into buffers of this many MB before they are reduced; large
            saves calls, small saves memory.
        start_s: Longest wait, in seconds, for all workers to join.
    """

    workers: int = 1
    fuse_mb: int = 32
    start_s: float = 120.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.workers < 1:
            raise ValueError(f"parallel.workers={self.workers} must be at least 1 process")
        if self.fuse_mb < 1:
            raise ValueError(f"parallel.fuse_mb={self.fuse_mb} must be at least 1 MB")
        if self.start_s < 1:
            raise ValueError(f"parallel.start_s={self.start_s} must be at least 1 s")

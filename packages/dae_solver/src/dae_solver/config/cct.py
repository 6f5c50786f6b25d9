"""Configuration of ``python -m dae_solver.cct``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dae_solver.config.grid import GridConfig, positive


@dataclass(kw_only=True)
class CctConfig(GridConfig):
    """Settings of a search for critical clearing times.

    Attributes:
        bus: Where the faults are; all buses that no machine is at by default.
        trip: Line that opens when the fault is cleared: one for all faults, or one for each; "each"
            tries every line at the bus that does not leave an island.
        load_level: Multiplies loads and generation.
        shortest: First clearing time that is tried, seconds.
        longest: Last one, seconds.
        tolerance: Distance between a stable and an unstable time at which the search ends, seconds.
        t_end: How long each scenario is watched, seconds.
        step: Step of the integration, seconds.
        solver: That looks first, and narrows down where step searches: "classical" integrates with
            long steps, "hybrid" takes a learned operator.
        operator: Folder or file that python -m dae_solver.train made, for solver=hybrid.
        certify: Angle error of the hybrid solver, degrees.
    """

    bus: int | str | list[int] | list[str] | None = None
    trip: str | list[str] | None = None
    load_level: float = 1.0
    shortest: float = 0.01
    longest: float = 1.0
    tolerance: float = 1e-3
    t_end: float = 5.0
    step: float = 1 / 60
    solver: Literal["classical", "hybrid"] = "classical"
    operator: str | None = None
    certify: float = 3.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(
            shortest=self.shortest,
            longest=self.longest,
            tolerance=self.tolerance,
            t_end=self.t_end,
            step=self.step,
            certify=self.certify,
        )
        if not self.shortest < self.longest:
            raise ValueError(f"shortest={self.shortest} must be below longest={self.longest}")

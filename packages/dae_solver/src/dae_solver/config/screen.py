"""Configuration of ``python -m dae_solver.screen``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from dae_solver.config.grid import GridConfig, positive


@dataclass(kw_only=True)
class ScreenConfig(GridConfig):
    """Settings of a contingency screening.

    Attributes:
        kinds: Lists of contingencies: "line" (every branch opens), "fault" (a short circuit at both
            ends of every branch, cleared by opening it), "generator", "load", "double" (two
            branches open one second apart).
        event: Further contingencies as text, see python -m dae_solver.simulate --help.
        clear: How long the faults of the list last, seconds; or several such times.
        load_level: Multiplies loads and generation.
        alpha: Share of unstable contingencies that the first look may call stable.
        solver: Of the first look: "classical" integrates with long steps, "hybrid" takes a learned
            operator.
        step: Of the first look by integration, seconds; by default the longest with which trial
            faults come out as by fine_step.
        operator: Folder or file that python -m dae_solver.train made, for solver=hybrid.
        certify: Angle error of the hybrid solver, degrees.
        fine_step: Step of the engine that decides where the first look abstains, seconds.
        t_end: How long each contingency is watched, seconds.
        calibration: A calibration.json of an earlier screen; made anew by default.
        cases: Unstable and stable scenarios of a new calibration, so many of each at least.
        calibration_load: Smallest and largest load level of a new calibration.
        voltages: Work out the lowest voltages.
    """

    kinds: list[str] = field(default_factory=lambda: ["line", "fault", "generator", "load"])
    event: list[str] = field(default_factory=list)
    clear: float | list[float] = 0.1
    load_level: float = 1.0
    alpha: float = 0.01
    solver: Literal["classical", "hybrid"] = "classical"
    step: float | None = None
    operator: str | None = None
    certify: float = 3.0
    fine_step: float = 1 / 240
    t_end: float = 5.0
    calibration: str | None = None
    cases: int = 300
    calibration_load: tuple[float, float] = (0.85, 1.05)
    voltages: bool = True

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(
            load_level=self.load_level,
            certify=self.certify,
            fine_step=self.fine_step,
            t_end=self.t_end,
        )
        if self.step is not None:
            positive(step=self.step)
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha={self.alpha} must be between 0 and 1")
        needed = math.ceil(1.0 / self.alpha - 1e-9) - 1
        if self.calibration is None and self.cases < max(needed, 1):
            raise ValueError(
                f"cases={self.cases} calibration scenarios cannot promise alpha={self.alpha}; give "
                f"at least {max(needed, 1)}"
            )
        if not 0 < self.calibration_load[0] <= self.calibration_load[1]:
            raise ValueError(f"calibration_load={self.calibration_load} must be positive and rise")
        if not self.kinds and not self.event:
            raise ValueError("kinds and event are both empty; give contingencies of one of them")

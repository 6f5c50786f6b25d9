"""Configuration of ``python -m dae_solver.identify``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dae_solver.config.grid import GridConfig, positive


@dataclass(kw_only=True)
class IdentifyConfig(GridConfig):
    """Settings of an identification of unknown equations.

    Attributes:
        data: Measurements, an .npz with t, event and signals; without it they are simulated, with
            the values in hidden.
        unknown: What is not known, one text each: "parameter NAME [each] [relative] [scale X]
            [low X] [high X] [tries X;Y]", "dead_band", "library PLACE [functions A;B]",
            "neural PLACE inputs SIGNAL [hidden N]", "recovery load.p".
        hidden: Values that simulated measurements have and the nominal case has not, as
            "TWOAXIS.D3=900"; of the loads alpha, beta (exponents), kpf, kqf (by frequency).
        event: What happens in simulated measurements, one text for each scenario.
        load_level: Multiplies loads and generation there; one for all scenarios, or one for each.
        measured: Signals of simulated measurements: "pmu" (voltages, angles, speeds) or "states".
        buses: Where phasors are simulated; at all buses by default.
        noise: Of simulated measurements, times the usual standard deviations.
        test: Scenarios that are held back to check the result, by their number from 0.
        t_end: Last time of simulated measurements, seconds.
        every: Distance of their samples, seconds.
        criterion: Of the choice among candidates.
        step: Of the integration, seconds.
        rounds: Of the search at most.
        most: Candidates that are kept at most.
    """

    data: str | None = None
    unknown: list[str] = field(default_factory=lambda: ["library torque"])
    hidden: list[str] = field(default_factory=lambda: ["TWOAXIS.D3=900"])
    event: list[str] = field(
        default_factory=lambda: [
            "fault bus 7 t 0.3 clear 0.1 trip 5-7",
            "fault bus 5 t 0.3 clear 0.08",
            "load_step bus 6 t 0.3 p 1.3",
            "line_trip line 4-6 t 0.3",
        ]
    )
    load_level: float | list[float] = 1.0
    measured: Literal["pmu", "states"] = "pmu"
    buses: list[int] | list[str] | None = None
    noise: float = 1.0
    test: list[int] = field(default_factory=lambda: [3])
    t_end: float = 4.0
    every: float = 1 / 60
    criterion: Literal["bic", "aic"] = "bic"
    step: float = 1 / 60
    rounds: int = 20
    most: int = 4

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(t_end=self.t_end, every=self.every, step=self.step)
        if self.noise < 0:
            raise ValueError(f"noise={self.noise} must not be negative")
        if self.rounds < 1 or self.most < 1:
            raise ValueError(f"rounds={self.rounds} and most={self.most} must be at least 1")
        if not self.unknown:
            raise ValueError("unknown is empty; say what is not known")

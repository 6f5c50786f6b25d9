"""Scenarios that a command is asked about, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass, field

from dae_solver.config.grid import GridConfig, positive


@dataclass(kw_only=True)
class ScenarioConfig(GridConfig):
    """Settings of a command that answers scenarios.

    Attributes:
        event: What happens, one text for each scenario, as "fault bus 7 t 1 clear 0.1 trip 5-7";
            several in one scenario are joined by " + ". Kinds: fault, line_trip, trip_reclose,
            unsuccessful_reclose, load_step, load_pulse, vref_step, pref_step, generator_trip, none.
        relays: Protection that acts by itself in every scenario, as "shedding below 59.5 share 0.1
            delay 0.1 bus 5;6": below 59.5 Hz for 0.1 s, a tenth of the loads at these buses, or of
            all, is shed; one text for each stage.
        load_level: Multiplies loads and generation; one for all scenarios, or one for each.
        t_end: Last time, seconds.
        every: Distance of output times, seconds.
        table: Write trajectories.csv with all states and voltages.
        plots: Scenarios that the report shows.
    """

    event: str | list[str] = "fault bus 7 t 0.5 clear 0.1 trip 5-7"
    relays: list[str] = field(default_factory=list)
    load_level: float | list[float] = 1.0
    t_end: float = 5.0
    every: float = 1 / 60
    table: bool = True
    plots: int = 4

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(t_end=self.t_end, every=self.every)
        if self.plots < 0:
            raise ValueError(f"plots={self.plots} must not be negative")

"""Configuration of ``python -m dae_solver.simulate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dae_solver.config.grid import GridConfig, positive

MethodName = Literal[
    "euler",
    "heun",
    "rk4",
    "bs32",
    "dopri5",
    "backward_euler",
    "trapezoid",
    "gauss2",
    "gauss3",
    "radau2",
    "radau3",
]


@dataclass(kw_only=True)
class SimulateConfig(GridConfig):
    """Settings of a simulation.

    Attributes:
        event: What happens, one text for each scenario, as "fault bus 7 t 1 clear 0.1 trip 5-7";
            several in one scenario are joined by " + ". Kinds: fault, line_trip, trip_reclose,
            unsuccessful_reclose, load_step, load_pulse, vref_step, pref_step, generator_trip, none.
        load_level: Multiplies loads and generation; one for all scenarios, or one for each.
        t_end: Last time, seconds.
        every: Distance of output times, seconds.
        method: Integration method.
        step: Fixed step, seconds; null adapts it to rtol.
        rtol: Relative tolerance of an adaptive step.
        locate_kinks: End steps where a limit, a dead band or a load switches; slower, but the
            method keeps its order.
        table: Write trajectories.csv with all states and voltages.
        plots: Scenarios that the report shows.
    """

    event: str | list[str] = "fault bus 7 t 0.5 clear 0.1 trip 5-7"
    load_level: float | list[float] = 1.0
    t_end: float = 5.0
    every: float = 1 / 60
    method: MethodName = "rk4"
    step: float | None = 1 / 120
    rtol: float = 1e-6
    locate_kinks: bool = False
    table: bool = True
    plots: int = 4

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(t_end=self.t_end, every=self.every, rtol=self.rtol)
        if self.step is not None:
            positive(step=self.step)
        if self.plots < 0:
            raise ValueError(f"plots={self.plots} must not be negative")

"""Configuration of ``python -m dae_solver.simulate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dae_solver.config.grid import positive
from dae_solver.config.scenarios import ScenarioConfig

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
class SimulateConfig(ScenarioConfig):
    """Settings of a simulation.

    Attributes:
        method: Integration method.
        step: Fixed step, seconds; null adapts it to rtol.
        rtol: Relative tolerance of an adaptive step.
        locate_kinks: End steps where a limit, a dead band or a load switches; slower, but the
            method keeps its order.
    """

    method: MethodName = "rk4"
    step: float | None = 1 / 120
    rtol: float = 1e-6
    locate_kinks: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(rtol=self.rtol)
        if self.step is not None:
            positive(step=self.step)

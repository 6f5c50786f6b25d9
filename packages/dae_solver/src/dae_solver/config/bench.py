"""Configuration of ``python -m dae_solver.bench``."""

from __future__ import annotations

from dataclasses import dataclass, field

from dae_solver.config.grid import positive
from scimind.config import RunConfig


@dataclass(kw_only=True)
class SizesConfig:
    """Cost against the size of the system.

    Attributes:
        cases: Files or built-in names, which the classical engine solves; and run folders of
            ``python -m dae_solver.train``, whose operators solve the same scenarios too.
        load: How loads depend on voltage; an operator keeps that of its training.
        scenarios: Of each.
    """

    cases: list[str] = field(default_factory=list)
    load: str = "zip 0.4 0.3 0.3"
    scenarios: int = 100

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.scenarios < 1:
            raise ValueError(f"sizes.scenarios={self.scenarios} must be at least 1")


@dataclass(kw_only=True)
class BenchConfig(RunConfig):
    """Settings of a benchmark.

    Attributes:
        operator: Run folder of ``python -m dae_solver.train``.
        batch: Scenarios of the large batch, on lines that training never saw.
        single: Scenarios that are answered one at a time.
        rounds: Runs of each solver, in turn with the others.
        t_end: Length of a scenario, seconds.
        every: Distance of output times, seconds.
        nearest: Training trajectories that are made again for the baselines.
        step_map: CPU time for the training of the step map, seconds; 0 leaves it out.
        ida: Scenarios that IDA solves, one at a time; 0 leaves it out.
        andes: Python of an ANDES installation, which is run in processes of its own; empty leaves
            it out.
        andes_case: File that it simulates, with its own disturbance.
        sizes: Cost against the size of the system.
    """

    operator: str
    batch: int = 1000
    single: int = 10
    rounds: int = 3
    t_end: float = 5.0
    every: float = 1 / 30
    nearest: int = 2000
    step_map: float = 120.0
    ida: int = 5
    andes: str = ""
    andes_case: str = ""
    sizes: SizesConfig = field(default_factory=SizesConfig)

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(t_end=self.t_end, every=self.every)
        for name, least in (
            ("batch", 1), ("single", 1), ("rounds", 1), ("nearest", 1), ("step_map", 0), ("ida", 0)
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")
        if self.andes and not self.andes_case:
            raise ValueError("andes= needs andes_case=, a case that has a disturbance")

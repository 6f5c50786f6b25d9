"""Where training trajectories come from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(kw_only=True)
class DataConfig:
    """The scenarios that the classical engine makes for training, calibration and tests.

    Attributes:
        scenarios: Training trajectories.
        starts: More scenarios that are simulated up to their last event only, for ``physics``.
        calibration: Trajectories from which the certificate is calibrated: so many on lines that
            training held out, and as many on those that it saw.
        test: Trajectories on which the result is scored.
        held_out: Lines that training never sees: their share, or a list of ids.
        t_end: Length of a trajectory after its last event, seconds.
        settled: Time of the last event, seconds; faults begin before it.
        clearing: Shortest and longest fault, seconds.
        apart: Shortest and longest time until a line recloses or a pulse ends, seconds.
        load_level: Smallest and largest factor of all loads.
        load_apart: Largest deviation of one load or generator from that.
        per_network: Scenarios that share a virtual network.
        windows: Windows taken from each trajectory.
        step: Of the classical engine, seconds.
    """

    scenarios: int = 8000
    starts: int = 4000
    calibration: int = 2000
    test: int = 1000
    held_out: float | list[str] = 0.25
    t_end: float = 5.0
    settled: float = 1.6
    clearing: tuple[float, float] = (0.03, 0.32)
    apart: tuple[float, float] = (0.2, 1.0)
    load_level: tuple[float, float] = (0.8, 1.15)
    load_apart: float = 0.08
    per_network: int = 3
    windows: int = 5
    step: float = 1 / 60

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("scenarios", "calibration", "test", "per_network", "windows"):
            if getattr(self, name) < 1:
                raise ValueError(f"data.{name}={getattr(self, name)} must be at least 1")
        if self.starts < 0:
            raise ValueError(f"data.starts={self.starts} must not be negative")
        for name in ("clearing", "apart"):
            least, most = getattr(self, name)
            if not 0 < least < most:
                raise ValueError(f"data.{name}={least, most} must rise from above 0")
        if self.settled < self.longest:
            raise ValueError(
                f"data.settled={self.settled} is too early for two faults of which the second "
                f"begins data.apart={self.apart} s after the first; take {self.longest:g} or more"
            )
        if not 0 < self.load_level[0] <= self.load_level[1]:
            raise ValueError(f"data.load_level={self.load_level} must be positive and rise")
        if not 0 <= self.load_apart < 1:
            raise ValueError(f"data.load_apart={self.load_apart} must be in [0, 1)")

    @property
    def usual(self) -> float:
        """Longest fault but for those meant to come close to the limit of stability, seconds."""
        return 0.5 * sum(self.clearing)

    @property
    def longest(self) -> float:
        """From the first of two faults to the clearing of the second, at most, seconds."""
        return self.usual + self.apart[1] + self.clearing[1]

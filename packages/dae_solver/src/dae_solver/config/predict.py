"""Configuration of ``python -m dae_solver.predict``."""

from __future__ import annotations

from dataclasses import dataclass

from dae_solver.config.grid import positive
from dae_solver.config.scenarios import ScenarioConfig


@dataclass(kw_only=True)
class PredictConfig(ScenarioConfig):
    """Settings of predictions by a trained operator.

    Attributes:
        operator: Run folder of ``python -m dae_solver.train``, or its operator.safetensors.
        case: A file or a built-in name; that of the training by default.
        load: How loads depend on voltage; as in the training by default.
        certify: Angle error that every trajectory stays within until separation, degrees.
        audit: Share of the scenarios that are integrated again to see whether certificates hold.
    """

    operator: str
    case: str = ""
    load: str = ""
    certify: float = 3.0
    audit: float = 0.02

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        positive(certify=self.certify)
        if not 0 <= self.audit <= 1:
            raise ValueError(f"audit={self.audit} must be a share from 0 to 1")

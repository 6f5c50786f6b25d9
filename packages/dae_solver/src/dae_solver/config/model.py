"""Size of the learned trajectory operator."""

from __future__ import annotations

from dataclasses import dataclass

# As many as compiled windows have room for.
MOST_NODES = 64


@dataclass(kw_only=True)
class ModelConfig:
    """Hyper-parameters of `dae_solver.model.network.OperatorNetwork`.

    Attributes:
        name: Preset name, written into checkpoints and results.
        horizon: Length of a window, seconds.
        nodes: Radau nodes of a window.
        modes: Proper orthogonal modes in which trajectories are predicted.
        width: Width of the hidden layers.
        depth: Hidden layers.
        experts: Linear maps of the residual that the corrector mixes.
    """

    name: str = "tiny"
    horizon: float = 1.0
    nodes: int = 10
    modes: int = 80
    width: int = 128
    depth: int = 3
    experts: int = 2

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.horizon > 0:
            raise ValueError(f"horizon={self.horizon} must be positive")
        if self.nodes > MOST_NODES:
            raise ValueError(f"nodes={self.nodes} must be at most {MOST_NODES}")
        for name, least in (("nodes", 3), ("modes", 1), ("width", 1), ("depth", 1), ("experts", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {least}")

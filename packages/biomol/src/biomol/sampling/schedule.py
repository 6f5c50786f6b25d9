"""Noise levels of the structure sampler."""

from __future__ import annotations

import numpy as np

from biomol.data.noise import SIGMA_MAX
from scimind.typing import Float


def karras_levels(
    num_steps: int, *, sigma_min: float = 0.05, sigma_max: float = SIGMA_MAX, rho: float = 7.0
) -> Float[np.ndarray, " level"]:
    """``num_steps`` falling noise levels and a final 0, angstrom.

    sigma_i = (max^(1/rho) + i/(n-1) (min^(1/rho) - max^(1/rho)))^rho: Karras et al., Elucidating
    the Design Space of Diffusion-Based Generative Models (2022), equation 5.
    """
    if num_steps < 1:
        raise ValueError(f"num_steps={num_steps} must be at least 1")
    ramp = np.linspace(0.0, 1.0, num_steps) if num_steps > 1 else np.zeros(1)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return np.append((high + ramp * (low - high)) ** rho, 0.0)

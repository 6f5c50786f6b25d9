"""Parameters of a batch: arrays by name whose last axis is the scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scimind.errors import InputError

# Each array is ``[scenario]`` or ``[row, scenario]``.
Parameters = Mapping[str, np.ndarray]


def take(p: Parameters, scenarios: Any) -> dict[str, np.ndarray]:
    """The parameters of some scenarios."""
    return {name: value[..., scenarios] for name, value in p.items()}


def some(p: Parameters, scenarios: np.ndarray, number: int) -> Parameters:
    """The parameters of some of ``number`` scenarios, to look at only: themselves where it is all.

    Args:
        p: Parameters.
        scenarios: Which, each once and in their order.
        number: Of all.
    """
    return p if len(scenarios) == number else take(p, scenarios)


def spread(name: str, value: np.ndarray, axes: int, scenarios: int) -> np.ndarray:
    """A parameter with the scenario as its last axis, writable.

    Args:
        name: For the message.
        value: For one scenario (``axes`` axes), or with the scenario as one more axis at the end.
        axes: Of the parameter of one scenario.
        scenarios: How many.

    Raises:
        InputError: The shape is neither.
    """
    if value.ndim == axes:
        value = value[..., None]
    if value.ndim != axes + 1 or value.shape[-1] not in (1, scenarios):
        raise InputError(
            f"parameter {name!r} has shape {value.shape}; give its {axes} axes, alone or with "
            f"{scenarios} scenarios as the last",
            rule="dae.shape",
        )
    return np.array(np.broadcast_to(value, (*value.shape[:-1], scenarios)))

"""The networks in NumPy, with the scenario as the last axis: for small batches on a CPU.

The same parameters give the same values as :mod:`dae_solver.model.network`, to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from scimind.typing import Float

Weights = Mapping[str, np.ndarray]


def silu(x: np.ndarray) -> np.ndarray:
    """``x / (1 + exp(-x))``, in place."""
    with np.errstate(over="ignore"):
        x /= 1.0 + np.exp(-x)
    return x


def _hidden(weights: Weights, part: str, x: np.ndarray) -> np.ndarray:
    h = silu(weights[f"{part}.enter.weight"] @ x + weights[f"{part}.enter.bias"][:, None])
    layer = 0
    while f"{part}.hidden.{layer}.weight" in weights:
        w, b = weights[f"{part}.hidden.{layer}.weight"], weights[f"{part}.hidden.{layer}.bias"]
        h = h + silu(w @ h + b[:, None])
        layer += 1
    return h


def predict(
    weights: Weights, features: Float[np.ndarray, "feature batch"]
) -> Float[np.ndarray, "mode batch"]:
    """See `dae_solver.model.network.Predictor`."""
    h = _hidden(weights, "predictor", features)
    out = weights["predictor.leave.weight"] @ h + weights["predictor.direct.weight"] @ features
    found: np.ndarray = out + weights["predictor.leave.bias"][:, None]
    return found


def correct(
    weights: Weights,
    features: Float[np.ndarray, "feature batch"],
    iterate: Float[np.ndarray, "mode batch"],
    residual: Float[np.ndarray, "mode batch"],
    size: Float[np.ndarray, "one batch"],
) -> Float[np.ndarray, "mode batch"]:
    """See `dae_solver.model.network.Corrector`."""
    part = "corrector"
    h = _hidden(weights, part, np.concatenate([features, iterate, residual, size]))
    out = weights[f"{part}.leave.weight"] @ h + weights[f"{part}.direct.weight"] @ residual
    gates = weights[f"{part}.gate.weight"] @ h + weights[f"{part}.gate.bias"][:, None]
    mixed = weights[f"{part}.mixed.weight"] @ residual
    out += (mixed.reshape(len(gates), -1, mixed.shape[1]) * gates[:, None]).sum(0)
    found: np.ndarray = out + weights[f"{part}.leave.bias"][:, None]
    return found

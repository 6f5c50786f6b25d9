"""Where and how tensors are computed: device target, precision, threads, determinism, cache."""

from scimind.device.capabilities import capabilities
from scimind.device.precision import Precision, precision_policy
from scimind.device.setup import Runtime, active_precision, on_setup, setup, target

__all__ = [
    "Precision",
    "Runtime",
    "active_precision",
    "capabilities",
    "on_setup",
    "precision_policy",
    "setup",
    "target",
]

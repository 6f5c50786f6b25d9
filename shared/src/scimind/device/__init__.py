"""Where and how tensors are computed: device target, precision, threads, determinism, cache."""

from scimind.device.capabilities import add_probe, capabilities, probe
from scimind.device.precision import Precision, precision_policy
from scimind.device.setup import Runtime, active_precision, on_setup, setup, target

__all__ = [
    "Precision",
    "Runtime",
    "active_precision",
    "add_probe",
    "capabilities",
    "on_setup",
    "precision_policy",
    "probe",
    "setup",
    "target",
]

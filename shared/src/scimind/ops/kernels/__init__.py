"""Implementations of operators for one kind of device; importing a module registers them."""

from scimind.ops.kernels import ascend
from scimind.ops.kernels.cpu import operators as cpu_operators

__all__ = ["ascend", "cpu_operators"]

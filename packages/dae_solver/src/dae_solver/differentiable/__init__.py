"""The equations of power systems on MindSpore, with gradients: values, voltages, simulations."""

from dae_solver.differentiable.grid import DifferentiableGrid

__all__ = ["DifferentiableGrid"]

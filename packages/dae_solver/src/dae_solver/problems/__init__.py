"""Test problems of the literature; each docstring gives source and known values."""

from dae_solver.problems.chemistry import akzo, robertson
from dae_solver.problems.circuits import diode_rectifier, transistor_amplifier
from dae_solver.problems.mechanics import bouncing_ball, pendulum

__all__ = [
    "akzo",
    "bouncing_ball",
    "diode_rectifier",
    "pendulum",
    "robertson",
    "transistor_amplifier",
]

"""Differential-algebraic equations: a classical and a certified learned solver."""

from importlib.metadata import version

__version__ = version("scimind-dae-solver")

"""The equations of a grid in C++, written from a recording, compiled once and kept."""

from dae_solver.compiled.dae import CompiledDAE

__all__ = ["CompiledDAE"]

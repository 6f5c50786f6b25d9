"""Unknown equations: parameters, sparse terms and networks in f or g, from few trajectories."""

from dae_solver.unknown.identify import identify
from dae_solver.unknown.library import CANDIDATES, Candidate, LibraryTerm, linear
from dae_solver.unknown.measurements import Channel, Measurements, from_arrays, measure
from dae_solver.unknown.neural import NeuralTerm
from dae_solver.unknown.parametric import ParametricTerm
from dae_solver.unknown.recovery import LoadRecovery
from dae_solver.unknown.result import Identified

__all__ = [
    "CANDIDATES",
    "Candidate",
    "Channel",
    "Identified",
    "LibraryTerm",
    "LoadRecovery",
    "Measurements",
    "NeuralTerm",
    "ParametricTerm",
    "from_arrays",
    "identify",
    "linear",
    "measure",
]

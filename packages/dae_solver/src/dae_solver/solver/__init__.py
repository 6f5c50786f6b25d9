"""Classical solution of differential-algebraic equations, for a batch of scenarios at once.

>>> decay = DAESystem.from_callable(lambda t, x, y, p: [-p["k"] * x[0]], states=["a"],
...                                 parameters={"k": 2.0}, x0=[1.0])
>>> solution = simulate(decay, [0.0, 1.0], parameters={"k": [1.0, 2.0]})
>>> solution["a"][:, -1].round(4)
array([0.3679, 0.1353])
"""

from dae_solver.solver.events import Change, Happened, StateEvent, TimeEvent
from dae_solver.solver.initial import Consistency, consistent
from dae_solver.solver.methods import METHODS
from dae_solver.solver.simulate import simulate
from dae_solver.solver.solution import Solution, Statistics
from dae_solver.solver.system import DAESystem

__all__ = [
    "METHODS",
    "Change",
    "Consistency",
    "DAESystem",
    "Happened",
    "Solution",
    "StateEvent",
    "Statistics",
    "TimeEvent",
    "consistent",
    "simulate",
]

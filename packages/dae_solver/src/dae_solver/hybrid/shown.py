"""Pieces of trajectories that the compiled library shows."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from dae_solver.compiled.dae import CompiledDAE, Library, address_of
from dae_solver.hybrid.classical import Course
from dae_solver.hybrid.outputs import ROUNDING, ClassicalPiece, OperatorPiece
from dae_solver.hybrid.structures import Passed, Views
from dae_solver.physics.dae import PowerDAE
from dae_solver.solver.parameters import Parameters
from scimind.typing import Float, Int


@dataclass(frozen=True, kw_only=True)
class ShownWindows(OperatorPiece):
    """Windows of the operator."""

    library: Library

    def fill(
        self,
        times: Float[np.ndarray, " time"],
        rows: Int[np.ndarray, " row"],
        found: Float[np.ndarray, "scenario time row"],
    ) -> None:
        """See :class:`dae_solver.hybrid.outputs.Piece`."""
        modes, window = self.modes, self.window
        arrays = {
            "of": self.scenarios,
            "begin": self.begin,
            "end": self.end,
            "times": np.ascontiguousarray(times, float),
            "spectrum": window.spectrum,
            "first": np.ascontiguousarray(self.x[rows].T),
            "deviations": self.coefficients.T @ modes.of_states(rows),
            "out": found,
        }
        views = Views(
            count=len(self.scenarios),
            outputs=len(times),
            rows=len(rows),
            nodes=len(window.nodes),
            degrees=len(window.spectrum),
            horizon=window.horizon,
            rounding=ROUNDING,
            **{name: address_of(array) for name, array in arrays.items()},
        )
        self.library.views(ctypes.addressof(views))


@dataclass(frozen=True, kw_only=True)
class ShownCourse(ClassicalPiece):
    """Windows of the classical engine."""

    library: Library

    def fill(
        self,
        times: Float[np.ndarray, " time"],
        rows: Int[np.ndarray, " row"],
        found: Float[np.ndarray, "scenario time row"],
    ) -> None:
        """See :class:`dae_solver.hybrid.outputs.Piece`."""
        course = self.course
        arrays = {
            "of": np.ascontiguousarray(self.scenarios, np.int64),
            "row": np.ascontiguousarray(rows, np.int64),
            "steps": np.ascontiguousarray(course.steps, np.int64),
            "begin": self.begin,
            "end": self.end,
            "times": np.ascontiguousarray(times, float),
            "x": course.x,
            "f": course.f,
            "out": found,
        }
        passed = Passed(
            count=len(self.scenarios),
            outputs=len(times),
            rows=len(rows),
            nodes=course.x.shape[1],
            states=course.x.shape[2],
            rounding=ROUNDING,
            **{name: address_of(array) for name, array in arrays.items()},
        )
        self.library.passed(ctypes.addressof(passed))


def course_piece(
    grid: PowerDAE,
    p: Parameters,
    scenarios: Int[np.ndarray, " window"],
    begin: Float[np.ndarray, " window"],
    end: Float[np.ndarray, " window"],
    course: Course,
) -> ClassicalPiece:
    """Windows of the engine, shown by the grid's library where it has one."""
    library = grid.library(p) if isinstance(grid, CompiledDAE) else None
    if library is None:
        return ClassicalPiece(scenarios=scenarios, begin=begin, end=end, course=course)
    return ShownCourse(scenarios=scenarios, begin=begin, end=end, course=course, library=library)

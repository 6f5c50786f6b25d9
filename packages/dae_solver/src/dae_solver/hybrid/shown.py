"""Pieces of trajectories that the compiled library shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_solver.compiled.dae import CompiledDAE, Library, address_of
from dae_solver.hybrid.classical import Course
from dae_solver.hybrid.outputs import (
    ROUNDING,
    ClassicalPiece,
    OperatorPiece,
    Piece,
    RestingPiece,
)
from dae_solver.hybrid.structures import Passed, Spreads, Views
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
        views = _asked(
            Views,
            self,
            times,
            found,
            degrees=len(window.spectrum),
            horizon=window.horizon,
            first=np.ascontiguousarray(self.x[rows].T),
            spectra=self.coefficients.T @ modes.spectra(window.spectrum, rows),
        )
        self.library.views(views)


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
        _pass(self.library, self, times, rows, found, self.course)


@dataclass(frozen=True, kw_only=True)
class ShownRest(RestingPiece):
    """Scenarios of which nothing moves."""

    library: Library

    def fill(
        self,
        times: Float[np.ndarray, " time"],
        rows: Int[np.ndarray, " row"],
        found: Float[np.ndarray, "scenario time row"],
    ) -> None:
        """See :class:`dae_solver.hybrid.outputs.Piece`."""
        x, number = np.ascontiguousarray(self.x.T), len(self.scenarios)
        # No steps, so that derivatives are not looked at.
        still = Course.of(np.zeros(number, int), x=x, f=x, y=np.empty((0, number)))
        _pass(self.library, self, times, rows, found, still)


def _pass(
    library: Library,
    piece: Piece,
    times: np.ndarray,
    rows: np.ndarray,
    found: np.ndarray,
    course: Course,
) -> None:
    """Let the library write what lies within steps, see stretch.h."""
    numbers = {"row": rows, "steps": course.steps, "first": course.first}
    library.passed(
        _asked(
            Passed,
            piece,
            times,
            found,
            states=course.x.shape[1],
            x=course.x,
            f=course.f,
            **{name: np.ascontiguousarray(each, np.int64) for name, each in numbers.items()},
        )
    )


def _asked(kind: Any, piece: Piece, times: np.ndarray, found: np.ndarray, **more: Any) -> Any:
    """What the library is asked to show of a piece; arrays by their addresses.

    Args:
        kind: Of structure.
        piece: To be shown.
        times: Of the outputs.
        found: Where they are written.
        **more: Further fields, by name.
    """
    arrays = {
        "of": np.ascontiguousarray(piece.scenarios, np.int64),
        "begin": piece.begin,
        "end": piece.end,
        "times": np.ascontiguousarray(times, float),
        "out": found,
        **{name: value for name, value in more.items() if isinstance(value, np.ndarray)},
    }
    sizes = {name: value for name, value in more.items() if name not in arrays}
    asked = kind(
        count=len(piece.scenarios),
        outputs=len(times),
        rows=found.shape[2],
        rounding=ROUNDING,
        **sizes,
        **{name: address_of(array) for name, array in arrays.items()},
    )
    asked.arrays = arrays  # which must live as long
    return asked


def angles_apart(
    grid: PowerDAE, p: Parameters, course: Course, far: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """:meth:`dae_solver.hybrid.classical.Course.spread`, by the library where there is one."""
    library = _library(grid, p)
    if library is None:
        return course.spread(grid, p, far)
    online, number = p.get("online"), len(course.steps)
    largest, (beyond, last) = np.empty(number), np.empty((2, number), np.int64)
    arrays = {
        "steps": np.ascontiguousarray(course.steps, np.int64),
        "first": np.ascontiguousarray(course.first, np.int64),
        "row": np.ascontiguousarray(grid.rows("delta"), np.int64),
        "x": course.x,
        "largest": largest,
        "beyond": beyond,
        "last": last,
    }
    if online is not None:
        arrays["online"] = np.ascontiguousarray(online, float)
    library.spreads(
        Spreads(
            count=number,
            states=course.x.shape[1],
            machines=len(arrays["row"]),
            far=far,
            separation=np.pi,
            **{name: address_of(array) for name, array in arrays.items()},
        )
    )
    return largest, beyond, last


def course_piece(
    grid: PowerDAE,
    p: Parameters,
    scenarios: Int[np.ndarray, " window"],
    begin: Float[np.ndarray, " window"],
    end: Float[np.ndarray, " window"],
    course: Course,
) -> ClassicalPiece:
    """Windows of the engine, shown by the grid's library where it has one."""
    library = _library(grid, p)
    if library is None:
        return ClassicalPiece(scenarios=scenarios, begin=begin, end=end, course=course)
    return ShownCourse(scenarios=scenarios, begin=begin, end=end, course=course, library=library)


def rest_piece(
    grid: PowerDAE,
    p: Parameters,
    scenarios: Int[np.ndarray, " window"],
    begin: Float[np.ndarray, " window"],
    end: Float[np.ndarray, " window"],
    x: Float[np.ndarray, "state window"],
) -> RestingPiece:
    """Where nothing moves, shown by the grid's library where it has one."""
    library = _library(grid, p)
    if library is None:
        return RestingPiece(scenarios=scenarios, begin=begin, end=end, x=x)
    return ShownRest(scenarios=scenarios, begin=begin, end=end, x=x, library=library)


def _library(grid: PowerDAE, p: Parameters) -> Library | None:
    return grid.library(p) if isinstance(grid, CompiledDAE) else None

"""Pieces of trajectories, evaluated where somebody looks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dae_solver.hybrid.classical import Course
from dae_solver.model.collocation import RadauWindow
from dae_solver.model.modes import Modes
from scimind.typing import Bool, Float, Int

# Later than a boundary by no more than rounding belongs to it.
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Piece(ABC):
    """The course of some scenarios over some time, ``(begin, end]`` of each.

    Attributes:
        scenarios: Of which scenario each is.
        begin: Where it begins, seconds.
        end: Where it ends.
    """

    scenarios: Int[np.ndarray, " window"]
    begin: Float[np.ndarray, " window"]
    end: Float[np.ndarray, " window"]

    @abstractmethod
    def at(self, times: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Some states at times ``[window, time]``, as ``[window, time, row]``."""

    @abstractmethod
    def values(self, which: np.ndarray) -> dict[str, Any]:
        """What it knows of some windows, by the names of its attributes."""

    def part(self, place: Int[np.ndarray, " scenario"]) -> Piece | None:
        """The part of some scenarios, if there is one.

        Args:
            place: What number each scenario gets, below 0 where it is left out.
        """
        which = np.flatnonzero(place[self.scenarios] >= 0)
        if not len(which):
            return None
        return replace(
            self,
            scenarios=place[self.scenarios[which]],
            begin=self.begin[which],
            end=self.end[which],
            **self.values(which),
        )

    def fill(
        self,
        times: Float[np.ndarray, " time"],
        rows: Int[np.ndarray, " row"],
        found: Float[np.ndarray, "scenario time row"],
    ) -> None:
        """Write some states to their places among those at all output times."""
        number, valid = between(times, self.begin, self.end)
        if len(number) == 1:
            found[self.scenarios[0], number[0]] = self.at(times[number], rows)[0]
        elif valid.any():
            of = np.broadcast_to(self.scenarios[:, None], number.shape)
            found[of[valid], number[valid]] = self.at(times[number], rows)[valid]


def between(
    times: Float[np.ndarray, " time"],
    begin: Float[np.ndarray, " window"],
    end: Float[np.ndarray, " window"],
) -> tuple[Int[np.ndarray, "window some"], Bool[np.ndarray, "window some"]]:
    """Numbers of the output times in ``(begin, end]``, and which entries count."""
    slack = ROUNDING * np.maximum(1.0, np.abs(end))
    first = np.searchsorted(times, begin + slack, side="right")
    last = np.searchsorted(times, end + slack, side="right")
    number = first[:, None] + np.arange(max(int((last - first).max(initial=0)), 0))
    return np.minimum(number, len(times) - 1), number < last[:, None]


@dataclass(frozen=True, kw_only=True)
class RestingPiece(Piece):
    """Scenarios of which nothing moves.

    Attributes:
        x: Their states.
    """

    x: Float[np.ndarray, "state window"]

    def at(self, times: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See :class:`Piece`."""
        still = self.x[rows].T[:, None]
        return np.broadcast_to(still, (*times.shape, len(rows)))

    def values(self, which: np.ndarray) -> dict[str, Any]:
        """See :class:`Piece`."""
        return {"x": self.x[:, which]}


@dataclass(frozen=True, kw_only=True)
class OperatorPiece(Piece):
    """Windows of the operator.

    Attributes:
        window: Its nodes.
        modes: In which it is given.
        x: States at the start.
        coefficients: Of the deviation from there.
    """

    window: RadauWindow
    modes: Modes
    x: Float[np.ndarray, "state window"]
    coefficients: Float[np.ndarray, "mode window"]

    def at(self, times: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See :class:`Piece`."""
        deviation = self.modes.decode(self.coefficients, rows)  # [row, node, window]
        spectrum = np.tensordot(self.window.spectrum, deviation, (1, 1))
        basis = self.window.polynomials(times - self.begin[:, None])
        found: np.ndarray = basis @ spectrum.transpose(2, 0, 1) + self.x[rows].T[:, None, :]
        return found

    def values(self, which: np.ndarray) -> dict[str, Any]:
        """See :class:`Piece`."""
        return {"x": self.x[:, which], "coefficients": self.coefficients[:, which]}


@dataclass(frozen=True, kw_only=True)
class ClassicalPiece(Piece):
    """Windows of the classical engine: a cubic Hermite polynomial for each step.

    Attributes:
        course: The steps.
    """

    course: Course

    def at(self, times: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See :class:`Piece`."""
        steps = self.course.steps[:, None]
        h = (self.end - self.begin)[:, None] / steps
        place = (times - self.begin[:, None]) / h
        # A step ends where it ends, but for rounding.
        number = np.clip(np.ceil(place - 1e-9).astype(int) - 1, 0, steps - 1)
        s = np.clip(place - number, 0.0, 1.0)[:, :, None]
        square, cube = s * s, s * s * s
        node = self.course.first[:, None] + number
        x, f = self.course.x[:, rows], self.course.f[:, rows]
        found: np.ndarray = (
            (1.0 - 3.0 * square + 2.0 * cube) * x[node]
            + (3.0 * square - 2.0 * cube) * x[node + 1]
            + h[:, :, None] * ((s - 2.0 * square + cube) * f[node] + (cube - square) * f[node + 1])
        )
        return found

    def values(self, which: np.ndarray) -> dict[str, Any]:
        """See :class:`Piece`."""
        return {"course": self.course.take(which)}


@dataclass(frozen=True, kw_only=True)
class SampledPiece(Piece):
    """What was evaluated already, at the output times: many steps take more room than these.

    Attributes:
        times: The output times, and no others.
        x: Of each window then; those outside of it have no meaning.
    """

    times: Float[np.ndarray, " time"]
    x: Float[np.ndarray, "window time state"]

    @classmethod
    def of(cls, piece: Piece, times: np.ndarray, states: int) -> SampledPiece:
        """All states of a piece.

        Args:
            piece: To be evaluated.
            times: Of the outputs.
            states: Their number.
        """
        windows = len(piece.scenarios)
        x = np.empty((windows, len(times), states))
        replace(piece, scenarios=np.arange(windows)).fill(times, np.arange(states), x)
        return cls(scenarios=piece.scenarios, begin=piece.begin, end=piece.end, times=times, x=x)

    def at(self, times: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See :class:`Piece`."""
        window = np.arange(len(self.x))[:, None, None]
        found: np.ndarray = self.x[window, np.searchsorted(self.times, times)[:, :, None], rows]
        return found

    def values(self, which: np.ndarray) -> dict[str, Any]:
        """See :class:`Piece`."""
        return {"x": self.x[which]}


@dataclass(kw_only=True)
class Outputs:
    """All pieces of a batch.

    Attributes:
        times: Output times, seconds; the first is the start.
        x0: States there, ``[state, scenario]``.
        pieces: In the order in which they were found: later ones replace earlier ones.
        ended: Last time that counts, for each scenario.
    """

    times: Float[np.ndarray, " time"]
    x0: Float[np.ndarray, "state scenario"]
    ended: Float[np.ndarray, " scenario"]
    pieces: list[Piece] = field(default_factory=list)

    def part(self, scenarios: Int[np.ndarray, " some"]) -> Outputs:
        """Those of some scenarios, by their numbers, each once."""
        place = np.full(self.x0.shape[1], -1)
        place[scenarios] = np.arange(len(scenarios))
        return Outputs(
            times=self.times,
            x0=self.x0[:, scenarios],
            pieces=[part for piece in self.pieces if (part := piece.part(place))],
            ended=self.ended[scenarios],
        )

    def states(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "scenario time row"]:
        """Some states at all output times; NaN where a scenario has ended."""
        scenarios = self.x0.shape[1]
        found = np.empty((scenarios, len(self.times), len(rows)))  # pieces cover all of it
        found[:, 0] = self.x0[rows].T
        for piece in self.pieces:
            piece.fill(self.times, rows, found)
        late = np.searchsorted(self.times, self.ended + ROUNDING, side="right")
        for scenario in np.flatnonzero(late < len(self.times)).tolist():
            found[scenario, late[scenario] :] = np.nan
        return found

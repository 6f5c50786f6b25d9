"""Solutions that are known at their output times only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.hybrid.outputs import Outputs, Piece, between
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.solver.initial import Consistency
from scimind.typing import Float


@dataclass(kw_only=True)
class Sampled(Outputs):
    """Outputs in an array, ``[scenario, time, state]``; NaN where nothing is known.

    Attributes:
        values: The array.
    """

    values: Float[np.ndarray, "scenario time state"]

    @classmethod
    def of(
        cls,
        times: Float[np.ndarray, " time"],
        values: Float[np.ndarray, "scenario time state"],
        ended: Float[np.ndarray, " scenario"] | None = None,
    ) -> Sampled:
        """Of trajectories that reach their end, or that ended at other times."""
        ended = np.full(len(values), times[-1]) if ended is None else ended
        return cls(times=times, x0=values[:, 0].T, ended=ended, values=values)

    def states(self, rows: np.ndarray) -> Float[np.ndarray, "scenario time row"]:
        """See the base class."""
        found: np.ndarray = self.values[..., rows]
        return found

    def between(self, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the output times in ``(begin, end]``, and which entries count."""
        return between(self.times, begin, end)

    def write(self, piece: Piece) -> None:
        """Take over a piece."""
        piece.fill(self.times, np.arange(self.values.shape[2]), self.values)


def trajectories(
    grid: PowerDAE,
    scenarios: Scenarios,
    outputs: Sampled,
    *,
    start: Consistency,
    failure: list[str],
    source: str,
) -> Trajectories:
    """Trajectories without a certificate.

    Args:
        grid: The equations.
        scenarios: What was asked.
        outputs: What is known.
        start: Of the voltages at the start.
        failure: Why each scenario ended early; empty where it did not.
        source: How they were found.
    """
    number = len(scenarios)
    solution = HybridSolution(
        grid=grid,
        scenarios=scenarios,
        outputs=outputs,
        start=start,
        failure=failure,
        windows=np.zeros((3, number), int),
        refused=np.zeros(number, int),
    )
    return Trajectories(
        grid=grid,
        scenarios=scenarios,
        solution=solution,
        source=[source] * number,
        certificate=np.full(number, np.nan),
    )

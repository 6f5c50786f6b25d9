"""The trivial answer: nothing moves."""

from __future__ import annotations

import numpy as np

from dae_solver.tasks.baselines.segments import Course, SegmentSolver


class AtRest(SegmentSolver):
    """Every scenario stays as it is at its start."""

    name = "rest"

    def advance(self, course: Course, scenarios: np.ndarray, length: np.ndarray) -> np.ndarray:
        """See the base class."""
        return self._rest(course, scenarios, length)

    def _integrate(self, course: Course, some: np.ndarray, length: np.ndarray) -> np.ndarray:
        return self._rest(course, some, length)

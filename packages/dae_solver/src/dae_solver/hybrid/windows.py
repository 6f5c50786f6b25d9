"""Windows of the operator by a compiled library: one after the other, until somebody has to look.

What is done with each is what :class:`~dae_solver.hybrid.solver.HybridRun` does in NumPy.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np

from dae_solver.compiled.dae import IN_TILES, CompiledDAE, Library, address_of
from dae_solver.hybrid.certificate import FIRST, GROWS, SEPARATION, SLOWEST, UNSTEADY, Certificate
from dae_solver.hybrid.learned import Learned
from dae_solver.hybrid.outputs import OperatorPiece
from dae_solver.hybrid.shown import ShownWindows
from dae_solver.hybrid.structures import CourseStruct, Demand
from dae_solver.model.features import PARAMETERS
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.solver.parameters import Parameters
from scimind.typing import Float, Int

log = logging.getLogger(__name__)

# Why a scenario stopped, see windows.h.
ACT, REFUSED, TOO_FAR = range(3)

_said: set[str] = set()


class CompiledWindows:
    """The library's windows for one run.

    Args:
        grid: The equations.
        library: Of these parameters, with windows.
        operator: Of this grid.
        demand: What is asked of the windows.
        state: Arrays of the run by their names in windows.h, which are changed in place.
        p: Parameters, changed in place by the run.
    """

    def __init__(
        self,
        grid: CompiledDAE,
        library: Library,
        operator: TrajectoryOperator,
        demand: Demand,
        state: dict[str, np.ndarray],
        p: Parameters,
    ) -> None:
        self.grid, self.library, self.operator = grid, library, operator
        self.learned, self.demand, self.p = Learned.of(operator), demand, p
        self._places, self._rows, online = _layout(tuple(library.rows.items()))
        self._state = state
        self.course = CourseStruct(
            scenarios=len(state["t"]),
            parameters=len(PARAMETERS),
            online=online,
            places=address_of(self._places),
            rows=address_of(self._rows),
            **{name: address_of(array) for name, array in state.items()},
        )

    @classmethod
    def of(
        cls,
        grid: object,
        operator: TrajectoryOperator,
        certificate: Certificate,
        *,
        tolerance: float,
        refuse: bool,
        at_once: float,
        shortest: float,
        parts: Sequence[float],
        doubt: Sequence[float],
        end: float,
        state: dict[str, np.ndarray],
        p: Parameters,
    ) -> CompiledWindows | None:
        """That of a run; None where the equations are not compiled.

        Args:
            grid: The equations.
            operator: Of this grid.
            certificate: Turns residuals into bounds.
            tolerance: Of the voltages, per unit.
            refuse: Whether windows whose bound is too large are refused.
            at_once: Share of the bound that may be used up at the start.
            shortest: Window, seconds.
            parts: Of a window that may be accepted.
            doubt: How much the score of each part counts.
            end: Of the simulation, seconds.
            state: See the class.
            p: Parameters.
        """
        library = grid.library(p, windows=True) if isinstance(grid, CompiledDAE) else None
        if library is None:
            return None
        assert isinstance(grid, CompiledDAE)
        if library.matrix_unit and IN_TILES not in _said:
            _said.add(IN_TILES)
            log.info("networks of operators: %s", IN_TILES)
        demand = _demand(
            certificate, tolerance, refuse, at_once, shortest, tuple(parts), tuple(doubt), end
        )
        return cls(grid, library, operator, demand, state, p)

    def advance(
        self, scenarios: Int[np.ndarray, " scenario"], stop: Float[np.ndarray, " every"]
    ) -> tuple[OperatorPiece, Int[np.ndarray, " scenario"]]:
        """Windows of some scenarios, each until somebody has to look, and why.

        Args:
            scenarios: Which.
            stop: Where each of all scenarios has to stop, seconds.
        """
        course, learned = self.course, self.learned.struct
        network = np.ascontiguousarray(self.grid.networks(self.p), np.int64)
        topology = np.ascontiguousarray(self.p["network"], np.int64)
        z = self.grid.machine_impedances.table(topology)
        order = np.argsort(network[scenarios], kind="stable")
        listed = np.ascontiguousarray(scenarios[order], np.int64)
        t: np.ndarray = self._state["t"]
        whole = float((stop[scenarios] - t[scenarios]).sum()) / learned.horizon
        capacity = int(whole) + 3 * len(scenarios)
        of, why = np.empty(capacity, np.int64), np.empty(len(scenarios), np.int64)
        begin, end = np.empty((2, capacity))
        first = np.empty((capacity, len(self.grid.states)))
        coefficients = np.empty((capacity, learned.modes), np.float32)
        course.count, course.capacity, course.accepted = len(scenarios), capacity, 0
        course.list, course.topology, course.stop = map(address_of, (listed, topology, stop))
        course.z, course.impedances = address_of(z), z.shape[1]
        course.of, course.begin, course.end = map(address_of, (of, begin, end))
        course.first, course.coefficients = address_of(first), address_of(coefficients)
        course.why = address_of(why)
        self.library.windows(self.p, network, self.learned.address, self.demand, course)
        done = course.accepted
        found = np.empty_like(why)
        found[order] = why
        piece = ShownWindows(
            scenarios=of[:done],
            begin=begin[:done],
            end=end[:done],
            window=self.operator.window,
            modes=self.operator.modes,
            x=first[:done].T,
            coefficients=coefficients[:done].T,
            library=self.library,
        )
        return piece, found


@cache
def _layout(rows: tuple[tuple[str, int], ...]) -> tuple[np.ndarray, np.ndarray, int]:
    """First rows and numbers of rows of the features' parameters, and the first of ``online``.

    Args:
        rows: Of all parameters, in their order.
    """
    sizes = dict(rows)
    ends = np.cumsum([0, *sizes.values()]).tolist()
    place = dict(zip(sizes, ends, strict=False))
    places = np.array([place[name] for name in PARAMETERS], np.int64)
    return places, np.array([sizes[name] for name in PARAMETERS], np.int64), place.get("online", -1)


@lru_cache(maxsize=64)
def _demand(
    certificate: Certificate,
    tolerance: float,
    refuse: bool,
    at_once: float,
    shortest: float,
    parts: tuple[float, ...],
    doubt: tuple[float, ...],
    end: float,
) -> Demand:
    """See :meth:`CompiledWindows.of`."""
    return Demand(
        bound=certificate.bound,
        factor=certificate.factor,
        residual=certificate.residual,
        floor=certificate.floor,
        classical=certificate.classical,
        tolerance=tolerance,
        end=end,
        first=FIRST,
        slowest=SLOWEST,
        unsteady=UNSTEADY,
        grows=GROWS,
        separation=SEPARATION,
        at_once=at_once,
        shortest=shortest,
        parts=parts,
        doubt=doubt,
        corrections=certificate.corrections,
        refuse=refuse,
    )

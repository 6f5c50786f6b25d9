"""Windows of the operator by a compiled library: one after the other, until somebody has to look.

What is done with each is what :class:`~dae_solver.hybrid.solver.HybridRun` does in NumPy.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from dae_solver.compiled.dae import CompiledDAE, Library, address_of
from dae_solver.hybrid.certificate import FIRST, GROWS, SLOWEST, UNSTEADY, Certificate
from dae_solver.hybrid.outputs import ROUNDING, OperatorPiece
from dae_solver.model.features import PARAMETERS
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.solver.parameters import Parameters
from scimind.typing import Bool, Float, Int

# Rows of a panel of a matrix, see compiled/networks.h.
PANEL = 8
SMALLEST = 1e-30
MATRICES = ("decode", "encode", "angle_modes", "last")
NETWORKS = ("enter", "leave", "start", "step", "out", "gate", "mixed")


class _Matrix(ctypes.Structure):
    """What networks.h calls Matrix."""

    _fields_ = (
        ("weights", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
    )


def _fields(kind: type, names: str) -> tuple[tuple[str, type], ...]:
    return tuple((name, kind) for name in names.split())


class _Learned(ctypes.Structure):
    """What windows.h calls Learned."""

    _fields_ = (
        *_fields(ctypes.c_int64, "nodes modes width features hidden experts machines degrees"),
        ("horizon", ctypes.c_double),
        *_fields(
            ctypes.c_void_p, "times points spectrum gauss at_nodes at_gauss weight center spread"
        ),
        *_fields(ctypes.c_void_p, "mode_spread residual change angles inertia"),
        *((name, _Matrix) for name in (*MATRICES, *NETWORKS)),
        *_fields(ctypes.c_void_p, "layers corrector_layers"),
    )


class _Demand(ctypes.Structure):
    """What windows.h calls Demand."""

    _fields_ = (
        *_fields(ctypes.c_double, "bound factor residual floor classical step tolerance end"),
        *_fields(ctypes.c_double, "first slowest unsteady grows at_once shortest"),
        ("parts", ctypes.c_double * 2),
        ("doubt", ctypes.c_double * 2),
        *_fields(ctypes.c_int64, "corrections refuse"),
    )


class _Course(ctypes.Structure):
    """What windows.h calls Course."""

    _fields_ = (
        *_fields(ctypes.c_int64, "scenarios count capacity accepted"),
        *_fields(ctypes.c_void_p, "list topology"),
        *_fields(ctypes.c_int64, "parameters impedances online"),
        *_fields(ctypes.c_void_p, "places rows z t stop x y score spread classical"),
        *_fields(ctypes.c_void_p, "at_once corrected refused of begin end first coefficients"),
    )


class _Views(ctypes.Structure):
    """What windows.h calls Views."""

    _fields_ = (
        *_fields(ctypes.c_int64, "count outputs rows nodes degrees"),
        *_fields(ctypes.c_double, "horizon rounding"),
        *_fields(ctypes.c_void_p, "of begin end times spectrum first deviations out"),
    )


class Learned:
    """An operator as the library reads it."""

    _known: ClassVar[WeakKeyDictionary[TrajectoryOperator, Learned]] = WeakKeyDictionary()

    def __init__(self, operator: TrajectoryOperator) -> None:
        self._arrays: list[np.ndarray] = []
        modes, window, scaling = operator.modes, operator.window, operator.scaling
        nodes, weights = len(window.nodes), operator.weights
        rows = len(modes.weight)
        at_nodes, at_gauss = window.quadratures
        assert at_gauss.at is not None
        # Values are [row, node] there and [node, row] here.
        basis = modes.basis.reshape(-1, rows, nodes).transpose(0, 2, 1)
        decode = basis / modes.weight
        angle_modes = decode[:, :, modes.angles]
        layers, corrector_layers = (
            self._layers(weights, part) for part in ("predictor", "corrector")
        )
        enter = weights["corrector.enter.weight"]
        features = len(scaling.center)
        experts = len(weights["corrector.gate.weight"])
        self.struct = _Learned(
            nodes=nodes,
            modes=len(modes.basis),
            width=len(enter),
            features=features,
            hidden=len(layers),
            experts=experts,
            machines=len(modes.angles),
            degrees=len(window.spectrum),
            horizon=window.horizon,
            times=self._at(window.times),
            points=self._at(window.points),
            spectrum=self._at(window.spectrum),
            gauss=self._at(at_gauss.at, np.float32),
            at_nodes=self._at(at_nodes.integrate, np.float32),
            at_gauss=self._at(at_gauss.integrate, np.float32),
            weight=self._at(modes.weight, np.float32),
            center=self._at(scaling.center, np.float32),
            spread=self._at(scaling.spread, np.float32),
            mode_spread=self._at(modes.spread, np.float32),
            residual=self._at(scaling.residual, np.float32),
            change=self._at(scaling.change, np.float32),
            angles=self._at(modes.angles, np.int64),
            inertia=self._at(modes.inertia),
            decode=self._matrix(decode.reshape(len(decode), -1).T),
            encode=self._matrix(basis.reshape(len(basis), -1)),
            angle_modes=self._matrix(angle_modes.reshape(len(decode), -1).T),
            last=self._matrix(modes.last),
            enter=self._network(weights, "predictor.enter"),
            leave=self._network(weights, "predictor.leave", weights["predictor.direct.weight"]),
            start=self._matrix(enter[:, :features], weights["corrector.enter.bias"]),
            step=self._matrix(enter[:, features:]),
            out=self._network(weights, "corrector.leave", weights["corrector.direct.weight"]),
            gate=self._network(weights, "corrector.gate"),
            mixed=self._matrix(weights["corrector.mixed.weight"]),
            layers=ctypes.addressof(layers),
            corrector_layers=ctypes.addressof(corrector_layers),
        )
        self._layers_kept = layers, corrector_layers
        self.address = ctypes.addressof(self.struct)

    @classmethod
    def of(cls, operator: TrajectoryOperator) -> Learned:
        """That of an operator, made when it is first asked for."""
        found = cls._known.get(operator)
        if found is None:
            found = cls._known[operator] = cls(operator)
        return found

    def _at(self, array: np.ndarray, kind: type = np.float64) -> int:
        self._arrays.append(np.ascontiguousarray(array, kind))
        return address_of(self._arrays[-1])

    def _matrix(self, weights: np.ndarray, bias: np.ndarray | None = None) -> _Matrix:
        """In panels of rows, with zeros after the last."""
        rows, columns = weights.shape
        panels = np.zeros((-(-rows // PANEL) * PANEL, columns), np.float32)
        # Numbers too small for normal ones would each take as long as a hundred others.
        panels[:rows] = np.where(np.abs(weights) < SMALLEST, 0.0, weights)
        ordered = panels.reshape(-1, PANEL, columns).transpose(0, 2, 1)
        return _Matrix(
            weights=self._at(ordered, np.float32),
            bias=None if bias is None else self._at(bias, np.float32),
            rows=rows,
            columns=columns,
        )

    def _network(self, weights: dict, name: str, *beside: np.ndarray) -> _Matrix:
        """A layer with its bias; what is beside it is applied to further inputs."""
        whole = np.concatenate([weights[f"{name}.weight"], *beside], axis=1)
        return self._matrix(whole, weights[f"{name}.bias"])

    def _layers(self, weights: dict, part: str) -> ctypes.Array[_Matrix]:
        number = sum(name.startswith(f"{part}.hidden.") for name in weights) // 2
        found = [self._network(weights, f"{part}.hidden.{k}") for k in range(number)]
        return (_Matrix * max(number, 1))(*found)


@dataclass(frozen=True, kw_only=True)
class CompiledPiece(OperatorPiece):
    """Windows of the operator that the library shows."""

    library: Library

    def fill(
        self,
        times: Float[np.ndarray, " time"],
        rows: Int[np.ndarray, " row"],
        found: Float[np.ndarray, "scenario time row"],
    ) -> None:
        """See :class:`Piece`."""
        modes, window = self.modes, self.window
        deviations = np.ascontiguousarray(self.coefficients.T) @ modes.of_states(rows)
        first = np.ascontiguousarray(self.x[rows].T)
        arrays = {
            "of": self.scenarios,
            "begin": self.begin,
            "end": self.end,
            "times": np.ascontiguousarray(times, float),
            "spectrum": np.ascontiguousarray(window.spectrum),
            "first": first,
            "deviations": deviations,
            "out": found,
        }
        self.library.views(
            _Views(
                count=len(self.scenarios),
                outputs=len(times),
                rows=len(rows),
                nodes=len(window.nodes),
                degrees=len(window.spectrum),
                horizon=window.horizon,
                rounding=ROUNDING,
                **{name: address_of(array) for name, array in arrays.items()},
            )
        )


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
        demand: _Demand,
        state: dict[str, np.ndarray],
        p: Parameters,
    ) -> None:
        self.grid, self.library, self.operator = grid, library, operator
        self.learned, self.demand, self.p = Learned.of(operator), demand, p
        names = list(library.names)
        ends = np.cumsum([0, *(len(p[name]) for name in names)]).tolist()
        place = dict(zip(names, ends, strict=False))
        self._places = np.array([place[name] for name in PARAMETERS], np.int64)
        self._rows = np.array([len(p[name]) for name in PARAMETERS], np.int64)
        self._state = state
        self.course = _Course(
            scenarios=len(state["t"]),
            parameters=len(PARAMETERS),
            online=place.get("online", -1),
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
        demand = _Demand(
            bound=certificate.bound,
            factor=certificate.factor,
            residual=certificate.residual,
            floor=certificate.floor,
            classical=certificate.classical,
            step=certificate.step,
            tolerance=tolerance,
            end=end,
            first=FIRST,
            slowest=SLOWEST,
            unsteady=UNSTEADY,
            grows=GROWS,
            at_once=at_once,
            shortest=shortest,
            parts=tuple(parts),
            doubt=tuple(doubt),
            corrections=certificate.corrections,
            refuse=refuse,
        )
        return cls(grid, library, operator, demand, state, p)

    def advance(
        self, scenarios: Int[np.ndarray, " scenario"], stop: Float[np.ndarray, " every"]
    ) -> tuple[OperatorPiece, Bool[np.ndarray, " scenario"]]:
        """Windows of some scenarios, each until somebody has to look; which were refused one.

        Args:
            scenarios: Which.
            stop: Where each of all scenarios has to stop, seconds.
        """
        course, learned = self.course, self.learned.struct
        network = np.ascontiguousarray(self.grid.networks(self.p), np.int64)
        topology = np.ascontiguousarray(self.p["network"], np.int64)
        z = self.grid.machine_impedances.table(topology)
        order = np.argsort(network[scenarios], kind="stable")
        sorted_ = np.ascontiguousarray(scenarios[order], np.int64)
        t: np.ndarray = self._state["t"]
        whole = (stop[scenarios] - t[scenarios]) / learned.horizon
        capacity = int(np.ceil(whole).sum()) + 2 * len(scenarios)
        states = len(self.grid.states)
        of, begin, end = np.empty(capacity, np.int64), np.empty(capacity), np.empty(capacity)
        first = np.empty((capacity, states))
        coefficients = np.empty((capacity, learned.modes), np.float32)
        refused = np.empty(len(scenarios), bool)
        course.count, course.capacity, course.accepted = len(scenarios), capacity, 0
        course.list, course.topology, course.stop = map(address_of, (sorted_, topology, stop))
        course.z, course.impedances = address_of(z), z.shape[1]
        course.of, course.begin, course.end = map(address_of, (of, begin, end))
        course.first, course.coefficients = address_of(first), address_of(coefficients)
        course.refused = address_of(refused)
        self.library.windows(self.p, network, self.learned.address, self.demand, course)
        done = course.accepted
        found = np.empty(len(scenarios), bool)
        found[order] = refused
        piece = CompiledPiece(
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

"""An operator as the compiled library reads it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np

from dae_solver.compiled.dae import address_of
from dae_solver.hybrid.structures import LearnedStruct, Matrix
from dae_solver.model.features import MOVE
from dae_solver.model.operator import TrajectoryOperator
from scimind.typing import Float

# Rows of a panel and columns of a chunk of a matrix, see compiled/networks.h.
PANEL, CHUNK = 8, 64
# Rows and columns of a tile of the processor's matrix unit, and whether that is used where there is
# one: in the networks, whose proposals the equations judge, with numbers of 16 bits.
TILE, DEEP, TILED = 16, 32, True
SMALLEST = 1e-30
# Bytes of a line of the cache.
LINE = 64


class Learned:
    """An operator as the library reads it."""

    _known: ClassVar[WeakKeyDictionary[TrajectoryOperator, Learned]] = WeakKeyDictionary()

    def __init__(self, operator: TrajectoryOperator) -> None:
        self._arrays: list[np.ndarray] = []
        self.parts = _parts(operator)
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
        self.struct = LearnedStruct(
            nodes=nodes,
            modes=len(modes.basis),
            width=len(enter),
            features=features,
            hidden=len(layers),
            experts=experts,
            machines=len(modes.angles),
            degrees=len(window.spectrum),
            horizon=window.horizon,
            move=MOVE,
            times=self._at(window.times),
            points=self._at(window.points),
            spectrum=self._at(window.spectrum),
            gauss=self._at(at_gauss.at, np.float32),
            at_nodes=self._at(at_nodes.integrate, np.float32),
            at_gauss=self._at(at_gauss.integrate, np.float32),
            weight=self._at(modes.weight, np.float32),
            center=self._at(scaling.center, np.float32),
            spread=self._at(scaling.spread, np.float32),
            reach=self._at(scaling.reach, np.float32),
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
            start=self._matrix(enter[:, :features], weights["corrector.enter.bias"], halves=1),
            step=self._matrix(enter[:, features:], halves=1),
            out=self._network(weights, "corrector.leave", weights["corrector.direct.weight"]),
            gate=self._network(weights, "corrector.gate"),
            mixed=self._matrix(weights["corrector.mixed.weight"], halves=1),
            layers=ctypes.addressof(layers),
            corrector_layers=ctypes.addressof(corrector_layers),
        )
        self._layers_kept = layers, corrector_layers
        self.address = ctypes.addressof(self.struct)

    @classmethod
    def of(cls, operator: TrajectoryOperator) -> Learned:
        """That of an operator, made when it is first asked for."""
        found = cls._known.get(operator)
        if found is None or any(
            a is not b for a, b in zip(found.parts, _parts(operator), strict=True)
        ):
            found = cls._known[operator] = cls(operator)
        return found

    def _at(self, array: np.ndarray, kind: type = np.float64) -> int:
        self._arrays.append(_aligned(np.asarray(array, kind)))
        return address_of(self._arrays[-1])

    def _matrix(
        self, weights: np.ndarray, bias: np.ndarray | None = None, *, halves: int = 2
    ) -> Matrix:
        rows, columns = weights.shape
        tiled = TILED and rows >= PANEL  # fewer do not pay
        return Matrix(
            weights=self._at(arranged(weights), np.float32),
            bias=None if bias is None else self._at(_whole(bias), np.float32),
            tiles=self._at(tiles(weights, halves), np.uint16) if tiled else None,
            rows=rows,
            columns=columns,
            halves=halves,
        )

    def _network(self, weights: Mapping[str, np.ndarray], name: str, *beside: np.ndarray) -> Matrix:
        """A layer with its bias; what is beside it is applied to further inputs."""
        whole = np.concatenate([weights[f"{name}.weight"], *beside], axis=1)
        return self._matrix(whole, weights[f"{name}.bias"], halves=1)

    def _layers(self, weights: Mapping[str, np.ndarray], part: str) -> ctypes.Array[Matrix]:
        number = sum(name.startswith(f"{part}.hidden.") for name in weights) // 2
        found = [self._network(weights, f"{part}.hidden.{k}") for k in range(number)]
        return (Matrix * max(number, 1))(*found)


def arranged(weights: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " weight"]:
    """In chunks of columns, each in panels of rows, with zeros after the last row."""
    whole = _whole(_normal(weights))
    panels = whole.reshape(-1, PANEL, whole.shape[1]).transpose(0, 2, 1)
    chunks = [panels[:, at : at + CHUNK].ravel() for at in range(0, whole.shape[1], CHUNK)]
    found: np.ndarray = np.concatenate(chunks).astype(np.float32)
    return found


def tiles(weights: Float[np.ndarray, "row column"], halves: int) -> np.ndarray:
    """In tiles of rows, each of tiles of columns, each in halves of 16 bits whose sum they are."""
    rows, columns = weights.shape
    left = np.pad(_normal(weights), [(0, -rows % TILE), (0, -columns % DEEP)]).astype(np.float32)
    parts = []
    for _ in range(halves):
        parts.append(_rounded(left))
        left = left - (parts[-1].astype(np.uint32) << 16).view(np.float32)
    whole = np.stack(parts).reshape(halves, -1, TILE, left.shape[1] // DEEP, DEEP)
    found: np.ndarray = whole.transpose(1, 3, 0, 2, 4).ravel()
    return found


def _rounded(numbers: Float[np.ndarray, "row column"]) -> np.ndarray:
    """The upper halves of numbers of 32 bits."""
    found: np.ndarray = ((numbers.view(np.uint32) + np.uint32(0x8000)) >> 16).astype(np.uint16)
    return found


def _normal(weights: np.ndarray) -> np.ndarray:
    """Numbers too small for normal ones would each take as long as a hundred others."""
    return np.where(np.abs(weights) < SMALLEST, 0.0, weights)


def _aligned(array: np.ndarray) -> np.ndarray:
    """Row after row, from the beginning of a line of the cache."""
    room = np.empty(array.nbytes + LINE, np.uint8)
    first = -room.__array_interface__["data"][0] % LINE
    found: np.ndarray = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


def _whole(rows: np.ndarray) -> np.ndarray:
    """With zeros up to a whole number of panels."""
    return np.pad(rows, [(0, -len(rows) % PANEL)] + [(0, 0)] * (rows.ndim - 1))


def _parts(operator: TrajectoryOperator) -> tuple[Any, ...]:
    """What training replaces."""
    return operator.weights, operator.scaling, operator.modes

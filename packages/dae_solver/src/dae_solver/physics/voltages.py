"""Voltages of the buses with devices for given states of the machines, for a batch of scenarios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_solver.physics.converters import Converters
from dae_solver.physics.mathematics import NumPyMath
from dae_solver.physics.models.loads import LoadModel
from dae_solver.physics.terms import Terms
from dae_solver.solver.anderson import Anderson
from scimind.typing import Bool, Float, Int

MOST_ROUNDS = 40
# So many rounds are plain, which is cheap and enough for most scenarios.
PLAIN_ROUNDS = 2
# Scenarios that are done leave the batch once the rest is below this share of it.
REST = 0.3

# Which columns have which network: its number, first column, end.
Columns = list[tuple[int, int, int]]


@dataclass(kw_only=True)
class Devices:
    """How currents of the devices depend on voltages, in a frame that turns with the machines.

    Those of the machines are ``source - added V + beyond V`` with the constant admittances
    ``added`` of the network's matrix; those of the loads follow their model.

    Attributes:
        beyond: ``[2, 2, machine, scenario]``, or without machines where all have the constant
            admittance.
        loads: ``v0``, ``P0 / v0^2``, ``Q0 / v0^2``, and ``alpha`` and ``beta`` where scenarios have
            their own, each ``[load, scenario]``.
        converters: From :meth:`Converters.held`, in the turning frame; empty without converters.
        terms: From :meth:`Terms.of_loads`; empty where loads follow their model alone.
    """

    beyond: np.ndarray
    loads: dict[str, np.ndarray]
    converters: dict[str, np.ndarray]
    terms: dict[str, np.ndarray]

    def take(self, columns: Any) -> Devices:
        """Those of some scenarios."""
        return Devices(
            beyond=self.beyond.take(columns, -1),
            loads={name: each.take(columns, -1) for name, each in self.loads.items()},
            converters={name: each.take(columns, -1) for name, each in self.converters.items()},
            terms={name: each.take(columns, -1) for name, each in self.terms.items()},
        )


@dataclass(kw_only=True)
class Matrices:
    """Parts of the networks' matrices for the buses whose devices vary, the inner ones.

    Attributes:
        all_inner: Whether the inner voltages are all, in order.
        inner: Rows of the inner buses among all voltages.
        outer: Rows of the other buses.
        at: Inner bus of each varying device, or None where they are the same in order.
        from_source: Inner voltages by the currents of all machines, one matrix for each network.
        from_inner: Inner voltages by the currents of the varying devices.
        to_outer: Outer voltages by both.
    """

    all_inner: bool
    inner: Int[np.ndarray, " inner"]
    outer: Int[np.ndarray, " outer"]
    at: np.ndarray | None
    from_source: list[np.ndarray]
    from_inner: list[np.ndarray]
    to_outer: list[np.ndarray]


class VoltageSolver:
    """The network's equations, solved with currents of the devices that follow the voltages.

    The matrix of a network has constant admittances of the devices in it, of machines with unequal
    transient reactances and of loads as they are at the operating point. Both depend on the angle
    of the voltage, so everything is seen in a frame that turns with the machines. What varies, and
    only that, takes part in the rounds; the first are plain, the others accelerated by Anderson's
    method. Scenarios that are done leave the batch.

    Attributes:
        rounds: Of the last solution.

    Args:
        added: Admittances of all devices in the matrices, ``[device, 2, 2]``: of machines, then
            loads, then converters.
        device_at: Bus of each device.
        machines: How many devices are machines.
        loads: Model of the loads.
        converters: The last devices.
        terms: What is added to the loads.

    Source: Stott, Proc. IEEE 67, 219 (1979), partitioned solution.
    """

    def __init__(
        self,
        added: Float[np.ndarray, "device 2 2"],
        device_at: Int[np.ndarray, " device"],
        machines: int,
        loads: LoadModel,
        converters: Converters,
        terms: Terms,
    ) -> None:
        self.device_at, self.machines = device_at, machines
        self.load_model, self.converters, self.terms = loads, converters, terms
        self._blocks = added
        # Of loads and converters, [2, 2, device, 1].
        self.added = np.moveaxis(added[machines:], 0, -1)[..., None]
        # Of each network: currents by voltages at the buses, voltages by currents with what the
        # devices add, both [2 bus, 2 bus], and that, [bus, 2, 2].
        self.admittances: list[np.ndarray] = []
        self.inverses: list[np.ndarray] = []
        self.at_buses: list[np.ndarray] = []
        self.rounds = 0
        self._matrices: dict[int, Matrices] = {}

    def add(self, y: Float[np.ndarray, "row column"], tripped: Bool[np.ndarray, " machine"]) -> int:
        """One more network, by its matrix; returns the number by which it is named.

        Args:
            y: Currents by voltages at the buses, real parts then imaginary parts.
            tripped: Machines that have no admittance.
        """
        half = len(y) // 2
        blocks = self._blocks.copy()
        blocks[: self.machines][tripped] = 0.0
        at_buses = np.zeros((half, 2, 2))
        np.add.at(at_buses, self.device_at, blocks)
        matrix, bus = y.copy(), np.arange(half)
        for row, column in np.ndindex(2, 2):
            matrix[row * half + bus, column * half + bus] += at_buses[:, row, column]
        self.admittances.append(np.ascontiguousarray(y))
        self.inverses.append(np.linalg.inv(matrix))
        self.at_buses.append(at_buses)
        return len(self.inverses) - 1

    def solve(
        self,
        source: Float[np.ndarray, "part scenario"],
        devices: Devices,
        y: Float[np.ndarray, "algebraic scenario"],
        turn: tuple[np.ndarray, np.ndarray],
        network: Int[np.ndarray, " scenario"],
        tolerance: float,
    ) -> tuple[Float[np.ndarray, "algebraic scenario"], Float[np.ndarray, " scenario"]]:
        """Voltages from a guess.

        Args:
            source: Currents of all machines without voltage, in the turning frame, real parts then
                imaginary parts, ``[2 machine, scenario]``.
            devices: The rest of all currents.
            y: Guess, real parts then imaginary parts, in the frame at rest.
            turn: Cosine and sine of the frame's angle in each scenario.
            network: Of each scenario.
            tolerance: A scenario is done when a round moves its voltages by no more.

        Returns:
            Voltages, and how far the last round moved them.
        """
        varying = devices.beyond.shape[2]
        parts = self._matrices.get(varying)
        if parts is None or len(parts.from_inner) < len(self.inverses):
            parts = self._parts(varying)
        order = None
        if len(network) > 1 and (network != network[0]).any():
            order = np.argsort(network, kind="stable")
            y, network, devices = y.take(order, 1), network[order], devices.take(order)
            source = source.take(order, 1)
            turn = turn[0][order], turn[1][order]
        columns = [(int(network[0]), 0, len(network))] if order is None else _columns(network)
        v, currents, moved = self._rounds(
            parts, source, devices, y, turn, network, columns, tolerance
        )
        if not parts.all_inner:
            every = np.concatenate([source, currents])
            rest = _product(parts.to_outer, every, columns)
            whole = np.empty_like(y)
            whole[parts.inner], whole[parts.outer] = v, rest
            v = whole
        found = rotated(v, *turn)
        if order is None:
            return found, moved
        out, size = np.empty_like(found), np.empty_like(moved)
        out[:, order], size[order] = found, moved
        return out, size

    def _rounds(
        self,
        parts: Matrices,
        source: np.ndarray,
        devices: Devices,
        y: np.ndarray,
        turn: tuple[np.ndarray, np.ndarray],
        network: np.ndarray,
        columns: Columns,
        tolerance: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inner voltages, currents of the varying devices, and how far the last round moved."""
        base = _product(parts.from_source, source, columns)
        if not len(parts.inner):
            self.rounds = 0
            return base, np.zeros((0, len(network))), np.zeros(len(network))
        inner = y if parts.all_inner else y[parts.inner]
        v = rotated(inner, turn[0], -turn[1])
        varying = Varying(self, devices, parts.at)
        anderson = Anderson()
        live: np.ndarray | None = None
        found = kept = moved = np.zeros(0)
        for number in range(MOST_ROUNDS):
            self.rounds = number + 1
            currents = varying.currents(v)
            new = _product(parts.from_inner, currents, columns)
            new += base
            change = new - v
            size = np.abs(change).max(0)
            open_ = ~(size <= tolerance)
            left = int(np.count_nonzero(open_)) if number < MOST_ROUNDS - 1 else 0
            if left == 0 and live is None:
                return new, currents, size
            if left < REST * len(size):
                if live is None:
                    found, kept, moved = np.empty_like(new), np.empty_like(currents), size.copy()
                    live = np.arange(len(size))
                rest = np.flatnonzero(open_) if left else np.zeros(0, int)
                done = np.flatnonzero(~open_) if left else np.arange(len(size))
                to = live[done]
                found[:, to], kept[:, to], moved[to] = new[:, done], currents[:, done], size[done]
                if not left:
                    break
                live, network, base = live[rest], network[rest], base.take(rest, 1)
                v, new, change = v.take(rest, 1), new.take(rest, 1), change.take(rest, 1)
                columns = _columns(network)
                varying = Varying(self, varying.devices.take(rest), parts.at)
                anderson.take(rest)
            v = anderson.next(new, change, plain=number < PLAIN_ROUNDS)
        return found, kept, moved

    def _parts(self, varying: int) -> Matrices:
        """The matrices where so many machines vary (none or all), of all networks up to now."""
        moving = np.arange(self.machines - varying, len(self.device_at))
        if varying not in self._matrices:
            buses = len(self.at_buses[0])
            inner = np.array(list(dict.fromkeys(self.device_at[moving].tolist())), int)
            outer = np.setdiff1d(np.arange(buses), inner)
            place = {bus: k for k, bus in enumerate(inner.tolist())}
            at = np.array([place[bus] for bus in self.device_at[moving].tolist()], int)
            self._matrices[varying] = Matrices(
                all_inner=np.array_equal(inner, np.arange(buses)),
                inner=np.concatenate([inner, buses + inner]),
                outer=np.concatenate([outer, buses + outer]),
                at=None if len(at) == len(inner) else at,
                from_source=[],
                from_inner=[],
                to_outer=[],
            )
        found = self._matrices[varying]
        buses = len(self.at_buses[0])
        source, moving = (
            np.concatenate([at, buses + at])
            for at in (self.device_at[: self.machines], self.device_at[moving])
        )
        for each in self.inverses[len(found.from_inner) :]:
            found.from_source.append(each[np.ix_(found.inner, source)])
            found.from_inner.append(each[np.ix_(found.inner, moving)])
            found.to_outer.append(each[np.ix_(found.outer, np.concatenate([source, moving]))])
        return found


class Varying:
    """Currents of the varying devices beyond their constant admittances."""

    def __init__(self, solver: VoltageSolver, devices: Devices, at: np.ndarray | None) -> None:
        self.devices, self.at = devices, at
        machines, scenarios = devices.beyond.shape[2:]
        self.load_model, self.converters = solver.load_model, solver.converters
        self.terms = solver.terms
        loads, rest = len(devices.loads["v0"]), solver.added.shape[2]
        self.of_loads = slice(machines, machines + loads)
        self.of_converters = slice(machines + loads, machines + rest)
        self.added = solver.added[:, :, :loads]
        self.blocks = np.empty((2, 2, machines + rest, scenarios))
        self.blocks[:, :, :machines] = devices.beyond
        self.blocks[:, :, self.of_converters] = solver.added[:, :, loads:]
        follows = not self.load_model.linear or "alpha" in devices.loads
        self.linear = not (follows or self.terms.at_loads)
        if self.linear:
            self._set(*self._admittances(devices.loads["v0"]))

    def _admittances(self, size: np.ndarray) -> tuple[Any, Any]:
        """``g`` and ``b`` of the loads' admittances ``g - j b`` at a voltage magnitude."""
        load = self.devices.loads
        active, reactive = self.load_model.factors(
            NumPyMath, size, load["v0"], load.get("alpha"), load.get("beta")
        )
        g, b = active * load["p"], reactive * load["q"]
        if terms := self.devices.terms:
            g, b = self.terms.admittances(g, -b, size, terms)
            b = -b
        return g, b

    def _set(self, g: Any, b: Any) -> None:
        """Admittances ``g - j b`` of the loads."""
        blocks, added = self.blocks[:, :, self.of_loads], self.added
        np.subtract(added[0, 0], g, out=blocks[0, 0])
        np.subtract(added[0, 1], b, out=blocks[0, 1])
        np.add(added[1, 0], b, out=blocks[1, 0])
        np.subtract(added[1, 1], g, out=blocks[1, 1])

    def currents(self, v: np.ndarray) -> np.ndarray:
        """At voltages of the inner buses, both ``[part, scenario]``."""
        pairs = v.reshape(2, -1, v.shape[1])
        if self.at is not None:
            pairs = pairs[:, self.at]
        real, imag = pairs
        if not self.linear:
            lr, li = real[self.of_loads], imag[self.of_loads]
            size = lr * lr
            size += li * li
            self._set(*self._admittances(np.sqrt(size, out=size)))
        found = self.blocks[:, 0] * real
        found += self.blocks[:, 1] * imag
        if held := self.devices.converters:
            at = self.of_converters
            found[:, at] += np.array(self.converters.currents(held, real[at], imag[at]))
        out: np.ndarray = found.reshape(-1, v.shape[1])
        return out


def rotated(
    v: Float[np.ndarray, "part scenario"], cos: np.ndarray, sin: np.ndarray
) -> Float[np.ndarray, "part scenario"]:
    """Voltages, real parts then imaginary parts, times ``cos + j sin``."""
    half = len(v) // 2
    # Columns picked by their numbers come in Fortran order.
    found: np.ndarray = np.multiply(v, cos, order="C")
    found[:half] -= v[half:] * sin
    found[half:] += v[:half] * sin
    return found


def _columns(network: np.ndarray) -> Columns:
    """Where each network is among columns that are sorted by it."""
    cut = (np.flatnonzero(network[1:] != network[:-1]) + 1).tolist()
    begin = [0, *cut]
    return list(zip(network[begin].tolist(), begin, [*cut, len(network)], strict=True))


def _product(matrices: Sequence[np.ndarray], right: np.ndarray, columns: Columns) -> np.ndarray:
    """Products with the matrix of each scenario's network."""
    if len(columns) == 1:
        found: np.ndarray = matrices[columns[0][0]] @ right
        return found
    found = np.empty((len(matrices[0]), right.shape[1]))
    for number, begin, end in columns:
        np.matmul(matrices[number], right[:, begin:end], out=found[:, begin:end])
    return found

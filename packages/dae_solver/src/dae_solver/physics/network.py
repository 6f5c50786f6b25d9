"""Admittance matrices: of the network as built, with outages and faults, and reduced to devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dae_solver.physics.case import BusId, Case
from scimind.errors import InputError
from scimind.typing import Float, Shaped


@dataclass(frozen=True)
class Topology:
    """What differs from the network as built.

    Attributes:
        out: Branches out of service.
        shunts: Admittances to ground by bus position, such as faults; complex, per unit.
        strength: Factors of branch admittances that are not 1, by branch position: 0.5 is a double
            circuit of which one is open.
    """

    out: frozenset[int] = frozenset()
    shunts: frozenset[tuple[int, complex]] = frozenset()
    strength: frozenset[tuple[int, float]] = frozenset()

    def without(self, branches: Iterable[int]) -> Topology:
        """With more branches out of service."""
        return replace(self, out=self.out | set(branches))

    def closing(self, branches: Iterable[int]) -> Topology:
        """With branches back in service."""
        return replace(self, out=self.out - set(branches))

    def adding(self, bus: int, admittance: complex) -> Topology:
        """With one more admittance to ground."""
        return replace(self, shunts=self.shunts | {(bus, admittance)})

    def removing(self, bus: int) -> Topology:
        """Without the admittances at a bus."""
        return replace(self, shunts=frozenset(each for each in self.shunts if each[0] != bus))


@dataclass
class Network:
    """The buses and branches of a case as arrays.

    Attributes:
        case: Where they come from.
        position: Of each bus in the arrays.
        start: Bus position at the start of each branch.
        end: Bus position at its end.
        built: Branches that are out of service in the case.
    """

    case: Case
    position: dict[BusId, int] = field(init=False)
    start: np.ndarray = field(init=False)
    end: np.ndarray = field(init=False)
    built: Topology = field(init=False)

    def __post_init__(self) -> None:
        case = self.case
        self.position = {bus.id: number for number, bus in enumerate(case.buses)}
        if len(self.position) < len(case.buses):
            ids = [bus.id for bus in case.buses]
            twice = next(i for i in ids if ids.count(i) > 1)
            raise InputError(f"bus {twice} is given twice", rule="power.bus")
        self.start = np.array([self.at(b.from_bus, f"branch {b.id}") for b in case.branches], int)
        self.end = np.array([self.at(b.to_bus, f"branch {b.id}") for b in case.branches], int)
        for branch in case.branches:
            if branch.r == 0 and branch.x == 0:
                raise InputError(
                    f"branch {branch.id} has no impedance (r = x = 0); join its buses "
                    f"{branch.from_bus} and {branch.to_bus}, or give it a small reactance",
                    rule="power.impedance",
                )
        out = {number for number, branch in enumerate(case.branches) if not branch.in_service}
        self.built = Topology(frozenset(out))

    def at(self, bus: BusId, what: str) -> int:
        """Position of a bus.

        Raises:
            InputError: There is no such bus.
        """
        if bus not in self.position:
            known = ", ".join(map(str, list(self.position)[:10]))
            raise InputError(
                f"{what} is at bus {bus!r}, which does not exist; buses are: {known} …",
                rule="power.bus",
            )
        return self.position[bus]

    def find(self, bus: BusId, what: str) -> int:
        """Position of a bus that a user names; the text ``"7"`` is a bus whose number is 7.

        Raises:
            InputError: There is no such bus.
        """
        return self.at(self._named(bus), what)

    def _named(self, bus: BusId) -> BusId:
        known = bus in self.position or not isinstance(bus, str) or not bus.isdecimal()
        return bus if known else int(bus)

    def branch(self, id: str | tuple[BusId, BusId]) -> int:
        """Position of a branch by its id, or by its two buses where one branch joins them.

        The buses are a pair, or joined by a hyphen, in any order: ``(5, 7)`` or ``"7-5"``.

        Raises:
            InputError: There is none, or more than one.
        """
        ids = [branch.id for branch in self.case.branches]
        if isinstance(id, str):
            if id in ids:
                return ids.index(id)
            ends = id.split("-")
            found = self._joining(*map(self._named, ends)) if len(ends) == 2 else []
            if not found:
                raise InputError(
                    f"there is no branch {id!r}; branches are: {', '.join(ids[:10])} …",
                    rule="power.branch",
                )
        else:
            ends = [str(each) for each in id]
            for each in id:
                self.find(each, f"branch {id}")
            found = self._joining(*map(self._named, id))
        if len(found) != 1:
            listed = f": {', '.join(ids[k] for k in found)}" if found else ""
            raise InputError(
                f"{len(found)} branches join the buses {ends[0]} and {ends[1]}{listed}; "
                "name one by its id",
                rule="power.branch",
            )
        return found[0]

    def _joining(self, one: BusId, other: BusId) -> list[int]:
        """Positions of the branches between two buses, in either direction."""
        pair = {self.position.get(one), self.position.get(other)}
        return [k for k in range(len(self.start)) if {int(self.start[k]), int(self.end[k])} == pair]

    def admittance(self, topology: Topology) -> Shaped[np.ndarray, "bus bus"]:
        """The complex bus admittance matrix, loads and machines not included."""
        number = len(self.case.buses)
        matrix = np.zeros((number, number), complex)
        strength = dict(topology.strength)
        for k, branch in enumerate(self.case.branches):
            if k in topology.out:
                continue
            i, j = self.start[k], self.end[k]
            factor = strength.get(k, 1.0)
            y = factor / complex(branch.r, branch.x)
            ratio = branch.tap * np.exp(1j * branch.shift)
            half = factor * 0.5j * branch.b
            begin, end = complex(branch.g_from, branch.b_from), complex(branch.g_to, branch.b_to)
            matrix[i, i] += (y + half + factor * begin) / abs(ratio) ** 2
            matrix[j, j] += y + half + factor * end
            matrix[i, j] -= y / np.conj(ratio)
            matrix[j, i] -= y / ratio
        for shunt in self.case.shunts:
            place = self.at(shunt.bus, f"shunt {shunt.id}")
            matrix[place, place] += complex(shunt.g, shunt.b)
        for bus, admittance in topology.shunts:
            matrix[bus, bus] += admittance
        return matrix

    def islands(self, topology: Topology) -> list[set[int]]:
        """Positions of buses that are joined, one set for each island."""
        joined: dict[int, set[int]] = {k: {k} for k in range(len(self.case.buses))}
        for k in range(len(self.start)):
            if k in topology.out:
                continue
            one, other = joined[int(self.start[k])], joined[int(self.end[k])]
            if one is not other:
                one |= other
                for bus in other:
                    joined[bus] = one
        return list({id(island): island for island in joined.values()}.values())

    def check_connected(self, topology: Topology, what: str) -> None:
        """Refuse a topology with an island, which has no angle reference of its own.

        Raises:
            InputError: Some buses are apart from the rest.
        """
        islands = sorted(self.islands(topology), key=len)
        if len(islands) > 1:
            apart = ", ".join(str(self.case.buses[k].id) for k in sorted(islands[0])[:10])
            raise InputError(
                f"{what} leaves the island of {len(islands[0])} buses ({apart}); only connected "
                "networks are simulated: choose another branch, or trip what is in the island too",
                rule="power.island",
            )


@dataclass(frozen=True, kw_only=True)
class Reduced:
    """A network seen from the buses that have devices, as real matrices.

    A complex vector is its real parts followed by its imaginary parts. Currents flow into the
    network.

    Attributes:
        y: ``I = Y V`` at the device buses, ``[2 device_bus, 2 device_bus]``.
        expand: Voltages of all buses from those of the device buses, ``[2 bus, 2 device_bus]``.
    """

    y: Float[np.ndarray, "row column"]
    expand: Float[np.ndarray, "all column"]


def reduce(
    admittance: Shaped[np.ndarray, "bus bus"],
    kept: Sequence[int] | np.ndarray,
) -> Reduced:
    """Eliminate the buses without devices.

    Args:
        admittance: Of all buses.
        kept: Positions of the device buses.

    Source: Kron (1939); Sauer, Pai and Chow, Power System Dynamics and Stability, 7.9.
    """
    kept = np.asarray(kept)
    number = len(admittance)
    rest = np.setdiff1d(np.arange(number), kept)
    from_kept = np.zeros((number, len(kept)), complex)
    from_kept[kept] = np.eye(len(kept))
    y = admittance[np.ix_(kept, kept)]
    if len(rest):
        from_kept[rest] = -np.linalg.solve(
            admittance[np.ix_(rest, rest)], admittance[np.ix_(rest, kept)]
        )
        y = y + admittance[np.ix_(kept, rest)] @ from_kept[rest]
    return Reduced(y=as_real(y), expand=as_real(from_kept))


def as_real(matrix: Shaped[np.ndarray, "row column"]) -> Float[np.ndarray, "row2 column2"]:
    """The real matrix that acts on real and imaginary parts as a complex one acts on numbers."""
    return np.block([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]])


def complex_of(v: Float[np.ndarray, "*part"]) -> Shaped[np.ndarray, "*half"]:
    """Complex numbers from real parts followed by imaginary parts on the first axis."""
    half = len(v) // 2
    found: np.ndarray = v[:half] + 1j * v[half:]
    return found

"""Transformers of PSS/E: winding, impedance and magnetising codes.

A winding is an ideal transformer between its bus and the inside, where the impedance is; its ratio
is per unit of the bus's base voltage.

Source: PSS/E Program Operation Manual, transformer data.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dae_solver.physics.case import Branch, Bus, BusId
from dae_solver.physics.io.psse_records import Record
from dae_solver.physics.io.rules import LEAST_IMPEDANCE

_THRESHOLD = 1e-4
"""Reactance that stands for none at a star point, as the default of PSS/E, pu."""
_OUT = {0: {1, 2, 3}, 1: set(), 2: {2}, 3: {3}, 4: {1}}
"""Windings that are out of service, by STAT of three windings."""


class Transformer:
    """A two- or three-winding transformer.

    Args:
        records: Its four or five lines.
        buses: By number.
        mva: System base.
    """

    def __init__(self, records: list[Record], buses: Mapping[BusId, Bus], mva: float) -> None:
        self.first, self.second, self.windings = records[0], records[1], records[2:]
        self.notes: list[str] = []
        self.mva, self.first_bus = mva, self.first.whole(0, "I")
        self.ends = [self.first.whole(k, "IJK"[k]) for k in range(len(self.windings))]
        self.kv = [buses[end].base_kv if end in buses else 0.0 for end in self.ends]
        circuit = self.first.text(3, "CKT", "1")
        self.id = "-".join([*map(str, self.ends), circuit])
        self.cw = self._code(4, "CW")
        self.cz = self._code(5, "CZ")
        self.cm = self._code(6, "CM", most=2)
        self.status = self.first.whole(11, "STAT", 1)
        if self.status not in (_OUT if len(self.ends) == 3 else (0, 1)):
            raise self.first.refuse(
                f"transformer {self.id} has STAT = {self.status}; it is 0 or 1, and with three "
                "windings also 2, 3 or 4",
                "psse.code",
            )

    def _code(self, place: int, name: str, most: int = 3) -> int:
        value = self.first.whole(place, name, 1)
        if not 1 <= value <= most:
            raise self.first.refuse(
                f"transformer {self.id} has {name} = {value}; it is 1 to {most}", "psse.code"
            )
        return value

    def branches(self) -> list[Branch]:
        """One branch, or three to a star point."""
        if len(self.ends) == 2:
            first, second = self._ratio(0), self._ratio(1)
            r, x = self._impedance(0, "1-2")
            # Seen from the second bus.
            branch = self._branch(0, self.ends[1], self.id, first / second)
            branch.r, branch.x = r * second * second, x * second * second
            branch.in_service = self.status == 1
            return [branch]
        (r1, x1), (r2, x2), (r3, x3) = (
            self._impedance(3 * k, name) for k, name in enumerate(("1-2", "2-3", "3-1"))
        )
        star_r = [(r1 + r3 - r2) / 2, (r1 + r2 - r3) / 2, (r2 + r3 - r1) / 2]
        star_x = [(x1 + x3 - x2) / 2, (x1 + x2 - x3) / 2, (x2 + x3 - x1) / 2]
        made = []
        for k in range(3):
            branch = self._branch(k, self.star, f"{self.id} winding {k + 1}", self._ratio(k))
            branch.r, branch.x = star_r[k], star_x[k]
            if abs(complex(branch.r, branch.x)) < LEAST_IMPEDANCE:
                branch.x = _THRESHOLD
                self.notes.append(f"{branch.id} has no impedance: {_THRESHOLD:g} pu is taken")
            branch.in_service = k + 1 not in _OUT[self.status]
            made.append(branch)
        return made

    @property
    def star(self) -> str:
        """Name of the star point."""
        return f"star {self.id}"

    def star_bus(self) -> Bus:
        """The star point, per unit on 1 kV."""
        v = self.second.positive(9, "VMSTAR", 1.0)
        angle = math.radians(self.second.number(10, "ANSTAR", 0.0))
        return Bus(id=self.star, name=self.first.text(10, "NAME", ""), v=v, angle=angle)

    def _branch(self, k: int, end: BusId, id: str, tap: float) -> Branch:
        """A winding without its impedance; the first carries the magnetising admittance."""
        shift = math.radians(self.windings[k].number(2, f"ANG{k + 1}", 0.0))
        # At the bus, and not inside, where the branch has its own.
        g, b = (each * tap * tap for each in self._magnetising()) if k == 0 else (0.0, 0.0)
        return Branch(
            id=id,
            from_bus=self.ends[k],
            to_bus=end,
            r=0.0,
            x=0.0,
            g_from=g,
            b_from=b,
            tap=tap,
            shift=shift,
        )

    def _ratio(self, k: int) -> float:
        """Ratio of winding ``k`` per unit of its bus's base voltage."""
        record, kv = self.windings[k], self.kv[k]
        if self.cw == 1:
            return record.positive(0, f"WINDV{k + 1}", 1.0)
        if not kv > 0:
            raise record.refuse(
                f"transformer {self.id} has CW = {self.cw}, which needs the base voltage of bus "
                f"{self.ends[k]}; give its BASKV",
                "psse.base",
            )
        if self.cw == 2:
            return record.positive(0, f"WINDV{k + 1}", kv) / kv
        nominal = record.number(1, f"NOMV{k + 1}", 0.0) or kv
        return record.positive(0, f"WINDV{k + 1}", 1.0) * nominal / kv

    def _impedance(self, place: int, name: str) -> tuple[float, float]:
        """Resistance and reactance between two windings, per unit on the system base."""
        record = self.second
        r = record.number(place, f"R{name}", 0.0)
        x = record.number(place + 1, f"X{name}")
        base = record.positive(place + 2, f"SBASE{name}", self.mva)
        if self.cz == 1:
            return r, x
        if self.cz == 3:  # load loss in watts, and size of the impedance
            size, r = x, r / (1e6 * base)
            if abs(size) < abs(r):
                raise record.refuse(
                    f"transformer {self.id} has an impedance of {size:g} pu and a load loss that "
                    f"means a resistance of {r:g} pu; correct R{name} and X{name} (CZ = 3)",
                    "psse.code",
                )
            x = math.copysign(math.sqrt((size - r) * (size + r)), size)
        return r * self.mva / base, x * self.mva / base

    def _magnetising(self) -> tuple[float, float]:
        """Conductance and susceptance at the first bus, per unit on the system base."""
        g, b = self.first.number(7, "MAG1", 0.0), self.first.number(8, "MAG2", 0.0)
        if self.cm == 1 or (g == 0 and b == 0):
            return g, b
        # No-load loss in watts, and exciting current on SBASE1-2, both at nominal voltage.
        nominal = self.windings[0].number(1, "NOMV1", 0.0)
        square = (self.kv[0] / nominal) * (self.kv[0] / nominal) if nominal and self.kv[0] else 1.0
        g = g / (1e6 * self.mva) * square
        size = abs(b) * self.second.positive(2, "SBASE1-2", self.mva) / self.mva * square
        if size < abs(g):
            raise self.first.refuse(
                f"transformer {self.id} has an exciting current of {size:g} pu and a loss of {g:g} "
                "pu, which cannot be more; correct MAG1 and MAG2 (CM = 2)",
                "psse.code",
            )
        return g, -math.sqrt((size - g) * (size + g))

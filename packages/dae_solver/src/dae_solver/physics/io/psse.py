"""PSS/E power flow files, ``.raw`` of versions 30 to 34, with dynamic models from a ``.dyr``.

Limits of reactive power, switching of shunts and taps, and interchange are not modelled: generators
hold their set-points, shunts their initial susceptance, transformers their ratio.

Source: PSS/E Program Operation Manual, power flow raw data file.
"""

from __future__ import annotations

import math
from pathlib import Path

from dae_solver.physics.case import Branch, Bus, BusId, Case, Generator, Load, Shunt
from dae_solver.physics.io.psse_dynamics import Unit, add_dyr
from dae_solver.physics.io.psse_records import Record, read_sections
from dae_solver.physics.io.psse_transformers import Transformer
from dae_solver.physics.io.rules import check_case

_UNSUPPORTED = {
    "two-terminal dc": (3, 1),
    "vsc dc": (3, 1),
    "multi-terminal dc": (1, None),
    "facts": (1, 3),
    "gne": (1, None),
    "induction machine": (1, 2),
    "switching device": (1, 16),
}
"""Sections without a model here: lines of a record, and place of a status that is 0 when out."""
_LEFT_OUT = {
    "impedance correction": "transformer impedances do not follow their taps",
    "multi-section line": "its members are lines of their own",
}


def read_raw(path: str | Path, dyr: str | Path | None = None) -> Case:
    """A case, with its dynamic models where their file is given.

    Raises:
        InputError: The version is not supported, a record is damaged or of a device without a model
            here, or the case breaks a rule.
    """
    path = Path(path)
    header, version, sections = read_sections(path)
    mva = header.positive(1, "SBASE", 100.0)
    case = Case(name=path.stem, mva=mva, frequency=header.positive(5, "BASFRQ", 60.0))
    if len(header.values) < 6:
        case.notes.append("the file names no frequency: 60 Hz")
    reader = _Reader(case, version, sections)
    reader.refuse_unsupported()
    reader.buses()
    reader.loads()
    reader.shunts()
    units = reader.generators()
    reader.lines()
    reader.transformers()
    reader.notes()
    if dyr is not None:
        add_dyr(case, Path(dyr), units)
    return check_case(case, path)


class _Reader:
    """Fills a case from the sections of a file."""

    def __init__(self, case: Case, version: int, sections: dict[str, list[Record]]) -> None:
        self.case, self.version, self.sections = case, version, sections
        self.by_number: dict[BusId, Bus] = {}
        self.isolated: set[int] = set()
        self.regulated: set[int] = set()
        self.slack: set[int] = set()
        self.dropped: list[str] = []

    def refuse_unsupported(self) -> None:
        for name, (lines, status) in _UNSUPPORTED.items():
            for record in self.sections[name][::lines]:
                if status is None or record.whole(status, "its status", 1) != 0:
                    raise record.refuse(
                        f"the file has {name} data, for which there is no model here; remove the "
                        "record, or set its status to 0",
                        "psse.device",
                    )

    def buses(self) -> None:
        case = self.case
        place = 8 if self.version < 31 else 7
        for record in self.sections["bus"]:
            number, kind = record.whole(0, "I"), record.whole(3, "IDE", 1)
            if kind not in (1, 2, 3, 4):
                raise record.refuse(f"bus {number} has IDE = {kind}; it is 1 to 4", "psse.code")
            if kind == 4:
                self.isolated.add(number)
                self.dropped.append(f"bus {number}")
                continue
            bus = Bus(
                id=number,
                name=record.text(1, "NAME", ""),
                base_kv=record.number(2, "BASKV", 0.0),
                v=record.positive(place, "VM", 1.0),
                angle=math.radians(record.number(place + 1, "VA", 0.0)),
            )
            case.buses.append(bus)
            self.by_number[number] = bus
            if kind != 1:
                self.regulated.add(number)
            if kind == 3:
                self.slack.add(number)
            if self.version < 31:
                self._shunt(record, f"{number}-bus", number, 4)

    def loads(self) -> None:
        case, other = self.case, 0
        for record in self.sections["load"]:
            bus = record.whole(0, "I")
            id = f"{bus}-{record.text(1, 'ID', '1')}"
            if record.whole(2, "STATUS", 1) == 0 or self._isolated(f"load {id}", bus):
                continue
            p, q, ip, iq, yp, yq = (
                record.number(5 + k, name, 0.0)
                for k, name in enumerate(("PL", "QL", "IP", "IQ", "YP", "YQ"))
            )
            other += any((ip, iq, yp, yq))
            v = self.by_number[bus].v if bus in self.by_number else 1.0
            p, q = p + (ip + yp * v) * v, q + (iq - yq * v) * v
            case.loads.append(Load(id=id, bus=bus, p=p / case.mva, q=q / case.mva))
        if other:
            case.notes.append(
                f"{other} loads have constant currents or admittances; their power is that at the "
                "voltages of the file"
            )

    def shunts(self) -> None:
        for record in self.sections["fixed shunt"]:
            bus = record.whole(0, "I")
            id = f"{bus}-{record.text(1, 'ID', '1')}"
            if record.whole(2, "STATUS", 1) != 0 and not self._isolated(f"shunt {id}", bus):
                self._shunt(record, id, bus, 3)
        for record in self.sections["switched shunt"]:
            bus = record.whole(0, "I")
            status = record.whole(3, "STAT", 1) if self.version > 31 else 1
            if status != 0 and not self._isolated(f"switched shunt {bus}", bus):
                b = record.number(9 if self.version > 31 else 7, "BINIT", 0.0) / self.case.mva
                self.case.shunts.append(Shunt(id=f"{bus}-switched", bus=bus, b=b))

    def _shunt(self, record: Record, id: str, bus: int, place: int) -> None:
        g, b = record.number(place, "GL", 0.0), record.number(place + 1, "BL", 0.0)
        if g or b:
            mva = self.case.mva
            self.case.shunts.append(Shunt(id=id, bus=bus, g=g / mva, b=b / mva))

    def generators(self) -> dict[tuple[int, str], Unit | None]:
        """Generators; and what dynamic models need of them, by bus and id."""
        case, remote = self.case, []
        units: dict[tuple[int, str], Unit | None] = {}
        for record in self.sections["generator"]:
            bus, name = record.whole(0, "I"), record.text(1, "ID", "1")
            id = f"{bus}-{name}"
            if self._isolated(f"generator {id}", bus):
                units[bus, name] = None
                continue
            on = record.whole(14, "STAT", 1) != 0
            if on and record.number(12, "XT", 0.0) != 0:
                raise record.refuse(
                    f"generator {id} has a step-up transformer of its own (XT); give it as a "
                    "transformer, and 0 here",
                    "psse.device",
                )
            v_set, held = record.positive(6, "VS", 1.0), record.whole(7, "IREG", 0)
            if held not in (0, bus) and bus in self.by_number:
                v_set = self.by_number[bus].v
                remote.append(id)
            generator = Generator(
                id=id,
                bus=bus,
                p=record.number(2, "PG", 0.0) / case.mva,
                q=record.number(3, "QG", 0.0) / case.mva,
                v_set=v_set if bus in self.regulated else None,
                slack=bus in self.slack,
                angle=self.by_number[bus].angle if bus in self.slack else 0.0,
                mva=record.positive(8, "MBASE", case.mva),
                in_service=on,
            )
            case.generators.append(generator)
            r, x = record.number(9, "ZR", 0.0), record.number(10, "ZX", 1.0)
            units[bus, name] = Unit(generator, r, x)
        if remote:
            case.notes.append(
                f"generators {', '.join(remote)} regulate another bus; they hold the voltage that "
                "their own bus has in the file"
            )
        return units

    def lines(self) -> None:
        later = 10 if self.version >= 34 else 0  # places of a name and nine more ratings
        for record in self.sections["branch"]:
            start, end = record.whole(0, "I"), abs(record.whole(1, "J"))
            id = f"{start}-{end}-{record.text(2, 'CKT', '1')}"
            if self._isolated(f"branch {id}", start, end):
                continue
            g_from, b_from, g_to, b_to = (
                record.number(9 + later + k, name, 0.0)
                for k, name in enumerate(("GI", "BI", "GJ", "BJ"))
            )
            branch = Branch(
                id=id,
                from_bus=start,
                to_bus=end,
                r=record.number(3, "R", 0.0),
                x=record.number(4, "X"),
                b=record.number(5, "B", 0.0),
                g_from=g_from,
                b_from=b_from,
                g_to=g_to,
                b_to=b_to,
                in_service=record.whole(13 + later, "ST", 1) != 0,
            )
            self.case.branches.append(branch)

    def transformers(self) -> None:
        records = self.sections["transformer"]
        place = 0
        while place < len(records):
            first = records[place]
            lines = 4 if first.whole(2, "K", 0) == 0 else 5
            if place + lines > len(records):
                raise first.refuse(
                    f"the transformer has {len(records) - place} lines of {lines}; complete it",
                    "psse.end",
                )
            made = Transformer(records[place : place + lines], self.by_number, self.case.mva)
            place += lines
            if len(made.ends) == 3 and made.status == 0:
                self.case.notes.append(f"transformer {made.id} is out of service and left out")
                continue
            branches = [
                branch
                for branch, end in zip(made.branches(), made.ends, strict=False)
                if not self._isolated(f"transformer {branch.id}", *self._ends(made, end))
            ]
            self.case.branches += branches
            if len(made.ends) == 3 and branches:
                self.case.buses.append(made.star_bus())
                self.case.notes.append(f"transformer {made.id} has three windings: bus {made.star}")
                self.case.notes += made.notes

    @staticmethod
    def _ends(made: Transformer, end: int) -> list[int]:
        """Buses of the branch that begins at ``end``."""
        return made.ends if len(made.ends) == 2 else [end]

    def notes(self) -> None:
        if self.dropped:
            self.case.notes.append(f"isolated, left out: {', '.join(self.dropped)}")
        for name, text in _LEFT_OUT.items():
            if self.sections[name]:
                self.case.notes.append(f"{name} data is left out: {text}")

    def _isolated(self, what: str, *buses: int) -> bool:
        """Whether a device is at an isolated bus, and so left out."""
        if self.isolated.isdisjoint(buses):
            return False
        self.dropped.append(what)
        return True

"""Typed records of a power system; what readers fill and the models are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BusId = int | str


@dataclass(kw_only=True)
class Bus:
    """A node of the network.

    Attributes:
        id: Its number (or name) in the file.
        name: For people.
        base_kv: Base voltage, kV; 0 where the file has none.
        v: Voltage magnitude of the file's solution or guess, per unit.
        angle: Voltage angle of the same, radians.
    """

    id: BusId
    name: str = ""
    base_kv: float = 0.0
    v: float = 1.0
    angle: float = 0.0


@dataclass(kw_only=True)
class Branch:
    """A line or transformer, per unit on the system base.

    Attributes:
        id: Its name in the file, or ``from-to-circuit``.
        from_bus: Where it starts; the tap is on this side.
        to_bus: Where it ends.
        r: Series resistance.
        x: Series reactance.
        b: Total charging susceptance, half at each end.
        g_from: Shunt conductance at the start.
        b_from: Shunt susceptance at the start, besides the charging.
        g_to: Shunt conductance at the end.
        b_to: Shunt susceptance at the end, besides the charging.
        tap: Ratio of the ideal transformer at the start; 1 for a line.
        shift: Its phase shift, radians.
        in_service: Whether it is connected.
    """

    id: str
    from_bus: BusId
    to_bus: BusId
    r: float
    x: float
    b: float = 0.0
    g_from: float = 0.0
    b_from: float = 0.0
    g_to: float = 0.0
    b_to: float = 0.0
    tap: float = 1.0
    shift: float = 0.0
    in_service: bool = True


@dataclass(kw_only=True)
class Shunt:
    """A fixed admittance ``g + j b`` to ground, per unit on the system base."""

    id: str
    bus: BusId
    g: float = 0.0
    b: float = 0.0


@dataclass(kw_only=True)
class Load:
    """A load, per unit on the system base at its initial voltage.

    Attributes:
        id: Its name.
        bus: Where.
        p: Active power taken.
        q: Reactive power taken.
    """

    id: str
    bus: BusId
    p: float
    q: float


@dataclass(kw_only=True)
class Generator:
    """What the power flow needs of a generator, per unit on the system base.

    Attributes:
        id: Its name.
        bus: Where.
        p: Active power; that of the slack follows from the power flow.
        q: Reactive power, where the voltage is not regulated.
        v_set: Voltage that it holds, or None.
        slack: Whether it holds the angle too.
        angle: That angle, radians.
        mva: Rating, MVA.
        in_service: Whether it is connected.
    """

    id: str
    bus: BusId
    p: float
    q: float = 0.0
    v_set: float | None = None
    slack: bool = False
    angle: float = 0.0
    mva: float = 100.0
    in_service: bool = True


@dataclass(kw_only=True)
class Device:
    """A dynamic model of the file with its parameters as written there.

    Attributes:
        model: Name of the model, such as ``GENROU``.
        id: Its name.
        of: What it belongs to: for a machine the generator, for a regulator the machine, for a
            stabiliser the machine.
        parameters: By the names of the model.
        mva: Base of the parameters, MVA.
        kv: Base voltage of the parameters, kV; 0 means that of the bus.
        in_service: Whether it takes part.
    """

    model: str
    id: str
    of: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    mva: float = 100.0
    kv: float = 0.0
    in_service: bool = True


@dataclass(kw_only=True)
class Disturbance:
    """An event that a file brings along; it happens only where it is asked for.

    Attributes:
        kind: ``fault`` or ``toggle``.
        target: Bus of a fault, or id of the device that is switched.
        time: When it begins.
        end: When a fault is cleared.
        x: Fault reactance, per unit.
        r: Fault resistance, per unit.
    """

    kind: str
    target: Any
    time: float
    end: float | None = None
    x: float = 1e-4
    r: float = 0.0


@dataclass(kw_only=True)
class Case:
    """A power system as read from a file.

    Attributes:
        name: For reports.
        mva: System base, MVA.
        frequency: Nominal frequency, hertz.
        buses: In the order of the file.
        branches: Lines and transformers.
        shunts: Fixed admittances.
        loads: Loads.
        generators: For the power flow.
        devices: Dynamic models.
        disturbances: Events of the file.
        notes: What was read and left out, for the log.
    """

    name: str
    mva: float = 100.0
    frequency: float = 60.0
    buses: list[Bus] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    shunts: list[Shunt] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    generators: list[Generator] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

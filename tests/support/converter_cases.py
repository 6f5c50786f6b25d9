"""Cases with converters for tests."""

from __future__ import annotations

from typing import Any

from dae_solver.physics.case import Branch, Bus, Case, Device, Generator
from dae_solver.physics.io import built_in, read_native

CONVERTER = {
    **{"Tg": 0.02, "Rrpwr": 10.0, "Brkpt": 0.9, "Zerox": 0.4, "Lvplsw": 1.0, "Lvpl1": 1.22},
    **{"Volim": 1.2, "Lvpnt1": 0.8, "Lvpnt0": 0.4, "Iolim": -1.3, "Tfltr": 0.02, "Khv": 0.7},
    **{"Iqrmax": 20.0, "Iqrmin": -20.0},
}
CONTROL = {
    **{"PFFLAG": 0.0, "VFLAG": 0.0, "QFLAG": 0.0, "PFLAG": 0.0, "PQFLAG": 0.0, "Vdip": 0.85},
    **{"Vup": 1.2, "Trv": 0.02, "dbd1": -0.05, "dbd2": 0.05, "Kqv": 2.0, "Vref0": 0.0},
    **{"Tp": 0.05, "Kqp": 0.0, "Kqi": 0.1, "Kvp": 1.0, "Kvi": 7.0, "Tiq": 0.02, "Tpord": 0.05},
    **{"PMAX": 1.1, "Imax": 1.3},
}
LOOPS = {
    "PLL1": {"Kp": 0.2, "Ki": 1.0, "Tf": 0.01, "Tp": 0.01},
    "PLL2": {"Kp": 0.6, "Ki": 6.0},
}


def wscc_with_converter(
    loop: str | None = "PLL2", control: dict[str, float] | None = None, **converter: float
) -> Case:
    """The nine-bus system with a converter for its third machine.

    Args:
        loop: Model of the phase-locked loop, or None.
        control: Parameters of the electrical control that differ; None for no control.
        **converter: Parameters of the converter that differ.
    """
    case = read_native(built_in()["wscc9"])
    replace_by_converter(case, "G3", loop, control, mva=120.0, **converter)
    return case


def replace_by_converter(
    case: Case,
    machine: str,
    loop: str | None,
    control: dict[str, float] | None = None,
    *,
    mva: float,
    **converter: float,
) -> None:
    """Put a converter ``C3`` in the place of the machine ``G3`` and its regulators.

    Args:
        case: Where machines have the names of their generators.
        machine: Its name.
        loop: As for :func:`wscc_with_converter`.
        control: The same.
        mva: Base of the converter.
        **converter: Parameters of the converter that differ.
    """
    number = machine[1:]
    case.devices = [device for device in case.devices if device.of != machine]
    unit: dict[str, Any] = {"id": f"C{number}", "of": machine, "mva": mva}
    case.devices.append(Device(model="REGCA1", parameters=CONVERTER | converter, **unit))
    of = f"C{number}"
    if control is not None:
        unit |= {"id": f"E{number}", "of": of}
        case.devices.append(Device(model="REECA1", parameters=CONTROL | control, **unit))
    if loop is not None:
        case.devices.append(Device(model=loop, id=f"P{number}", of=of, parameters=LOOPS[loop]))


def stiff_grid(loop: str, gains: dict[str, float]) -> Case:
    """A converter that supplies next to nothing, close to a source of infinite inertia."""
    case = Case(name="stiff")
    case.buses = [Bus(id=1), Bus(id=2)]
    case.branches = [Branch(id="a", from_bus=1, to_bus=2, r=0.0, x=1e-4)]
    case.generators = [
        Generator(id="inf", bus=1, p=0.0, v_set=1.0, slack=True),
        Generator(id="G", bus=2, p=1e-6),
    ]
    case.devices = [
        Device(model="GENCLS", id="inf", of="inf", parameters={"M": 1e9, "xd1": 1e-6}),
        Device(model="REGCA1", id="C", of="G", parameters=CONVERTER),
        Device(model=loop, id="P", of="C", parameters=gains),
    ]
    return case

"""Electric circuits."""

from __future__ import annotations

from typing import Any

import numpy as np

from dae_solver.solver import Change, DAESystem, StateEvent


def transistor_amplifier(amplitude: float = 0.1, frequency: float = 100.0) -> DAESystem:
    """Two transistors in series amplify a sine; eight node voltages with a singular mass matrix.

    Volt, second, 0 to 0.2. At the end the eighth voltage is 1.2370 V for the default input. Index
    1.

    Source: Rentrop, Roche and Steinebach (1989), in Mazzia and Magherini, Test Set for Initial
    Value Problem Solvers.

    Args:
        amplitude: Of the input, volt.
        frequency: Of the input, hertz.
    """
    supply, thermal, gain, leak = 6.0, 0.026, 0.99, 1e-6
    r0, r = 1000.0, 9000.0
    mass = np.zeros((8, 8))
    for one, other, number in ((0, 1, 1), (3, 4, 3), (6, 7, 5)):
        c = number * 1e-6
        mass[np.ix_([one, other], [one, other])] += c * np.array([[-1.0, 1.0], [1.0, -1.0]])
    mass[2, 2], mass[5, 5] = -2e-6, -4e-6

    def function(t: Any, u: Any, p: Any) -> list[Any]:
        source = p["amplitude"] * np.sin(2 * np.pi * p["frequency"] * t)
        first = leak * (np.exp((u[1] - u[2]) / thermal) - 1)
        second = leak * (np.exp((u[4] - u[5]) / thermal) - 1)
        return [
            (u[0] - source) / r0,
            2 * u[1] / r - supply / r + (1 - gain) * first,
            u[2] / r - first,
            (u[3] - supply) / r + gain * first,
            2 * u[4] / r - supply / r + (1 - gain) * second,
            u[5] / r - second,
            (u[6] - supply) / r + gain * second,
            u[7] / r,
        ]

    half = supply / 2
    return DAESystem.from_mass_matrix(
        mass,
        function,
        variables=[f"u{node}" for node in range(1, 9)],
        parameters={"amplitude": amplitude, "frequency": frequency},
        z0=[0.0, half, half, supply, half, half, supply, 0.0],
    )


def diode_rectifier() -> tuple[DAESystem, list[StateEvent]]:
    """A sine source, an ideal diode and a capacitor with a load resistor.

    While the diode conducts, the capacitor has the voltage of the source and the diode current is
    algebraic; it blocks when this current falls to zero, then the capacitor discharges. From ``t =
    0`` with an empty capacitor the diode conducts until ``tan(w t) = -w R C``, then the voltage
    decays with ``R C`` until the source reaches it again. Ohm, farad, volt, ampere, second.

    Returns:
        The system and its state events.
    """

    def f(t: Any, x: Any, y: Any, p: Any) -> list[Any]:
        return [(y[0] - x[0] / p["R"]) / p["C"]]

    def g(t: Any, x: Any, y: Any, p: Any) -> list[Any]:
        slope = p["U"] * p["w"] * np.cos(p["w"] * t)
        # Conducting, the capacitor follows the source: its current is C u'.
        conducting = y[0] - x[0] / p["R"] - p["C"] * slope
        return [np.where(p["conducts"] > 0.5, conducting, y[0])]

    system = DAESystem.from_callable(
        f,
        g,
        states=["u"],
        algebraics=["i"],
        parameters={"R": 100.0, "C": 1e-4, "U": 10.0, "w": 2 * np.pi * 50, "conducts": 1.0},
        x0=[0.0],
        y0=[0.0],
    )
    return system, [
        StateEvent(
            condition=lambda t, x, y, p: np.where(p["conducts"] > 0.5, y[0], 1.0),
            direction=-1,
            changes=[Change(name="conducts", value=0.0)],
            name="blocks",
        ),
        StateEvent(
            condition=lambda t, x, y, p: np.where(
                p["conducts"] > 0.5, -1.0, p["U"] * np.sin(p["w"] * t) - x[0]
            ),
            direction=1,
            changes=[Change(name="conducts", value=1.0)],
            name="conducts",
        ),
    ]

"""Converter-interfaced generators of a case: converters with their controls and loops together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dae_solver.physics.case import Case, Device
from dae_solver.physics.groups import Group, M, placed, placement
from dae_solver.physics.models import CONTROLS, CONVERTERS, LOOPS
from dae_solver.physics.models.controls import REECA1, Commands, Seen
from dae_solver.physics.models.converters import REGCA1, Terminal
from dae_solver.physics.models.loops import Loop
from dae_solver.physics.powerflow import PowerFlow
from scimind.errors import InputError
from scimind.typing import Float


class Converters:
    """All converters of a case; each supplies a current that follows its states and its voltage.

    A converter without a phase-locked loop works at the angle of its voltage, so that near a bolted
    fault there may be no voltage that fits its current: the scenario fails, and a loop is needed.
    One without an electrical control keeps the currents of the start.

    Parameters of the equations, each ``[converter]``: ``order_p`` and ``order_q`` (set-points of
    the electrical control, see :class:`REECA1`; without one active and reactive current),
    ``v_start`` and ``q_start`` (voltage and reactive power at the start, per unit), and where given
    ``connected`` (0 for a converter that is tripped: it supplies no current and stays as it is).

    Args:
        case: What was read.
        first: Row of the first state.
        math: The functions that the equations use.

    Attributes:
        ids: Names of the converters.
        generators: Position of each one's generator in the case.
        parameters: Names of the parameters above.

    Raises:
        InputError: A device belongs to nothing, or a converter has two of one kind.
    """

    parameters = ("order_p", "order_q", "v_start", "q_start")

    def __init__(self, case: Case, first: int, math: Any) -> None:
        self.m, self.case, self.end = math, case, first
        devices = [device for device in case.devices if device.in_service]
        units = [device for device in devices if device.model in CONVERTERS]
        self.ids = [device.id for device in units]
        place = {g.id: k for k, g in enumerate(case.generators) if g.in_service}
        for device in units:
            if device.of not in place:
                raise InputError(
                    f"{device.model} {device.id} belongs to the generator {device.of!r}, which "
                    "does not exist or is out of service",
                    rule="power.converter",
                )
        self.generators = np.array([place[device.of] for device in units], int)
        self.units: list[Group[REGCA1]] = self._grouped(devices, CONVERTERS)
        self.controls: list[Group[REECA1]] = self._grouped(devices, CONTROLS)
        self.loops: list[Group[Loop]] = self._grouped(devices, LOOPS)
        for loop in self.loops:
            loop.model.frequency = case.frequency
        self._of_controls = placement(self.controls, len(self))
        self._of_loops = placement(self.loops, len(self))

    def __len__(self) -> int:
        return len(self.ids)

    def _grouped(self, devices: Sequence[Device], classes: Mapping[str, type[M]]) -> list[Group[M]]:
        place = {id: k for k, id in enumerate(self.ids)}
        taken: dict[str, str] = {}
        found = []
        for name, kind in classes.items():
            members = [device for device in devices if device.model == name]
            for device in members:
                owner = device.id if name in CONVERTERS else device.of
                if owner not in place:
                    raise InputError(
                        f"{name} {device.id} belongs to the converter {owner!r}, which does not "
                        "exist or is out of service; converters are: "
                        f"{', '.join(self.ids[:10]) or 'none'}",
                        rule="power.device",
                    )
                if owner in taken:
                    raise InputError(
                        f"converter {owner} has two of one kind, {taken[owner]} and {device.id}; "
                        "keep one",
                        rule="power.device",
                    )
                taken[owner] = device.id
            if members:
                of = [place[d.id if name in CONVERTERS else d.of] for d in members]
                kv = [0.0] * len(members)  # no parameter is an impedance
                made = kind(members, mva=self.case.mva, kv=kv, math=self.m)
                found.append(Group(made, self.end, np.array(of, int)))
                self.end = found[-1].end
        return found

    def groups(self) -> Iterator[Group[Any]]:
        """Devices of all models, in the order of their states."""
        yield from self.units
        yield from self.controls
        yield from self.loops

    def start(self, flow: PowerFlow, buses: np.ndarray, x: np.ndarray) -> dict[str, np.ndarray]:
        """Write the states at rest into ``x``.

        Args:
            flow: The power flow.
            buses: Position of each converter's bus.
            x: ``[state, scenario]``.

        Returns:
            The parameters.

        Raises:
            InputError: A limit is exceeded.
        """
        v, s = flow.v[buses], flow.supply[self.generators]
        size = np.abs(v)
        order_p, order_q = s.real / size, s.imag / size
        for unit in self.units:
            unit.set(x, unit.model.initial(v[unit.of], s[unit.of])[0])
        for control in self.controls:
            of = control.of
            rows, order_q[of] = control.model.initial(size[of], s.real[of], s.imag[of])
            order_p[of] = s.real[of]
            control.set(x, rows)
        for loop in self.loops:
            loop.set(x, loop.model.initial(np.angle(v[loop.of])))
        return dict(zip(self.parameters, (order_p, order_q, size, s.imag), strict=True))

    def held(self, x: Any, p: Any, turn: Any = 0.0) -> dict[str, Any]:
        """What currents follow from besides the voltages, in a frame at the angle ``turn``.

        Returns:
            By name, each ``[converter, scenario]``: states, cosine and sine of the angles of the
            loops, and parameters of the converters that scenarios have of their own.
        """
        (unit,) = self.units
        states, own = unit.view(x), f"{unit.model.name}."
        found = {name: states[name] for name in ("i_active", "i_reactive")}
        found |= {n: value for n, value in p.items() if n.startswith(own) or n == "connected"}
        angles = [loop.model.angle(loop.view(x)) for loop in self.loops]
        if angles:
            angle = (angles[0] if len(angles) == 1 else self.m.concat(angles)) - turn
            found |= {"cos": self.m.cos(angle), "sin": self.m.sin(angle)}
        return found

    def _terminal(self, held: Mapping[str, Any], v_real: Any, v_imag: Any) -> Terminal:
        m = self.m
        size = m.maximum(m.sqrt(v_real * v_real + v_imag * v_imag), 1e-12)
        cos, sin = (
            placed(m, part / size, self._of_loops, [held[name]] if name in held else [])
            for part, name in ((v_real, "cos"), (v_imag, "sin"))
        )
        along, across = v_real * cos + v_imag * sin, v_imag * cos - v_real * sin
        return Terminal(size=size, along=along, across=across, cos=cos, sin=sin)

    def _output(self, held: Mapping[str, Any], terminal: Terminal) -> tuple[Any, Any]:
        (unit,) = self.units
        return self._connected(unit.model.output(held, terminal.size, held), held)

    def _connected(self, found: tuple[Any, Any], p: Mapping[str, Any]) -> tuple[Any, Any]:
        """What converters have together with the network, none where one is tripped."""
        if "connected" not in p:
            return found
        return found[0] * p["connected"], found[1] * p["connected"]

    def currents(self, held: Mapping[str, Any], v_real: Any, v_imag: Any) -> tuple[Any, Any]:
        """Currents into the network, real and imaginary parts, ``[converter, scenario]``.

        Args:
            held: From :meth:`held`.
            v_real: Voltages in the same frame, real parts, ``[converter, scenario]``.
            v_imag: Imaginary parts.
        """
        at = self._terminal(held, v_real, v_imag)
        active, reactive = self._output(held, at)
        return active * at.cos + reactive * at.sin, active * at.sin - reactive * at.cos

    def jacobian(
        self, x: np.ndarray, v_real: np.ndarray, v_imag: np.ndarray, p: Mapping[str, np.ndarray]
    ) -> Float[np.ndarray, "2 2 converter scenario"]:
        """Derivatives of the currents by the voltages.

        With a phase-locked loop the angle of the current does not follow the voltage at once;
        without one it turns with it.
        """
        held = self.held(x, p)
        at = self._terminal(held, v_real, v_imag)
        real, imag = self.currents(held, v_real, v_imag)
        (unit,) = self.units
        active, reactive = self._connected(unit.model.output_slopes(held, at.size, held), held)
        by_size = active * at.cos + reactive * at.sin, active * at.sin - reactive * at.cos
        follows = np.ones((len(self), 1))
        for loop in self.loops:
            follows[loop.of] = 0.0
        square = at.size * at.size
        size = v_real / at.size, v_imag / at.size
        angle = -v_imag / square * follows, v_real / square * follows
        return np.array(
            [
                [by_size[0] * size[k] - imag * angle[k] for k in range(2)],
                [by_size[1] * size[k] + real * angle[k] for k in range(2)],
            ]
        )

    def supply(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> tuple[Any, Any]:
        """Active and reactive power into the network, ``[converter, scenario]``."""
        real, imag = self.currents(self.held(x, p), v_real, v_imag)
        return v_real * real + v_imag * imag, v_imag * real - v_real * imag

    def _command(
        self, x: Any, v_real: Any, v_imag: Any, p: Any
    ) -> tuple[Terminal, Any, Any, list[Commands]]:
        """The terminals, commands of active and reactive current, what the controls found."""
        m, held = self.m, self.held(x, p)
        at = self._terminal(held, v_real, v_imag)
        active, reactive = self._output(held, at)
        # V = (along + j across) exp(j angle), I = (active - j reactive) exp(j angle).
        power = at.along * active - at.across * reactive
        other = at.along * reactive + at.across * active
        found = []
        for control in self.controls:
            of = control.of
            seen = Seen(
                v=m.rows(at.along, of),
                active=m.rows(power, of),
                reactive=m.rows(other, of),
                order_p=m.rows(p["order_p"], of),
                order_q=m.rows(p["order_q"], of),
                v_start=m.rows(p["v_start"], of),
            )
            found.append(control.model.run(control.view(x), seen, p))
        return (
            at,
            placed(m, p["order_p"], self._of_controls, [each.active for each in found]),
            placed(m, p["order_q"], self._of_controls, [each.reactive for each in found]),
            found,
        )

    def slopes(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> list[Any]:
        """Derivatives of all states, in their order."""
        m = self.m
        at, active, reactive, found = self._command(x, v_real, v_imag, p)
        (unit,) = self.units
        slopes = unit.model.slopes(unit.view(x), active, reactive, at.size, p["q_start"], p)
        for each in found:
            slopes += each.slopes
        for loop in self.loops:
            real, imag = m.rows(v_real, loop.of), m.rows(v_imag, loop.of)
            slopes += loop.model.slopes(loop.view(x), real, imag, p)
        if "connected" in p:
            of = [group.of for group in self.groups() for _ in group.model.states]
            slopes = [s * m.rows(p["connected"], at) for s, at in zip(slopes, of, strict=True)]
        return slopes

    def bends(self, x: Any, v_real: Any, v_imag: Any, p: Any) -> list[Any]:
        """What changes sign where the equations are not smooth."""
        at, active, reactive, found = self._command(x, v_real, v_imag, p)
        (unit,) = self.units
        bends = unit.model.bends(unit.view(x), active, reactive, at.size, p["q_start"], p)
        for control, each in zip(self.controls, found, strict=True):
            bends += each.bends
            view = control.view(x)
            bends += [view[n] - end for n, ends in control.model.bounds(p).items() for end in ends]
        return bends

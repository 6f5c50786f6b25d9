"""A power system as a differential-algebraic system: models and network put together.

States are those of all models; algebraic variables are the voltages of the buses with devices,
real parts then imaginary parts. Everything is per unit on the system base, angles in radians, time
in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from dae_solver.physics.case import Case, Device
from dae_solver.physics.mathematics import NumPyMath
from dae_solver.physics.models import EXCITERS, GOVERNORS, MACHINES, MODELS, STABILISERS
from dae_solver.physics.models.base import Model
from dae_solver.physics.models.exciters import Exciter, Measured
from dae_solver.physics.models.governors import Governor
from dae_solver.physics.models.loads import LoadModel, jacobian_block
from dae_solver.physics.models.machines import Machine
from dae_solver.physics.models.stabilisers import IEEEST, Signals
from dae_solver.physics.network import Network, Reduced, Topology, complex_of, reduce
from dae_solver.physics.powerflow import PowerFlow, check_machines
from dae_solver.physics.terms import SET_POINTS, Term, Terms
from dae_solver.solver.newton import newton
from dae_solver.solver.parameters import Parameters, spread, take
from dae_solver.solver.system import DAESystem
from scimind.errors import InputError
from scimind.typing import Bool, Float, Shaped

MOST_ITERATIONS = 40

M = TypeVar("M", bound=Model)


class Group(Generic[M]):
    """The devices of one model, and where their states and machines are.

    Attributes:
        model: With the parameters of all its devices.
        rows: Rows of the states, by name.
        of: Position of each device's machine among all machines.
    """

    def __init__(self, model: M, first: int, of: np.ndarray) -> None:
        number = len(model.ids)
        self.model, self.of = model, of
        self.rows = {
            name: slice(first + k * number, first + (k + 1) * number)
            for k, name in enumerate(model.states)
        }
        self.end = first + number * len(model.states)

    def view(self, x: Any) -> dict[str, Any]:
        """The states by name, ``[device, scenario]``."""
        return {name: x[rows] for name, rows in self.rows.items()}


class PowerDAE(DAESystem):
    """The equations of a case.

    Parameters that scenarios and events may change: ``network`` (number of a topology, see
    :meth:`topology`), ``vref`` (set-points of the exciters, ``[machine]``), ``pref`` (of the
    governors, or the constant torque), ``field`` (constant field voltage of machines without
    exciter), ``p0``, ``q0``, ``v0`` (of the loads), ``tm0`` (torque at the start), and where given
    ``online`` (0 for a machine that is tripped: it supplies nothing and rests, ``[machine]``),
    ``alpha`` and ``beta`` (exponents of the loads, ``[load]``), ``kpf`` and ``kqf`` (change of
    their power by the frequency deviation, pu by pu, ``[load]``), every parameter of a model as
    ``MODEL.name``, ``[device]``, and ``term.NAME`` (values of a term).

    Args:
        case: What was read.
        load_model: Of all loads.
        terms: Added to the equations.
        parameters: Values that replace those of the case in all scenarios, by the names above.

    Raises:
        InputError: A device is of an unknown model or belongs to nothing, or a generator has no
            machine.
    """

    def __init__(
        self,
        case: Case,
        load_model: LoadModel | None = None,
        *,
        terms: Sequence[Term] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.m: Any = NumPyMath
        self.case, self.network = case, Network(case)
        self.load_model = load_model or LoadModel()
        self._build_models()
        self._build_buses()
        self.terms = Terms(terms, self)
        self.states += tuple(self.terms.names)
        self.x_scale = np.array([_scale(name) for name in self.states])
        self.given = dict(parameters or {})
        self.topologies: list[Topology] = []
        self._reduced: list[Reduced] = []
        self._inject: list[np.ndarray] = []
        self._known: dict[Topology, int] = {}

    # Structure

    def _build_models(self) -> None:
        case = self.case
        devices = [device for device in case.devices if device.in_service]
        for device in devices:
            if device.model not in MODELS:
                raise InputError(
                    f"{device.model} {device.id} is not supported; models are: "
                    f"{', '.join(sorted(MODELS))}",
                    rule="power.model",
                )
        generators = {g.id: g for g in case.generators if g.in_service}
        machines = [d for kind in MACHINES for d in devices if d.model == kind]
        for device in machines:
            if device.of not in generators:
                raise InputError(
                    f"{device.model} {device.id} belongs to the generator {device.of!r}, which "
                    "does not exist or is out of service",
                    rule="power.machine",
                )
        check_machines(case, {device.of for device in machines})
        self.machine_ids = [device.id for device in machines]
        self._generators = [generators[device.of] for device in machines]
        order = {g.id: k for k, g in enumerate(case.generators)}
        self._generator_of = np.array([order[g.id] for g in self._generators], int)
        place = {device.id: k for k, device in enumerate(machines)}
        kv = {bus.id: bus.base_kv for bus in case.buses}
        first = 0

        def grouped(kind: type[M], classes: Mapping[str, type[M]]) -> list[Group[M]]:
            nonlocal first
            taken: dict[int, str] = {}
            found = []
            for name, model in classes.items():
                members = [d for d in devices if d.model == name]
                if not members:
                    continue
                of = np.array([self._machine(d, place, kind is Machine) for d in members], int)
                for device, machine in zip(members, of.tolist(), strict=True):
                    if machine in taken:
                        raise InputError(
                            f"machine {self.machine_ids[machine]} has two regulators of one kind, "
                            f"{taken[machine]} and {device.id}",
                            rule="power.device",
                        )
                    taken[machine] = device.id
                at = [kv[self._generators[k].bus] for k in of]
                made = model(members, mva=case.mva, kv=at, math=self.m)
                found.append(Group(made, first, of))
                first = found[-1].end
            return found

        self.machines = grouped(Machine, MACHINES)
        for group in self.machines:
            group.model.frequency = case.frequency
            group.model.rows = slice(int(group.of[0]), int(group.of[-1]) + 1)
        self.exciters = grouped(Exciter, EXCITERS)
        self.governors = grouped(Governor, GOVERNORS)
        self.stabilisers = grouped(IEEEST, STABILISERS)
        number = len(machines)
        self._of_exciters = _placement(self.exciters, number)
        self._of_governors = _placement(self.governors, number)
        self._of_stabilisers = _placement(self.stabilisers, number)
        self.states = tuple(
            f"{state}:{device}"
            for group in self._every_group()
            for state in group.model.states
            for device in group.model.ids
        )
        # Base of each machine's torque, for stabilisers that measure it on the machine base.
        self.share = np.array([[d.mva / case.mva] for d in machines])
        inertia = [group.model.value["M"][:, 0] for group in self.machines]
        self.inertia = np.concatenate(inertia) if inertia else np.zeros(0)

    def _every_group(self) -> Iterator[Group[Any]]:
        yield from self.machines
        yield from self.exciters
        yield from self.governors
        yield from self.stabilisers

    def _machine(self, device: Device, place: Mapping[str, int], itself: bool) -> int:
        """Position of the machine that a device belongs to, or that it is."""
        name = device.id if itself else device.of
        if name not in place:
            raise InputError(
                f"{device.model} {device.id} belongs to the machine {name!r}, which does not exist "
                f"or is out of service; machines are: {', '.join(list(place)[:10])}",
                rule="power.device",
            )
        return place[name]

    def _build_buses(self) -> None:
        """Buses with devices; those of the machines come first."""
        network, case = self.network, self.case
        machine = [network.position[g.bus] for g in self._generators]
        load = [network.at(each.bus, f"load {each.id}") for each in case.loads]
        kept = list(dict.fromkeys([*machine, *load]))
        self.kept = np.array(kept, int)
        where = {bus: k for k, bus in enumerate(kept)}
        self.machine_at = np.array([where[bus] for bus in machine], int)
        self.load_at = np.array([where[bus] for bus in load], int)
        self.device_at = np.concatenate([self.machine_at, self.load_at])
        names = [str(case.buses[bus].id) for bus in kept]
        self.algebraics = tuple(f"{part}:{name}" for part in ("v_real", "v_imag") for name in names)
        self.y_scale = np.ones(len(self.algebraics))
        joined = np.zeros((len(kept), len(self.device_at)))
        joined[self.device_at, np.arange(len(self.device_at))] = 1.0
        zero = np.zeros_like(joined)
        # Currents of devices to currents of buses, real parts then imaginary parts.
        self.joined = np.block([[joined, zero], [zero, joined]])

    # Operating point

    def start(
        self, flow: PowerFlow, parameters: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """States at rest, voltages and parameters for the solution of a power flow.

        Args:
            flow: The solution.
            parameters: Of the models and loads; the states are at rest with them.

        Returns:
            ``x [state, scenario]``, ``y [algebraic, scenario]``, parameters.

        Raises:
            InputError: A limit of a regulator is exceeded, or a name is unknown.
        """
        scenarios = flow.v.shape[1]
        given = {**self.given, **(parameters or {})}
        extra = self.extra(given, scenarios)
        if given:
            raise InputError(
                f"{next(iter(given))!r} is no parameter of a model or of the loads",
                rule="power.parameter",
            )
        held = [(group.model, group.model.value) for group in self._every_group()]
        try:
            for model, value in held:
                own = {name: extra.get(f"{model.name}.{name}") for name in value}
                model.value = value | {name: v for name, v in own.items() if v is not None}
            x, y, p = self._rest(flow)
        finally:
            for model, value in held:
                model.value = value
        p |= extra | self.terms.parameters(scenarios)
        self.defaults = {name: value[..., 0] for name, value in p.items()}
        self.x0, self.y0 = x[:, 0], y[:, 0]
        return x, y, p

    def _rest(self, flow: PowerFlow) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        scenarios = flow.v.shape[1]
        places = [self.network.position[g.bus] for g in self._generators]
        v = flow.v[places]
        supply = flow.supply[self._generator_of]
        x = np.zeros((len(self.states), scenarios))
        field, torque = np.zeros(v.shape), np.zeros(v.shape)
        for machine in self.machines:
            of = machine.of
            rows, field[of], torque[of] = machine.model.initial(v[of], supply[of])
            self._set(x, machine, rows)
        vref, pref = np.zeros(v.shape), torque.copy()
        for exciter in self.exciters:
            of = exciter.of
            rows, vref[of] = exciter.model.initial(field[of], np.abs(v[of]))
            self._set(x, exciter, rows)
        for governor in self.governors:
            rows, pref[governor.of] = governor.model.initial(torque[governor.of])
            self._set(x, governor, rows)
        for stabiliser in self.stabilisers:
            seen = self._signals(stabiliser.of, np.ones(v.shape), torque, torque, torque, np.abs(v))
            self._set(x, stabiliser, stabiliser.model.initial(seen))
        load_v = np.abs(flow.v[[self.network.position[load.bus] for load in self.case.loads]])
        p: dict[str, np.ndarray] = {
            "network": np.zeros(scenarios, int),
            "vref": vref,
            "pref": pref,
            "field": field,
            "tm0": torque,
            "p0": flow.p_load,
            "q0": flow.q_load,
            "v0": load_v.reshape(len(self.case.loads), scenarios),
        }
        if not self.topologies:
            self._linearise(flow)
        p["network"][:] = self.topology(self.network.built)
        u = flow.v[self.kept]
        if self.terms:
            p["v_rest"] = np.abs(v)
        return x, np.concatenate([u.real, u.imag]), p

    @staticmethod
    def _set(x: np.ndarray, group: Group[Any], rows: Sequence[Any]) -> None:
        for place, row in zip(group.rows.values(), rows, strict=True):
            x[place] = row

    def _linearise(self, flow: PowerFlow) -> None:
        """Admittances of the devices near the first operating point, for the solution."""
        number = len(self.device_at)
        blocks = np.zeros((number, 2, 2))
        for group in self.machines:
            y = group.model.admittance()
            blocks[group.of, 0, 0] = blocks[group.of, 1, 1] = y.real
            blocks[group.of, 0, 1], blocks[group.of, 1, 0] = -y.imag, y.imag
        machines = len(self.machine_at)
        buses = [self.network.position[load.bus] for load in self.case.loads]
        blocks[machines:] = jacobian_block(
            flow.p_load[:, 0], flow.q_load[:, 0], flow.v[buses, 0], self.load_model.slope()
        )
        self.added = blocks  # [device, 2, 2]
        part = np.arange(number)
        full = np.zeros((2 * number, 2 * number))
        for row in range(2):
            for column in range(2):
                full[row * number + part, column * number + part] = blocks[:, row, column]
        self._added_at_buses = self.joined @ full @ self.joined.T

    def topology(self, topology: Topology) -> int:
        """The number by which the parameter ``network`` names a topology.

        Raises:
            InputError: It is not connected.
        """
        if topology not in self._known:
            self.network.check_connected(topology, self._text(topology))
            made = reduce(self.network.admittance(topology), self.kept, self._added_at_buses)
            self._known[topology] = len(self.topologies)
            self.topologies.append(topology)
            self._reduced.append(made)
            self._inject.append(made.solve @ self.joined)
        return self._known[topology]

    def _text(self, topology: Topology) -> str:
        out = topology.out - self.network.built.out
        ids = ", ".join(self.case.branches[k].id for k in sorted(out))
        return f"the outage of {ids}" if ids else "the network"

    def batch(
        self, scenarios: int, values: Mapping[str, Any] | None = None
    ) -> dict[str, np.ndarray]:
        """The parameters of a batch; those of models may be among them."""
        values = dict(values or {})
        extra = self.extra(values, scenarios)
        return super().batch(scenarios, values) | extra

    def extra(self, values: dict[str, Any], scenarios: int) -> dict[str, np.ndarray]:
        """Of ``values`` those without a default, which are taken out of it."""
        models = {group.model.name: group.model for group in self._every_group()}
        extra: dict[str, np.ndarray] = {
            name: spread(name, np.asarray(values.pop(name), float), 1, scenarios)
            for name in ("online", "alpha", "beta", "kpf", "kqf")
            if name in values
        }
        for name in list(values):
            model, _, parameter = name.partition(".")
            if model in models and parameter in models[model].parameters:
                extra[name] = spread(name, np.asarray(values.pop(name), float), 1, scenarios)
        return extra

    # Equations

    def f(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """Derivatives of all states."""
        m, half = self.m, len(self.kept)
        v_real, v_imag = m.rows(y[:half], self.machine_at), m.rows(y[half:], self.machine_at)
        views = [group.view(x) for group in self.machines]
        stators = [
            group.model.stator(view, v_real[group.model.rows], v_imag[group.model.rows], p)
            for group, view in zip(self.machines, views, strict=True)
        ]
        speed = self._all([view["omega"] for view in views])
        size = m.sqrt(v_real * v_real + v_imag * v_imag)
        added = self.terms.at_machines(x, speed, size, p) if self.terms else {}
        if added:
            p = {**p, **{k: p[k] + added[k] for k in SET_POINTS if k in added}}
        torque, slopes_governor = self._torque(x, speed, p)
        if "torque" in added:
            torque = torque + added["torque"]
        stabiliser, slopes_pss = self._stabilise(x, speed, stators, torque, size, p)
        field, slopes_exciter = self._excite(x, speed, stators, stabiliser, size, p)
        slopes: list[Any] = []
        for group, view, stator in zip(self.machines, views, stators, strict=True):
            rows = group.model.rows
            slopes += group.model.slopes(view, stator, field[rows], torque[rows], p)
        slopes = [*slopes, *slopes_exciter, *slopes_governor, *slopes_pss]
        if "online" in p:
            machines = [g.of for g in self._every_group() for _ in g.model.states]
            slopes = [s * m.rows(p["online"], of) for s, of in zip(slopes, machines, strict=True)]
        found = m.concat(slopes)
        return self.terms.slopes(found, added, x, y, size, p) if self.terms else found

    def _all(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else self.m.concat(parts)

    def _spread(self, base: Any, placement: tuple[Any, Any], parts: list[Any]) -> Any:
        """``base`` with the rows of some machines replaced by ``parts``; see :func:`_placement`."""
        rest, order = placement
        if not parts:
            return base
        found = self._all([*parts, self.m.rows(base, rest)] if len(rest) else parts)
        return found if order is None else self.m.rows(found, order)

    def _torque(self, x: Any, speed: Any, p: Any) -> tuple[Any, list[Any]]:
        parts, slopes = [], []
        for group in self.governors:
            found, torque = group.model.run(
                group.view(x), self.m.rows(speed, group.of), self.m.rows(p["pref"], group.of), p
            )
            slopes += found
            parts.append(torque)
        return self._spread(p["pref"], self._of_governors, parts), slopes

    def _signals(
        self, of: np.ndarray, speed: Any, electric: Any, mechanical: Any, start: Any, v: Any
    ) -> Signals:
        """What stabilisers see of all machines; torques are on the machine base."""
        m, share = self.m, self.share[of]
        return Signals(
            speed=m.rows(speed, of),
            torque=m.rows(electric, of) / share,
            mechanical=m.rows(mechanical, of) / share,
            start=m.rows(start, of) / share,
            v=m.rows(v, of),
        )

    def _stabilise(
        self, x: Any, speed: Any, stators: list[Any], torque: Any, size: Any, p: Any
    ) -> tuple[Any, list[Any]]:
        groups = self.stabilisers
        if not groups:
            return 0.0, []
        electric = self._all([stator.torque for stator in stators])
        parts, slopes = [], []
        for group in groups:
            seen = self._signals(group.of, speed, electric, torque, p["tm0"], size)
            found, out = group.model.run(group.view(x), seen, p)
            slopes += found
            parts.append(out)
        return self._spread(0.0 * speed, self._of_stabilisers, parts), slopes

    def _excite(
        self, x: Any, speed: Any, stators: list[Any], stabiliser: Any, size: Any, p: Any
    ) -> tuple[Any, list[Any]]:
        m = self.m
        current = self._all([stator.field_current for stator in stators])
        parts, slopes = [], []
        for group in self.exciters:
            of = group.of
            seen = Measured(
                v=m.rows(size, of),
                stabiliser=stabiliser if isinstance(stabiliser, float) else m.rows(stabiliser, of),
                field_current=m.rows(current, of),
                speed=m.rows(speed, of),
                reference=m.rows(p["vref"], of),
            )
            found, field = group.model.run(group.view(x), seen, p)
            slopes += found
            parts.append(field)
        return self._spread(p["field"], self._of_exciters, parts), slopes

    def limit(self, t: Any, x: Any, p: Any) -> Any:
        """States with hard limits, within them; ``x`` itself where all are."""
        held = x
        for group in self._every_group():
            for name, value in group.model.limits(group.view(x), p).items():
                rows = group.rows[name]
                if not np.array_equal(value, x[rows]):
                    held = x.copy() if held is x else held
                    held[rows] = value
        return held

    def kinks(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """Where a limit is reached or left, a dead band ends, or a load turns into an impedance."""
        half = len(self.kept)
        rows: list[Any] = []
        speed = self._all([group.view(x)["omega"] for group in self.machines])
        for group in self._every_group():
            rows += group.model.kinks(group.view(x), speed[group.of], p)
        if not self.load_model.linear or "alpha" in p or self.terms:
            v = y[:half][self.load_at] ** 2 + y[half:][self.load_at] ** 2
            rows.append(v - self.load_model.switch**2)
        shape = (1, x.shape[-1])
        return np.concatenate([row + np.zeros(shape) for row in rows])

    # Network

    def _affine(self, x: Any, p: Any) -> Any:
        """Currents of the machines, affine in their voltages."""
        parts = [group.model.affine(group.view(x), p) for group in self.machines]
        if len(parts) == 1:
            return parts[0]
        shape = (1, x.shape[-1])
        return tuple(self.m.concat([each[k] + np.zeros(shape) for each in parts]) for k in range(6))

    def _currents(self, affine: Any, y: Any, p: Any, *, added: bool) -> Any:
        """Currents of all devices into the network, ``[2 device, scenario]``.

        With ``added`` the constant admittances of :meth:`_linearise` are taken out, which the
        solution of the network has in its matrix.
        """
        m, half, machines = self.m, len(self.kept), len(self.machine_at)
        v_real, v_imag = m.rows(y[:half], self.device_at), m.rows(y[half:], self.device_at)
        mr, mi = v_real[:machines], v_imag[:machines]
        lr, li = v_real[machines:], v_imag[machines:]
        a, b, c, d, e, f = affine
        if "online" in p:
            a, b, c, d, e, f = (each * p["online"] for each in affine)
        if added:
            block = self.added[:machines, :, :, None]
            c, d = c + block[:, 0, 0], d + block[:, 0, 1]
            e, f = e + block[:, 1, 0], f + block[:, 1, 1]
        size = m.sqrt(lr * lr + li * li)
        g_load, b_load = self.load_model.admittances(
            m, size, p["v0"], p["p0"], p["q0"], p.get("alpha"), p.get("beta")
        )
        if "seen.frequency" in p:
            g_load, b_load = self.terms.admittances(g_load, b_load, size, p)
        real, imag = b_load * li - g_load * lr, -b_load * lr - g_load * li
        if added:
            block = self.added[machines:, :, :, None]
            real = real + block[:, 0, 0] * lr + block[:, 0, 1] * li
            imag = imag + block[:, 1, 0] * lr + block[:, 1, 1] * li
        return m.concat([a + c * mr + d * mi, real, b + e * mr + f * mi, imag])

    def g(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """Currents into the network less those of the devices, per unit."""
        p = self._seen(x, p)
        currents = self._currents(self._affine(x, p), y, p, added=False)
        y_matrices = [each.y for each in self._reduced]
        return self._by_network(y_matrices, y, p["network"]) - self.joined @ currents

    def _seen(self, x: Any, p: Any) -> Any:
        """The parameters with what the loads see of the states, where something depends on it."""
        if self.terms or "kpf" in p or "kqf" in p:
            return self.terms.seen_by_loads(x, p)
        return p

    def _by_network(self, matrices: Sequence[np.ndarray], right: Any, network: np.ndarray) -> Any:
        """Products with the matrix of each scenario's network."""
        numbers = np.unique(network)
        if len(numbers) == 1:
            return matrices[int(numbers[0])] @ right
        order = np.argsort(network, kind="stable")
        ends = np.searchsorted(network[order], numbers, side="right")
        right = right[:, order]
        found = np.empty((len(matrices[0]), right.shape[1]))
        begin = 0
        for number, end in zip(numbers, ends, strict=True):
            found[:, begin:end] = matrices[int(number)] @ right[:, begin:end]
            begin = int(end)
        out = np.empty_like(found)
        out[:, order] = found
        return out

    def solve(
        self, t: Any, x: Any, y: Any, p: Parameters, tolerance: float
    ) -> tuple[Float[np.ndarray, "algebraic scenario"], Bool[np.ndarray, " scenario"]]:
        """Voltages for given states: the network is solved with currents that follow the voltages.

        The constant admittances near the operating point are in the matrix, so few rounds are
        needed; each scenario is accelerated by Anderson's method of depth 1, and one that does not
        converge gets Newton's method.

        Source: Stott, Proc. IEEE 67, 219 (1979), partitioned solution; Anderson, J. ACM 12, 547
        (1965).
        """
        affine, network, seen = self._affine(x, p), p["network"], self._seen(x, p)
        before = moved = None
        for _ in range(MOST_ITERATIONS):
            currents = self._currents(affine, y, seen, added=True)
            new = self._by_network(self._inject, currents, network)
            change = new - y
            size = np.abs(change).max(0)
            if np.all(size <= tolerance):
                break
            y = new
            if before is not None:
                difference = change - before
                share = (change * difference).sum(0)
                share /= np.maximum((difference * difference).sum(0), 1e-300)
                y = new - np.clip(share, -1.0, 1.0) * (new - moved)
            before, moved = change, new
        good = size <= tolerance
        bad = np.flatnonzero(~good)
        if len(bad):
            times = t[bad] if np.ndim(t) else t
            root = newton(
                self,
                times,
                x[:, bad],
                y[:, bad],
                take(p, bad),
                tolerance=max(tolerance, 1e-10),
                iterations=20,
            )
            new = np.array(new)
            new[:, bad], good[bad] = root.y, root.converged
        return new, good

    def voltages(self, y: Any, network: np.ndarray) -> Shaped[np.ndarray, "bus scenario"]:
        """Complex voltages of all buses."""
        return complex_of(self._by_network([each.expand for each in self._reduced], y, network))

    def rows(self, state: str) -> np.ndarray:
        """Rows of a state of all machines in ``x``, in the order of the machines.

        Raises:
            KeyError: No model has such a state.
        """
        found: dict[int, int] = {}
        for group in self._every_group():
            if state in group.rows:
                begin = group.rows[state].start
                found |= {int(of): begin + k for k, of in enumerate(group.of)}
        if not found:
            raise KeyError(f"no state {state!r} in {self.case.name}")
        return np.array([found[k] for k in sorted(found)], int)


def _placement(groups: Sequence[Group[Any]], machines: int) -> tuple[np.ndarray, np.ndarray | None]:
    """The machines without a device of these groups, and the order that sorts those with one first.

    The order is None where they are sorted already.
    """
    of = [group.of for group in groups]
    rest = np.setdiff1d(np.arange(machines), np.concatenate([np.zeros(0, int), *of]))
    every = np.concatenate([*of, rest])
    return rest, None if np.array_equal(every, np.arange(machines)) else np.argsort(every)


def _scale(state: str) -> float:
    """Typical size of a deviation: a radian, a hertz, or per unit."""
    return 1.0 / 60.0 if state.startswith("omega:") else 1.0

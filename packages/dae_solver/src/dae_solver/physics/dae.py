"""A power system as a differential-algebraic system: models and network put together.

States are those of all models; algebraic variables are the voltages of the buses with devices,
real parts then imaginary parts. Everything is per unit on the system base, angles in radians, time
in seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from dae_solver.physics.case import Case, Device
from dae_solver.physics.converters import Converters
from dae_solver.physics.groups import Group, M, placed, placement, rows_of
from dae_solver.physics.impedances import MachineImpedances
from dae_solver.physics.mathematics import NumPyMath
from dae_solver.physics.models import CONVERTERS, EXCITERS, GOVERNORS, MACHINES, MODELS, STABILISERS
from dae_solver.physics.models.exciters import Exciter, Measured
from dae_solver.physics.models.governors import Governor
from dae_solver.physics.models.loads import LoadModel, slopes_of
from dae_solver.physics.models.machines import Machine
from dae_solver.physics.models.stabilisers import IEEEST, Signals
from dae_solver.physics.network import Network, Reduced, Topology, complex_of, reduce
from dae_solver.physics.powerflow import PowerFlow, check_machines
from dae_solver.physics.powerflow import solve as solve_flow
from dae_solver.physics.terms import SET_POINTS, Term, Terms
from dae_solver.physics.voltages import Devices, VoltageSolver
from dae_solver.solver.newton import newton
from dae_solver.solver.parameters import Parameters, spread, take
from dae_solver.solver.system import DAESystem
from scimind.errors import InputError
from scimind.typing import Bool, Float, Int, Shaped

# Voltages along trajectories are solved for so many at a time.
BLOCK = 4096


class PowerDAE(DAESystem):
    """The equations of a case.

    Parameters that scenarios and events may change: ``network`` (number of a topology, see
    :meth:`topology`), ``vref`` (set-points of the exciters, ``[machine]``), ``pref`` (of the
    governors, or the constant torque), ``field`` (constant field voltage of machines without
    exciter), ``p0``, ``q0``, ``v0`` (of the loads), ``tm0`` (torque at the start), with converters
    those of :class:`~dae_solver.physics.converters.Converters`, with terms ``v_rest`` (voltages of
    the machines at the start), and where given ``online`` (0 for a machine that is tripped: it
    supplies nothing and rests, ``[machine]``), ``alpha`` and ``beta`` (exponents of the loads,
    ``[load]``), ``kpf`` and ``kqf`` (change of their power by the frequency deviation, pu by pu,
    ``[load]``), every parameter of a model as ``MODEL.name``, ``[device]``, and ``term.NAME``
    (values of a term).

    Args:
        case: What was read.
        load_model: Of all loads.
        terms: Added to the equations.
        parameters: Values that replace those of the case in all scenarios, by the names above.

    Raises:
        InputError: A device is of an unknown model or belongs to nothing, a generator has neither
            machine nor converter, or there are converters alone.
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
        self._rows: dict[str, np.ndarray] = {}
        self.case, self.network = case, Network(case)
        self.load_model = load_model or LoadModel()
        self._build_models()
        self._build_buses()
        self.terms = Terms(terms, self)
        self.states += tuple(self.terms.names)
        self.x_scale = np.array([_scale(name) for name in self.states])
        self.given = dict(parameters or {})
        self.topologies: list[Topology] = []
        self._token = secrets.token_hex(8)
        self._with_shunts = np.zeros(0, bool)
        self._reduced: list[Reduced] = []
        # Numbers in the solver: of each topology, and of those with tripped machines.
        self._intact = np.zeros(0, int)
        self._tripped: dict[tuple[int, bytes], int] = {}
        self._known: dict[Topology, int] = {}
        self._impedances: dict[int, np.ndarray] = {}
        # Why the case has no operating point of its own.
        self._no_point = ""

    def in_numpy(self) -> PowerDAE:
        """The same grid, evaluated by NumPy."""
        return self

    @property
    def evaluated_by(self) -> str:
        """What evaluates the equations, for result files."""
        return "NumPy"

    @property
    def identity(self) -> tuple[str, list[Topology]]:
        """What scenarios keep of their grid: a mark that copies share, and what numbers name."""
        return self._token, self.topologies

    @property
    def networks_by(self) -> str:
        """What multiplies for the networks of an operator, and how exactly, for result files."""
        return "NumPy, single precision"

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
        check_machines(case, {d.of for d in devices if d.model in {**MACHINES, **CONVERTERS}})
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
        self.converters = Converters(case, first, self.m)
        number = len(machines)
        if len(self.converters) and not number:
            raise InputError(
                f"all {len(self.converters)} generators of {case.name} are converters, which "
                "follow the angle and frequency of others; give one at least a machine",
                rule="power.machine",
            )
        self._of_exciters = placement(self.exciters, number)
        self._of_governors = placement(self.governors, number)
        self._of_stabilisers = placement(self.stabilisers, number)
        self.states = tuple(
            f"{state}:{device}"
            for group in self._every_group()
            for state in group.model.states
            for device in group.model.ids
        )
        # Base of each machine's torque, for stabilisers that measure it on the machine base.
        self.share = np.array([[d.mva / case.mva] for d in machines])
        self._delta = rows_of(
            np.concatenate([np.zeros(0, int), *(np.r_[g.rows["delta"]] for g in self.machines)])
        )
        inertia = [group.model.value["M"][:, 0] for group in self.machines]
        self.inertia = np.concatenate(inertia) if inertia else np.zeros(0)

    def _every_group(self) -> Iterator[Group[Any]]:
        yield from self._groups_of_machines()
        yield from self.converters.groups()

    def _groups_of_machines(self) -> Iterator[Group[Any]]:
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
        made = self.converters.generators
        self._converter_bus = np.array(
            [network.position[case.generators[k].bus] for k in made], int
        )
        converter = self._converter_bus.tolist()
        kept = list(dict.fromkeys([*machine, *load, *converter]))
        self.kept = np.array(kept, int)
        where = {bus: k for k, bus in enumerate(kept)}
        self.machine_at = np.array([where[bus] for bus in machine], int)
        self._machine_rows = rows_of(self.machine_at)
        self.load_at = np.array([where[bus] for bus in load], int)
        self.converter_at = np.array([where[bus] for bus in converter], int)
        self.device_at = np.concatenate([self.machine_at, self.load_at, self.converter_at])
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
        x, y, p = self._point(flow, parameters)
        if not self.topologies:
            self._linearise(*self._own_point(flow, x, p))
        p["network"][:] = self.topology(self.network.built)
        self.defaults = {name: value[..., 0] for name, value in p.items()}
        self.x0, self.y0 = x[:, 0], y[:, 0]
        return x, y, p

    def _point(
        self, flow: PowerFlow, parameters: Mapping[str, Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
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
        return x, y, p | extra | self.terms.parameters(scenarios)

    def _own_point(
        self, flow: PowerFlow, x: np.ndarray, p: Parameters
    ) -> tuple[PowerFlow, np.ndarray, Parameters]:
        """The operating point of the case itself, whichever scenarios come first.

        Where it has none, that of the first scenario; voltages are then found as well, but
        :meth:`impedances` cannot say what an operator was trained with.
        """
        try:
            own = solve_flow(self.network)
            own_x, _, own_p = self._point(own)
        except InputError as error:
            self._no_point = str(error)
            return flow, x, p
        return own, own_x, own_p

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
            machine.set(x, rows)
        vref, pref = np.zeros(v.shape), torque.copy()
        for exciter in self.exciters:
            of = exciter.of
            rows, vref[of] = exciter.model.initial(field[of], np.abs(v[of]))
            exciter.set(x, rows)
        for governor in self.governors:
            rows, pref[governor.of] = governor.model.initial(torque[governor.of])
            governor.set(x, rows)
        for stabiliser in self.stabilisers:
            seen = self._signals(stabiliser.of, np.ones(v.shape), torque, torque, torque, np.abs(v))
            stabiliser.set(x, stabiliser.model.initial(seen))
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
        if len(self.converters):
            p |= self.converters.start(flow, self._converter_bus, x)
        u = flow.v[self.kept]
        if self.terms:
            p["v_rest"] = np.abs(v)
        return x, np.concatenate([u.real, u.imag]), p

    def _linearise(self, flow: PowerFlow, x: np.ndarray, p: Parameters) -> None:
        """Admittances of the devices at an operating point, for the solution."""
        number, machines = len(self.device_at), len(self.machine_at)
        one, first = x[:, :1], self._seen(x[:, :1], take(p, np.zeros(1, int)))
        affine = self._affine(one, first)
        blocks = np.zeros((number, 2, 2))
        for place, (row, column) in enumerate(np.ndindex(2, 2)):
            blocks[:machines, row, column] = -affine[2 + place][:, 0]
        v = flow.v[self.kept[self.device_at[machines:]], :1]
        blocks[machines:] = -self._slopes(one, v.real, v.imag, first)[..., 0]
        self._angles = x[self._delta, :1]
        # Of the machines, as the currents in _affine: [4 machine, 1].
        self._added = blocks[:machines].reshape(machines, 4).T.reshape(-1, 1)
        self._rounding = 1e-12 * np.abs(self._added).max(initial=0.0)
        full = np.zeros((2, number, 2, number))
        for row, column in np.ndindex(2, 2):
            full[row, :, column] = np.diag(blocks[:, row, column])
        self._at_rest = self.joined @ full.reshape(2 * number, -1) @ self.joined.T
        self.solver = VoltageSolver(
            blocks, self.device_at, machines, self.load_model, self.converters, self.terms
        )

    def _slopes(
        self, x: np.ndarray, v_real: np.ndarray, v_imag: np.ndarray, p: Parameters
    ) -> np.ndarray:
        """Derivatives of the currents of loads and converters by their voltages.

        They are ``[device, 2, 2, scenario]``, the voltages ``[device, scenario]``.
        """
        loads = len(self.load_at)
        real, imag = v_real[:loads], v_imag[:loads]
        if "seen.frequency" in p:
            found = slopes_of(lambda size: self._admittances(size, p), real, imag)
        else:
            found = self.load_model.slopes(
                real, imag, p["v0"], p["p0"], p["q0"], p.get("alpha"), p.get("beta")
            )
        if len(self.converters):
            more = self.converters.jacobian(x, v_real[loads:], v_imag[loads:], p)
            found = np.concatenate([found, more], 2)
        return found.transpose(2, 0, 1, 3)

    def topology(self, topology: Topology) -> int:
        """The number by which the parameter ``network`` names a topology.

        Raises:
            InputError: It is not connected.
        """
        if topology not in self._known:
            self.network.check_connected(topology, self._text(topology))
            made = reduce(self.network.admittance(topology), self.kept)
            self._known[topology] = len(self.topologies)
            self.topologies.append(topology)
            self._reduced.append(made)
            none = np.zeros(len(self.machine_at), bool)
            self._intact = np.append(self._intact, self.solver.add(made.y, none))
        return self._known[topology]

    def impedances(self, topology: int) -> Shaped[np.ndarray, "bus bus"]:
        """Voltage at each device bus for a current into each, in a topology by its number.

        Devices are their linear admittances at the operating point of the case.

        Raises:
            InputError: The case has none.
        """
        if self._no_point:
            raise InputError(
                f"{self.case.name} has no operating point of its own, which operators need: "
                f"{self._no_point}",
                rule="power.flow",
            )
        if topology not in self._impedances:
            half = len(self.kept)
            inverse = np.linalg.inv(self._reduced[topology].y + self._at_rest)
            self._impedances[topology] = inverse[:half, :half] + 1j * inverse[half:, :half]
        return self._impedances[topology]

    @cached_property
    def machine_impedances(self) -> MachineImpedances:
        """Those between the machines' buses, of all topologies."""
        return MachineImpedances(self)

    def admittances(self, topology: int) -> Float[np.ndarray, "algebraic algebraic"]:
        """Currents into the network by the voltages of the device buses, of a topology's number."""
        return self._reduced[topology].y

    def faulted(self, network: Int[np.ndarray, " scenario"]) -> Bool[np.ndarray, " scenario"]:
        """Where the topology has admittances to ground, such as faults."""
        more = self.topologies[len(self._with_shunts) :]
        if more:
            self._with_shunts = np.append(self._with_shunts, [bool(each.shunts) for each in more])
        found: np.ndarray = self._with_shunts[network]
        return found

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
            for name in ("online", "connected", "alpha", "beta", "kpf", "kqf")
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
        v_real, v_imag = m.rows(y[:half], self._machine_rows), m.rows(y[half:], self._machine_rows)
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
            machines = [g.of for g in self._groups_of_machines() for _ in g.model.states]
            slopes = [s * m.rows(p["online"], of) for s, of in zip(slopes, machines, strict=True)]
        if len(self.converters):
            slopes += self.converters.slopes(x, *self._at_converters(y), p)
        found = m.concat(slopes)
        return self.terms.slopes(found, added, x, y, size, p) if self.terms else found

    def _at_converters(self, y: Any) -> tuple[Any, Any]:
        half = len(self.kept)
        return self.m.rows(y[:half], self.converter_at), self.m.rows(y[half:], self.converter_at)

    def _all(self, parts: list[Any]) -> Any:
        return parts[0] if len(parts) == 1 else self.m.concat(parts)

    def _torque(self, x: Any, speed: Any, p: Any) -> tuple[Any, list[Any]]:
        parts, slopes = [], []
        for group in self.governors:
            found, torque = group.model.run(
                group.view(x), self.m.rows(speed, group.at), self.m.rows(p["pref"], group.at), p
            )
            slopes += found
            parts.append(torque)
        return placed(self.m, p["pref"], self._of_governors, parts), slopes

    def _signals(
        self, of: Any, speed: Any, electric: Any, mechanical: Any, start: Any, v: Any
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
            seen = self._signals(group.at, speed, electric, torque, p["tm0"], size)
            found, out = group.model.run(group.view(x), seen, p)
            slopes += found
            parts.append(out)
        return placed(self.m, 0.0 * speed, self._of_stabilisers, parts), slopes

    def _excite(
        self, x: Any, speed: Any, stators: list[Any], stabiliser: Any, size: Any, p: Any
    ) -> tuple[Any, list[Any]]:
        m = self.m
        current = self._all([stator.field_current for stator in stators])
        parts, slopes = [], []
        for group in self.exciters:
            of = group.at
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
        return placed(self.m, p["field"], self._of_exciters, parts), slopes

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
        for group in self._groups_of_machines():
            rows += group.model.kinks(group.view(x), speed[group.of], p)
        if len(self.converters):
            rows += self.converters.bends(x, *self._at_converters(y), p)
        if not self.load_model.linear or "alpha" in p or self.terms.at_loads:
            v = y[:half][self.load_at] ** 2 + y[half:][self.load_at] ** 2
            rows.append(v - self.load_model.switch**2)
        shape = (1, x.shape[-1])
        return np.concatenate([row + np.zeros(shape) for row in rows])

    # Network

    def _affine(self, x: Any, p: Any, turn: Any = None) -> Any:
        """Currents of the machines, affine in their voltages, in a frame at the angle ``turn``."""
        parts = []
        for group in self.machines:
            view = group.view(x)
            if turn is not None:
                view["delta"] = view["delta"] - turn
            parts.append(group.model.affine(view, p))
        if len(parts) == 1:
            return parts[0]
        shape = (1, x.shape[-1])
        return tuple(self.m.concat([each[k] + np.zeros(shape) for each in parts]) for k in range(6))

    def _currents(self, x: Any, y: Any, p: Any, turn: Any = None) -> Any:
        """Currents of all devices into the network, ``[2 device, scenario]``.

        Both are in a frame at the angle ``turn``.
        """
        m, half, machines = self.m, len(self.kept), len(self.machine_at)
        v_real, v_imag = m.rows(y[:half], self.device_at), m.rows(y[half:], self.device_at)
        mr, mi = v_real[:machines], v_imag[:machines]
        loads = slice(machines, machines + len(self.load_at))
        lr, li = v_real[loads], v_imag[loads]
        affine = self._affine(x, p, turn)
        a, b, c, d, e, f = affine
        if "online" in p:
            a, b, c, d, e, f = (each * p["online"] for each in affine)
        g_load, b_load = self._admittances(m.sqrt(lr * lr + li * li), p)
        real, imag = b_load * li - g_load * lr, -b_load * lr - g_load * li
        parts = [[a + c * mr + d * mi, real], [b + e * mr + f * mi, imag]]
        if len(self.converters):
            cr, ci = v_real[loads.stop :], v_imag[loads.stop :]
            held = self.converters.held(x, p, 0.0 if turn is None else turn)
            more = self.converters.currents(held, cr, ci)
            parts = [[*part, each] for part, each in zip(parts, more, strict=True)]
        return m.concat([*parts[0], *parts[1]])

    def _admittances(self, size: Any, p: Any) -> tuple[Any, Any]:
        """Conductance and susceptance of the loads, with terms, at a voltage magnitude."""
        g, b = self.load_model.admittances(
            self.m, size, p["v0"], p["p0"], p["q0"], p.get("alpha"), p.get("beta")
        )
        return self.terms.admittances(g, b, size, p) if "seen.frequency" in p else (g, b)

    def _seen(self, x: Any, p: Any) -> Any:
        """The parameters with what the loads see of the states, where something depends on it."""
        if self.terms.at_loads or "kpf" in p or "kqf" in p:
            return {**p, **self.terms.seen_by_loads(x)}
        return p

    def g(self, t: Any, x: Any, y: Any, p: Any) -> Any:
        """Currents into the network less those of the devices, per unit."""
        currents = self._currents(x, y, self._seen(x, p))
        y_matrices = [each.y for each in self._reduced]
        return self._by_network(y_matrices, y, p["network"]) - self.joined @ currents

    def jacobian_y(
        self, t: Any, x: Any, y: Any, p: Parameters
    ) -> Float[np.ndarray, "scenario row column"]:
        """Derivatives of ``g`` by ``y``: the network's matrix less those of the currents."""
        half, machines, scenarios = len(self.kept), len(self.machine_at), x.shape[-1]
        affine = self._affine(x, p)[2:]
        if "online" in p:
            affine = tuple(each * p["online"] for each in affine)
        blocks = np.empty((len(self.device_at), 2, 2, scenarios))
        for k, (row, column) in enumerate(np.ndindex(2, 2)):
            blocks[:machines, row, column] = affine[k]
        at = self.device_at[machines:]
        blocks[machines:] = self._slopes(x, y[:half][at], y[half:][at], self._seen(x, p))
        at_buses = np.zeros((half, 2, 2, scenarios))
        np.add.at(at_buses, self.device_at, blocks)
        found: np.ndarray = np.array([each.y for each in self._reduced])[p["network"]]
        bus = np.arange(half)
        for row, column in np.ndindex(2, 2):
            found[:, row * half + bus, column * half + bus] -= at_buses[:, row, column].T
        return found

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
        """Voltages for given states; a scenario that does not converge gets Newton's method.

        ``tolerance`` is how far the last round of :class:`VoltageSolver` may move a voltage.
        """
        found, moved = self._iterate(x, y, p, tolerance)
        good = moved <= tolerance
        bad = np.flatnonzero(~good)
        if len(bad):
            root = newton(
                self,
                t[bad] if np.ndim(t) else t,
                x[:, bad],
                y[:, bad],
                take(p, bad),
                tolerance=max(tolerance, 1e-10),
                iterations=20,
            )
            found[:, bad], good[bad] = root.y, root.converged
        return found, good

    def along(
        self,
        x: Float[np.ndarray, "scenario time state"],
        y: Float[np.ndarray, "scenario time algebraic"],
        first: Int[np.ndarray, " scenario"],
        last: Int[np.ndarray, " scenario"],
        guess: Float[np.ndarray, "algebraic scenario"],
        p: Parameters,
        tolerance: float,
    ) -> None:
        """Write voltages for the states of trajectories.

        Args:
            x: States.
            y: Where the voltages are written.
            first: Number of the first time of each scenario.
            last: Number after the last.
            guess: For the first.
            p: Parameters.
            tolerance: See :meth:`solve`.
        """
        number = np.arange(x.shape[1])
        asked = (number >= first[:, None]) & (number < last[:, None])
        self._solve_some(x, y, asked, guess, p, tolerance)

    def _solve_some(
        self,
        x: Float[np.ndarray, "scenario time state"],
        y: Float[np.ndarray, "scenario time algebraic"],
        asked: Bool[np.ndarray, "scenario time"],
        guess: Float[np.ndarray, "algebraic scenario"],
        p: Parameters,
        tolerance: float,
    ) -> None:
        """Write voltages where they are asked for and states are known."""
        rows, columns = np.nonzero(asked)
        for begin in range(0, len(rows), BLOCK):
            r, c = rows[begin : begin + BLOCK], columns[begin : begin + BLOCK]
            known = np.isfinite(x[r, c]).all(1)
            y[r[~known], c[~known]] = np.nan
            r, c = r[known], c[known]
            found, _ = self.solve(0.0, x[r, c].T, guess[:, r], take(p, r), tolerance)
            y[r, c] = found.T

    def _iterate(
        self, x: np.ndarray, y: np.ndarray, p: Parameters, tolerance: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Voltages, and how far the last round moved them."""
        turn = self._turn(x, p)[0]
        source, devices = self._devices(x, p, turn)
        frame = np.cos(turn), np.sin(turn)
        return self.solver.solve(source, devices, y, frame, self.networks(p), tolerance)

    def _turn(self, x: Any, p: Any) -> Any:
        """How far the centre of inertia has turned since the operating point, ``[1, scenario]``."""
        m, every = self.m, np.ones((1, len(self.inertia)))
        weight = self.inertia[:, None]
        if "online" in p:
            weight = weight * p["online"]
        turned = m.matmul(every, weight * (m.rows(x, self._delta) - self._angles))
        return turned / m.maximum(m.matmul(every, weight), 1e-300)

    def networks(self, p: Parameters) -> np.ndarray:
        """Numbers of the networks in the solver; those with tripped machines have their own."""
        found: np.ndarray = self._intact[p["network"]]
        off = p["online"] == 0 if "online" in p else None
        tripped = np.flatnonzero(off.any(0)) if off is not None else ()
        if off is None or not len(tripped):
            return found
        topologies, masks = p["network"][tripped].tolist(), np.ascontiguousarray(off.T[tripped])
        for scenario, topology, mask in zip(tripped, topologies, masks, strict=True):
            key = (topology, mask.tobytes())
            if key not in self._tripped:
                self._tripped[key] = self.solver.add(self._reduced[topology].y, mask)
            found[scenario] = self._tripped[key]
        return found

    def _devices(
        self, x: np.ndarray, p: Parameters, turn: np.ndarray
    ) -> tuple[np.ndarray, Devices]:
        """Currents of the devices as :class:`VoltageSolver` takes them."""
        machines, scenarios = len(self.machine_at), x.shape[-1]
        affine = self._affine(x, p, turn)
        added = self._added
        if "online" in p and (p["online"] != 1).any():
            affine = tuple(each * p["online"] for each in affine)
            added = added * np.tile(p["online"] != 0, (4, 1))
        beyond = np.concatenate(affine[2:]) + added
        if beyond.shape[1] == 1 and np.abs(beyond).max(initial=0.0) <= self._rounding:
            beyond, machines = np.empty((0, scenarios)), 0
        elif beyond.shape[1] < scenarios:
            beyond = np.repeat(beyond, scenarios, 1)
        base = 1.0 / (p["v0"] * p["v0"])
        loads = {"v0": p["v0"], "p": p["p0"] * base, "q": p["q0"] * base}
        loads |= {name: p[name] for name in ("alpha", "beta") if name in p}
        seen = self._seen(x, p)
        return np.concatenate(affine[:2]), Devices(
            beyond=beyond.reshape(2, 2, machines, scenarios),
            loads=loads,
            converters=self.converters.held(x, p, turn) if len(self.converters) else {},
            terms={} if seen is p else self.terms.of_loads(seen),
        )

    def voltages(self, y: Any, network: np.ndarray) -> Shaped[np.ndarray, "bus scenario"]:
        """Complex voltages of all buses."""
        return complex_of(self._by_network([each.expand for each in self._reduced], y, network))

    def converter_power(
        self, x: Any, y: Any, p: Parameters
    ) -> Shaped[np.ndarray, "converter scenario"]:
        """Complex power that each converter supplies, pu."""
        active, reactive = self.converters.supply(x, *self._at_converters(y), p)
        return np.asarray(active + 1j * reactive)

    def rows(self, state: str) -> np.ndarray:
        """Rows of a state of all machines or converters in ``x``, in their order.

        Raises:
            KeyError: No model has such a state.
        """
        if state not in self._rows:
            found: dict[int, int] = {}
            for group in self._every_group():
                if state in group.rows:
                    begin = group.rows[state].start
                    found |= {int(of): begin + k for k, of in enumerate(group.of)}
            if not found:
                raise KeyError(f"no state {state!r} in {self.case.name}")
            self._rows[state] = np.array([found[k] for k in sorted(found)], int)
        return self._rows[state]


def _scale(state: str) -> float:
    """Typical size of a deviation: a radian, a hertz, or per unit."""
    return 1.0 / 60.0 if state.startswith(("omega:", "pll_integral:")) else 1.0

"""Terms that are added to the equations of a grid: what an identification finds, or a user knows.

A term sees signals of the machines or of the loads and adds to a torque, a set-point, a slope or
the power of the loads. What it adds to a load depends on the voltage inside the network equations,
so that ``g`` and its solution stay one and the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE

SET_POINTS = ("pref", "vref", "field")
LOADS = ("load.p", "load.q")
# What terms at machines and at loads may see, and its value at rest.
AT_REST = {
    "machine": {"speed": 0.0, "v": 1.0},
    "load": {"v": 1.0, "frequency": 0.0},
}


class Term:
    """Something added to the equations of all machines, or of all loads.

    Places: ``torque`` (mechanical torque, pu), ``pref``, ``vref``, ``field`` (set-points, pu), the
    name of a state of the machines (its slope, pu/s), ``load.p`` and ``load.q`` (power of each
    load, as a share of its ``p0`` or ``q0``).

    Signals: at machines ``speed`` (omega - 1, pu), ``v`` (terminal voltage by that at rest),
    ``gain`` (1 / droop of the governor, 0 without); at loads ``v`` (voltage by that at rest, not
    below the switch of the load model) and ``frequency`` (pu, see :func:`frequency_divider`);
    the term's own ``states``.

    Attributes:
        name: Names the parameter ``term.NAME``, which scenarios and events may change.
        where: The place.
        states: Names of states of its own, one of each for each machine or load, zero at rest.
        values: Its numbers, ``[value]``.
    """

    name: str
    where: str
    states: tuple[str, ...] = ()
    values: Float[np.ndarray, " value"]

    @property
    def key(self) -> str:
        """Name of its parameter."""
        return f"term.{self.name}"

    def add(self, seen: Mapping[str, Any], values: Any) -> Any:
        """What is added, ``[device, scenario]``; zero at rest.

        Args:
            seen: Signals by name, ``[device, scenario]``.
            values: ``[value, scenario]``.
        """
        raise NotImplementedError

    def slopes(self, seen: Mapping[str, Any], values: Any) -> list[Any]:
        """Derivatives of its own states, ``[device, scenario]`` each."""
        return []


class Terms:
    """The terms of a grid with the rows of their states.

    Attributes:
        at_loads: Whether some are at loads.

    Args:
        terms: Any number.
        grid: With its models and buses, without terms.

    Raises:
        InputError: Two have one name, or a place does not exist.
    """

    def __init__(self, terms: Sequence[Term], grid: PowerDAE) -> None:
        self.m, self.terms = grid.m, tuple(terms)
        self.at_loads = any(term.where in LOADS for term in terms)
        names = [term.name for term in terms]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"two terms are named {twice[0]!r}; rename one", rule="power.term")
        self._load_at = np.concatenate([grid.load_at, grid.load_at + len(grid.kept)])
        self._half, self._switch = len(grid.load_at), grid.load_model.switch
        self._speeds = grid.rows("omega")
        self.divider = frequency_divider(grid)
        self.gain = np.zeros((len(grid.machine_ids), 1))
        for group in grid.governors:
            value = group.model.value
            self.gain[group.of] = 1.0 / value["R"] if "R" in value else value["K"]
        self.names: list[str] = []
        self._rows: dict[str, dict[str, slice]] = {}
        self._slope_at: dict[str, np.ndarray] = {}
        first, places = len(grid.states), [*SET_POINTS, *LOADS, "torque"]
        for term in terms:
            loads = term.where in LOADS
            ids = [load.id for load in grid.case.loads] if loads else grid.machine_ids
            self._rows[term.name] = {}
            for state in term.states:
                self._rows[term.name][state] = slice(first, first + len(ids))
                self.names += [f"{term.name}.{state}:{id}" for id in ids]
                first += len(ids)
            if term.where not in places:
                self._slope_at[term.name] = self._rows_of(term, grid, places)

    @staticmethod
    def _rows_of(term: Term, grid: PowerDAE, places: Sequence[str]) -> np.ndarray:
        groups = list(grid._groups_of_machines())
        own = any(term.where in group.rows for group in groups)
        rows = grid.rows(term.where) if own else np.zeros(0, int)
        if len(rows) != len(grid.machine_ids):
            states = dict.fromkeys(name for group in groups for name in group.rows)
            raise InputError(
                f"term {term.name!r} is at {term.where!r}, which is neither a place "
                f"({', '.join(places)}) nor a state that every machine has; states are: "
                f"{', '.join(states)}",
                rule="power.term",
            )
        return rows

    def __bool__(self) -> bool:
        return bool(self.terms)

    def parameters(self, scenarios: int) -> dict[str, np.ndarray]:
        """Their values for a batch, by the names of their parameters."""
        return {
            term.key: np.repeat(np.asarray(term.values, float)[:, None], scenarios, 1)
            for term in self.terms
        }

    def at_machines(self, x: Any, speed: Any, size: Any, p: Any) -> dict[str, Any]:
        """What is added at machines, by place, ``[machine, scenario]``.

        Args:
            x: States.
            speed: Of the machines, pu.
            size: Of their voltages, pu.
            p: Parameters.
        """
        seen = {"speed": speed - 1.0, "v": size / p["v_rest"], "gain": self.gain}
        found: dict[str, Any] = {}
        for term in self.terms:
            if term.where in LOADS:
                continue
            value = term.add({**seen, **self._own(term, x)}, p[term.key])
            place = f"slope.{term.name}" if term.name in self._slope_at else term.where
            found[place] = found[place] + value if place in found else value
        return found

    def slopes(self, slope: Any, added: dict[str, Any], x: Any, y: Any, size: Any, p: Any) -> Any:
        """Slopes of all states, those of the terms after those of the models.

        Args:
            slope: Of the models, ``[state, scenario]``.
            added: From :meth:`at_machines`.
            x: States.
            y: Voltages.
            size: Of the machines' voltages.
            p: Parameters.
        """
        m = self.m
        for name, rows in self._slope_at.items():
            place = np.zeros((slope.shape[0], len(rows)))
            place[rows, np.arange(len(rows))] = 1.0
            value = added[f"slope.{name}"]
            if "online" in p:
                value = value * p["online"]
            slope = slope + m.matmul(place, value)
        parts = [slope]
        speed = m.rows(x, self._speeds)
        for term in self.terms:
            if not term.states:
                continue
            if term.where in LOADS:
                own = {**p, **self.seen_by_loads(x)}
                v = m.rows(y, self._load_at)
                real, imag = v[: self._half], v[self._half :]
                seen = self._at_loads(m.sqrt(real * real + imag * imag), own, term)
            else:
                seen = {"speed": speed - 1.0, "v": size / p["v_rest"], "gain": self.gain}
                seen |= self._own(term, x)
            parts += term.slopes(seen, p[term.key])
        return parts[0] if len(parts) == 1 else m.concat(parts)

    def _own(self, term: Term, x: Any) -> dict[str, Any]:
        return {name: x[rows] for name, rows in self._rows[term.name].items()}

    def seen_by_loads(self, x: Any) -> dict[str, Any]:
        """What the loads see of the states, by names that begin with ``seen``."""
        speed = self.m.rows(x, self._speeds) - 1.0
        found = {"seen.frequency": self.m.matmul(self.divider, speed)}
        for term in self.terms:
            if term.where in LOADS:
                found |= {f"seen.{term.name}.{k}": v for k, v in self._own(term, x).items()}
        return found

    def of_loads(self, p: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the parameters that :meth:`admittances` needs, all ``[row, scenario]``."""
        needed = {"v0", "p0", "q0", "kpf", "kqf"}
        needed |= {term.key for term in self.terms if term.where in LOADS}
        return {k: v for k, v in p.items() if k in needed or k.startswith("seen.")}

    def _at_loads(self, size: Any, p: Any, term: Term) -> dict[str, Any]:
        seen = {"v": self.m.maximum(size, self._switch) / p["v0"], "frequency": p["seen.frequency"]}
        return seen | {state: p[f"seen.{term.name}.{state}"] for state in term.states}

    def admittances(self, g: Any, b: Any, size: Any, p: Any) -> tuple[Any, Any]:
        """Conductance and susceptance of the loads with frequency dependence and terms.

        Args:
            g: Conductance by the load model, ``[load, scenario]``.
            b: Susceptance.
            size: Voltage magnitude.
            p: Parameters with those from :meth:`seen_by_loads`.
        """
        if "kpf" in p:
            g = g * (1.0 + p["kpf"] * p["seen.frequency"])
        if "kqf" in p:
            b = b * (1.0 + p["kqf"] * p["seen.frequency"])
        for term in self.terms:
            if term.where not in LOADS:
                continue
            seen = self._at_loads(size, p, term)
            # Below the switch the load is the impedance that takes the same power there.
            share = term.add(seen, p[term.key]) / (seen["v"] * seen["v"] * p["v0"] * p["v0"])
            if term.where == "load.p":
                g = g + p["p0"] * share
            else:
                b = b - p["q0"] * share
        return g, b


def frequency_divider(grid: PowerDAE) -> Float[np.ndarray, "load machine"]:
    """How the frequency at each load follows from the speeds of the machines.

    The susceptances of the network as built and of the machines divide the frequency as they divide
    the voltage behind the machines; each row is scaled to one, so that equal speeds are the
    frequency everywhere. Outages and faults are left out.

    Source: Milano and Ortega, IEEE Trans. Power Syst. 32, 1493 (2017).
    """
    network = grid.network
    b = network.admittance(network.built).imag.copy()
    machines = [network.position[g.bus] for g in grid._generators]
    # Currents by voltages, of which the antisymmetric part is the susceptance at any angle.
    at_rest = np.zeros((len(grid.states), 1)), {"field": np.zeros((len(machines), 1))}
    *_, upper, lower, _ = grid._affine(*at_rest)
    inside = 0.5 * (lower - upper)[:, 0]
    joined = np.zeros((len(b), len(machines)))
    joined[machines, np.arange(len(machines))] = inside
    np.subtract.at(b, (machines, machines), inside)
    share = -np.linalg.solve(b, joined)
    share /= share.sum(1, keepdims=True)
    loads = [network.position[load.bus] for load in grid.case.loads]
    found: np.ndarray = share[loads]
    return found

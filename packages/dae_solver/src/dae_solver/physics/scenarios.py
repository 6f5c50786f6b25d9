"""A batch of scenarios: an operating point and disturbances for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.disturbances import Disturbance, events_of
from dae_solver.physics.network import Topology
from dae_solver.physics.powerflow import PowerFlow, solve
from dae_solver.solver.events import TimeEvent
from dae_solver.solver.parameters import Parameters, take
from dae_solver.solver.schedule import Timetable
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.dae import PowerDAE


@dataclass(kw_only=True)
class Scenarios:
    """Scenarios of one grid, ready to simulate.

    Attributes:
        texts: What happens, for people.
        kinds: Kind of each, such as ``fault_trip``; several are joined by ``+``.
        events: Time events of each.
        x0: States at rest, ``[state, scenario]``.
        y0: Voltages at rest, ``[algebraic, scenario]``.
        parameters: Of the grid, with the scenario as the last axis.
        load_factor: By which the loads of the case were multiplied, ``[load, scenario]``.
        grid: Of which grid they are, see :attr:`dae_solver.physics.dae.PowerDAE.identity`.
        flow: The operating points.
    """

    texts: list[str]
    kinds: list[str]
    events: list[list[TimeEvent]]
    x0: Float[np.ndarray, "state scenario"]
    y0: Float[np.ndarray, "algebraic scenario"]
    parameters: dict[str, np.ndarray] = field(repr=False)
    load_factor: Float[np.ndarray, "load scenario"]
    grid: tuple[str, list[Topology]] = field(repr=False)
    flow: PowerFlow | None = field(default=None, repr=False)
    _timetable: tuple[list[list[TimeEvent]], Timetable] | None = field(
        default=None, init=False, repr=False
    )

    @property
    def timetable(self) -> Timetable:
        """The events as arrays; made once, and anew where the lists are others."""
        known = self._timetable
        if known is None or not _same(known[0], self.events):
            known = self._note(Timetable.of(self.events))
        return known[1]

    def _note(self, table: Timetable) -> tuple[list[list[TimeEvent]], Timetable]:
        self._timetable = [list(each) for each in self.events], table
        return self._timetable

    def __len__(self) -> int:
        return len(self.events)

    def take(self, scenarios: np.ndarray) -> Scenarios:
        """Some of them, by their numbers."""
        numbers = scenarios.tolist()
        found = Scenarios(
            texts=[self.texts[k] for k in numbers],
            kinds=[self.kinds[k] for k in numbers],
            events=[self.events[k] for k in numbers],
            x0=self.x0[:, scenarios],
            y0=self.y0[:, scenarios],
            parameters=take(self.parameters, scenarios),
            load_factor=self.load_factor[:, scenarios],
            grid=self.grid,
            flow=None if self.flow is None else self.flow.take(scenarios),
        )
        found._note(self.timetable.take(scenarios))
        return found

    def check(self, grid: PowerDAE) -> None:
        """Refuse another grid, whose numbers name other networks.

        Raises:
            InputError: They were not made for this grid or a copy of it.
        """
        (mine, known), (other, topologies) = self.grid, grid.identity
        if mine != other or topologies[: len(known)] != known:
            raise InputError(
                f"{len(self)} scenarios ({self.texts[0]!r} first) were made for another grid than "
                f"this {grid.case.name}, even if it is of the same case; make them with the "
                "scenarios method of the grid that simulates them",
                rule="power.scenario",
            )

    def parameters_after(self, events: int | None = None) -> dict[str, np.ndarray]:
        """Parameters after so many events of each scenario, after all of them by default."""
        p = {name: value.copy() for name, value in self.parameters.items()}
        table = self.timetable
        last = np.array([len(each) for each in table.events], int)
        first = np.zeros_like(last)
        every = np.arange(len(last))
        table.apply(p, every, first, last if events is None else np.minimum(last, events))
        return p


def _same(one: list[list[TimeEvent]], other: list[list[TimeEvent]]) -> bool:
    """Whether lists hold the same events; those that are one object are not looked into."""
    try:
        return one == other
    except ValueError:  # arrays in changes of which some numbers differ
        return False


def join_parameters(parts: Sequence[Parameters]) -> dict[str, np.ndarray]:
    """Parameters of several batches; machines are on where a batch does not say."""
    like = {name: value for part in parts for name, value in part.items()}
    return {
        name: np.concatenate(
            [
                part.get(name, np.ones((*value.shape[:-1], part["network"].shape[-1])))
                for part in parts
            ],
            axis=-1,
        )
        for name, value in like.items()
    }


def build(
    grid: PowerDAE,
    disturbances: Sequence[Disturbance | Sequence[Disturbance]],
    *,
    load_level: Any = 1.0,
    load_factor: Any = None,
    generation_factor: Any = None,
    parameters: dict[str, Any] | None = None,
) -> Scenarios:
    """Scenarios from disturbances; see :meth:`dae_solver.physics.grid.PowerSystem.scenarios`."""
    if not disturbances:
        raise InputError(
            "no scenario is given; give at least one disturbance", rule="power.scenario"
        )
    each = [[d] if isinstance(d, Disturbance) else list(d) for d in disturbances]
    number = len(each)
    level = levels(load_level, number)
    loads, generators = len(grid.case.loads), len(grid.case.generators)
    factor = (
        level * np.ones((loads, 1)) if load_factor is None else _factor(load_factor, loads, number)
    )
    generation = (
        level * np.ones((generators, 1))
        if generation_factor is None
        else _factor(generation_factor, generators, number)
    )
    flow = solve(grid.network, load_factor=factor, generation_factor=generation)
    given = {} if parameters is None else dict(parameters)
    x0, y0, values = grid.start(flow, grid.extra(given, number))
    events = [events_of(grid, one) for one in each]
    if given:
        spread_out = grid.batch(number, given)
        values |= {name: spread_out[name] for name in given}
    changed = {change.name for one in events for event in one for change in event.changes}
    for name, ids in (("online", grid.machine_ids), ("connected", grid.converters.ids)):
        if name in changed and name not in values:
            values[name] = np.ones((len(ids), number))
    found = Scenarios(
        texts=[" and ".join(d.text for d in one) or "nothing happens" for one in each],
        kinds=["+".join(d.kind for d in one) or "none" for one in each],
        events=events,
        x0=x0,
        y0=y0,
        parameters=values,
        load_factor=factor,
        grid=grid.identity,
        flow=flow,
    )
    found._note(Timetable.of(found.events))
    return found


def levels(load_level: Any, number: int) -> Float[np.ndarray, " scenario"]:
    """One load level for each scenario.

    Raises:
        InputError: There are neither one nor ``number`` of them, or one is not positive.
    """
    found = np.asarray(load_level, float)
    if found.ndim > 1 or found.size not in (1, number):
        raise InputError(
            f"{found.size} load levels for {number} scenarios; give one, or one for each",
            rule="power.scenario",
        )
    wrong = found[~(np.isfinite(found) & (found > 0))]
    if wrong.size:
        raise InputError(
            f"load level {wrong[0]:g} is not positive; 1 is the load of the case",
            rule="power.load",
        )
    return np.broadcast_to(found, (number,))


def _factor(values: Any, rows: int, number: int) -> np.ndarray:
    values = np.asarray(values, float)
    if values.shape not in ((rows, number), (rows, 1)):
        raise InputError(
            f"a factor has shape {values.shape}; give [{rows}, {number}]: one row for each device, "
            "one column for each scenario",
            rule="power.scenario",
        )
    return np.array(np.broadcast_to(values, (rows, number)))

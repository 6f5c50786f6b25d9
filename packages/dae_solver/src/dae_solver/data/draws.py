"""Random scenarios: for training, which sees virtual networks, and for tests, which do not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dae_solver.config.data import DataConfig
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.disturbances import (
    Action,
    Disturbance,
    fault,
    generator_trip,
    line_trip,
    load_pulse,
    load_step,
    pref_step,
    trip_reclose,
    unsuccessful_reclose,
    vref_step,
)
from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.network import Topology
from dae_solver.physics.powerflow import solve
from dae_solver.physics.scenarios import Scenarios
from scimind.errors import InputError
from scimind.seeding import numpy_generator
from scimind.typing import Float

log = logging.getLogger(__name__)

Network = Callable[[Topology], Topology]
# Shares of what happens in training: a fault, a new network alone, a load step, a set-point step,
# a machine trips.
TRAINING = (0.6, 0.14, 0.13, 0.09, 0.04)
# Parts of what happens elsewhere: a fault, a fault whose line trips, a line that opens and closes,
# a line trips, a load and a set-point step, a load pulse, unsuccessful reclosing, a machine trips.
KINDS = (4, 4, 2, 2, 2, 2, 1, 1)
# A second thing happens at the same time in this share.
TOGETHER = 0.15
# Another fault came before this share of the faults, in this share of them elsewhere.
TWICE, ELSEWHERE = 0.15, 0.3
# The network after it: as built, a line is out, or branches with other admittances.
AS_BUILT, LINE_OUT = 0.2, 0.2
CLOSE_TO_THE_LIMIT = 0.4
# Where a grid cannot rest at a draw, its distance from the case's own loads shrinks by this factor,
# so many times.
NEARER, TIMES = 0.7, 8
RESTLESS = ("power.flow", "power.limit")


@dataclass(frozen=True)
class Lines:
    """Branches that may open without an island, by position.

    Half of those held out tell how an operator does on lines that it has not seen, the other half
    tests it.

    Attributes:
        trained: Those whose faults and outages training sees.
        held_out: Those that it does not.
    """

    trained: tuple[int, ...]
    held_out: tuple[int, ...]

    @property
    def every(self) -> tuple[int, ...]:
        """All of them."""
        return tuple(sorted(self.trained + self.held_out))

    @property
    def calibration(self) -> tuple[int, ...]:
        """Those from which the certificate is made; of the training where none is held out."""
        return self.held_out[::2] or self.trained

    @property
    def untouched(self) -> tuple[int, ...]:
        """Those that neither training nor calibration sees, or the only one that is held out."""
        return self.held_out[1::2] or self.held_out


def split_lines(grid: PowerDAE, config: DataConfig, seed: int) -> Lines:
    """Choose the lines that training does not see.

    Raises:
        InputError: A line of ``data.held_out`` does not exist.
    """
    network = grid.network
    free = [
        k
        for k in range(len(grid.case.branches))
        if k not in network.built.out and len(network.islands(network.built.without([k]))) == 1
    ]
    if isinstance(config.held_out, float):
        number = round(config.held_out * len(free))
        rng = numpy_generator(seed, "lines")
        held = sorted(int(k) for k in rng.permutation(free)[:number]) if number else []
    else:
        held = sorted(network.branch(line) for line in config.held_out)
    trained = [k for k in free if k not in held]
    if not trained:
        raise InputError(
            f"all {len(free)} lines that may open are held out; leave some for training",
            rule="data.held_out",
        )
    return Lines(tuple(trained), tuple(held))


class TrainingDraws:
    """Draws scenarios whose last event is at ``config.settled``.

    After it the network may be one that does not exist, with branches of other strength: so the
    operator learns how trajectories follow from the network, not the few networks that it saw.
    """

    def __init__(
        self, grid: PowerSystem, lines: Lines, config: DataConfig, rng: np.random.Generator
    ) -> None:
        self.grid, self.lines, self.config, self.rng = grid.dae, lines, config, rng
        self.system = grid

    def batch(self, number: int) -> Scenarios:
        """So many scenarios."""
        pool = [self._virtual() for _ in range(max(1, number // self.config.per_network))]
        each = [self._scenario(pool) for _ in range(number)]
        loads, generators = operating_points(self.grid, self.config, self.rng, number)
        return at_rest(self.system, each, loads, generators)

    def _virtual(self) -> Topology:
        """Some branches weaker, few stronger; held-out lines never nearly open."""
        draws, strength = self.rng.random((2, len(self.grid.case.branches))), {}
        for branch, (kind, value) in enumerate(draws.T.tolist()):
            least = 0.3 if branch in self.lines.held_out else 0.03
            if kind < 0.25:
                strength[branch] = least + (1.0 - least) * value
            elif kind < 0.35:
                strength[branch] = 1.0 + 0.6 * value
        return Topology(self.grid.network.built.out, strength=frozenset(strength.items()))

    def _after(self, line: int, pool: Sequence[Topology]) -> Topology:
        u = self.rng.random()
        if u < AS_BUILT:
            return self.grid.network.built
        if u < AS_BUILT + LINE_OUT:
            return self.grid.network.built.without([line])
        return pool[int(self.rng.integers(len(pool)))]

    def _scenario(self, pool: Sequence[Topology]) -> list[Disturbance]:
        rng, grid = self.rng, self.grid
        line = int(rng.choice(self.lines.trained))
        after = self._after(line, pool)
        kind = int(np.searchsorted(np.cumsum(TRAINING), rng.random()))
        found = []
        if kind == 0:
            found.append(self._fault(line, after))
        elif kind == 1:
            found.append(_network("switching", self.config.settled, after))
        for k, one in ((2, self._load), (3, self._set_point), (4, self._trip)):
            if kind == k or (k < 4 and rng.random() < TOGETHER):
                found.append(one(grid, rng))
        return found

    def _fault(self, line: int, after: Topology) -> Disturbance:
        rng, config, built = self.rng, self.config, self.grid.network.built
        bus = self._end(line)
        least, most = config.clearing
        usual = config.usual
        lasts = float(rng.uniform(least, most if rng.random() < CLOSE_TO_THE_LIMIT else usual))
        admittance = 1.0 / complex(1e-4 if rng.random() < 0.5 else 0.0, 1e-4)
        begins = config.settled - lasts
        found = [
            Action(begins, "fault", lambda _: built.adding(bus, admittance)),
            Action(config.settled, "cleared", lambda _: after),
        ]
        if rng.random() < TWICE:
            found = [*self._earlier(line, bus, begins), *found]
        return Disturbance("fault", lambda _: found, f"fault of {lasts:.3f} s")

    def _earlier(self, line: int, bus: int, begins: float) -> list[Action]:
        """A fault whose clearing opened the line, which closes when the next one begins."""
        rng, config, built = self.rng, self.config, self.grid.network.built
        if rng.random() < ELSEWHERE:
            line = int(rng.choice(self.lines.trained))
            bus = self._end(line)
        cleared = begins - float(rng.uniform(*config.apart))
        first = cleared - float(rng.uniform(config.clearing[0], config.usual))
        return [
            Action(first, "fault", lambda _: built.adding(bus, 1.0 / 1e-4j)),
            Action(cleared, "opened", lambda _: built.without([line])),
        ]

    def _end(self, line: int) -> int:
        """A bus of a line."""
        network = self.grid.network
        ends = (network.start[line], network.end[line])
        return int(ends[int(self.rng.random() < 0.5)])

    def _load(self, grid: PowerDAE, rng: np.random.Generator) -> Disturbance:
        bus = grid.case.loads[int(rng.integers(len(grid.case.loads)))].bus
        return load_step(bus, t=self.config.settled, p=float(rng.uniform(0.4, 1.6)))

    def _set_point(self, grid: PowerDAE, rng: np.random.Generator) -> Disturbance:
        return set_point(grid, rng, self.config.settled)

    def _trip(self, grid: PowerDAE, rng: np.random.Generator) -> Disturbance:
        machine = grid.machine_ids[int(rng.integers(len(grid.machine_ids)))]
        return generator_trip(machine, t=self.config.settled)


def set_point(grid: PowerDAE, rng: np.random.Generator, t: float) -> Disturbance:
    """A random step of a set-point; of the power where the machine has no exciter."""
    row = int(rng.integers(len(grid.machine_ids)))
    machine = grid.machine_ids[row]
    if rng.random() < 0.5 and any(row in group.of for group in grid.exciters):
        return vref_step(machine, t=t, by=float(rng.uniform(-0.06, 0.06)))
    return pref_step(machine, t=t, factor=float(rng.uniform(0.8, 1.2)))


def _network(kind: str, t: float, after: Topology) -> Disturbance:
    return Disturbance(kind, lambda _: [Action(t, kind, lambda _: after)], kind)


def operating_points(
    grid: PowerDAE, config: DataConfig, rng: np.random.Generator, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Factors of loads and generators: a common level, and deviations of each."""
    loads, generators = len(grid.case.loads), len(grid.case.generators)
    level = rng.uniform(*config.load_level, number)
    apart = config.load_apart
    each = level * rng.uniform(1.0 - apart, 1.0 + apart, (loads, number))
    supply = each.mean(0) * rng.uniform(1.0 - apart, 1.0 + apart, (generators, number))
    return each, supply


def scenario_texts(
    grid: PowerDAE,
    lines: Sequence[int],
    config: DataConfig,
    rng: np.random.Generator,
    number: int,
) -> list[list[Disturbance]]:
    """Scenarios of every kind on given lines, with events at any time in the first second."""
    return [_any(grid, int(rng.choice(list(lines))), config, rng) for _ in range(number)]


def draw_scenarios(
    grid: PowerSystem,
    lines: Sequence[int],
    config: DataConfig,
    rng: np.random.Generator,
    number: int,
) -> Scenarios:
    """Random scenarios of every kind on some lines."""
    return draw_groups(grid, [lines], config, rng, number)


def draw_groups(
    grid: PowerSystem,
    groups: Sequence[Sequence[int]],
    config: DataConfig,
    rng: np.random.Generator,
    number: int,
) -> Scenarios:
    """So many random scenarios on each of several groups of lines, one group after the other."""
    loads, generators = operating_points(grid.dae, config, rng, number * len(groups))
    each = [
        texts for lines in groups for texts in scenario_texts(grid.dae, lines, config, rng, number)
    ]
    return at_rest(grid, each, loads, generators)


def at_rest(
    grid: PowerSystem,
    each: Sequence[Sequence[Disturbance]],
    loads: Float[np.ndarray, "load scenario"],
    generators: Float[np.ndarray, "generator scenario"],
) -> Scenarios:
    """Scenarios at operating points that were drawn.

    Where the power flow does not converge, or a regulator would begin beyond its limits, the
    factors are brought nearer to 1 until the grid can rest there; how many is logged.

    Args:
        grid: Of which they are.
        each: What happens in each.
        loads: Factors of the loads.
        generators: Factors of the schedules.

    Raises:
        InputError: Something else is wrong, or the grid cannot rest near the case's own loads.
    """
    try:
        return grid.scenarios(*each, load_factor=loads, generation_factor=generators)
    except InputError as error:
        if error.rule not in RESTLESS:
            raise
        restless = _restless(grid, loads, generators)
        if not len(restless):
            raise
        log.warning(
            "%d of %d operating points are brought nearer to that of the case: %s",
            len(restless), len(each), error,
        )  # fmt: skip
    factors = np.concatenate([loads, generators])
    for _ in range(TIMES):
        factors[:, restless] = 1.0 + NEARER * (factors[:, restless] - 1.0)
        left = _restless(grid, *np.split(factors[:, restless], [len(loads)]))
        restless = restless[left]
    loads, generators = np.split(factors, [len(loads)])
    return grid.scenarios(*each, load_factor=loads, generation_factor=generators)


def _restless(grid: PowerSystem, loads: np.ndarray, generators: np.ndarray) -> np.ndarray:
    """Positions of the points where the grid cannot rest, by halves."""
    number = loads.shape[1]
    if not number or _rests(grid, loads, generators):
        return np.zeros(0, int)
    if number == 1:
        return np.zeros(1, int)
    half = number // 2
    first = _restless(grid, loads[:, :half], generators[:, :half])
    second = _restless(grid, loads[:, half:], generators[:, half:])
    return np.concatenate([first, half + second])


def _rests(grid: PowerSystem, loads: np.ndarray, generators: np.ndarray) -> bool:
    """Whether the grid can rest at all of these points."""
    try:
        grid.dae.start(solve(grid.dae.network, load_factor=loads, generation_factor=generators))
    except InputError as error:
        if error.rule not in RESTLESS:
            raise
        return False
    return True


def _any(
    grid: PowerDAE, branch: int, config: DataConfig, rng: np.random.Generator
) -> list[Disturbance]:
    line = grid.case.branches[branch]
    bus = line.from_bus if rng.random() < 0.5 else line.to_bus
    t, lasts = float(rng.uniform(0.1, 1.0)), float(rng.uniform(*config.apart))
    clear = float(rng.uniform(config.clearing[0], config.usual))
    load = grid.case.loads[int(rng.integers(len(grid.case.loads)))].bus
    factor = float(rng.uniform(0.6, 1.4))
    kind = int(np.searchsorted(np.cumsum(KINDS), rng.integers(sum(KINDS)), side="right"))
    if kind == 0:
        return [fault(bus, t=t, clear=clear)]
    if kind == 1:
        return [fault(bus, t=t, clear=clear, trip=line.id)]
    if kind == 2:
        return [trip_reclose(line.id, t=t, after=lasts)]
    if kind == 3:
        return [line_trip(line.id, t=t)]
    if kind == 4:
        return [load_step(load, t=t, p=factor), set_point(grid, rng, t + lasts)]
    if kind == 5:
        return [load_pulse(load, t=t, p=factor, last=lasts)]
    if kind == 6:
        return [unsuccessful_reclose(bus, t=t, clear=clear, trip=line.id, after=lasts)]
    return [generator_trip(grid.machine_ids[int(rng.integers(len(grid.machine_ids)))], t=t)]

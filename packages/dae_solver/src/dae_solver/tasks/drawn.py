"""Tasks whose scenarios are drawn: on lines seen and unseen, at other loads, of every kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dae_solver.config.data import DataConfig
from dae_solver.data.draws import at_rest, draw_scenarios, operating_points, scenario_texts
from dae_solver.hybrid.calibration import reference
from dae_solver.physics.disturbances import (
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
from dae_solver.physics.scenarios import Scenarios
from dae_solver.tasks.transients import Course, TransientTask
from scimind.errors import InputError
from scimind.eval import Failure
from scimind.eval.task import register
from scimind.seeding import numpy_generator

# Load levels of `UnseenLoads` lie up to this far outside the range of the training.
OUTSIDE = 0.08


class DrawnTask(TransientTask):
    """Scenarios from a seed, with references by the engine at 1/240 s."""

    def draw(self, config: DataConfig, rng: np.random.Generator, number: int) -> Scenarios:
        """So many scenarios."""
        return draw_scenarios(self.grid, self.lines(), config, rng, number)

    def lines(self) -> Sequence[int]:
        """Where things happen."""
        return self.settings.trained.lines.trained

    def data(self, data_root: Path) -> tuple[Scenarios, list[Course], list[Failure], str]:
        """See the base class."""
        settings = self.settings
        rng = numpy_generator(settings.seed, "evaluate", self.name)
        scenarios = self.draw(settings.trained.known_settings().data, rng, settings.scenarios)
        truth = reference(self.grid, scenarios, self.t_end, self.every)
        failed = ~truth.solution.success & (truth.solution.ended < truth.separated)
        rejected = [
            Failure(
                item=f"{k}: {scenarios.texts[k]}",
                reason=truth.solution.failure[k],
                rule="reference.failed",
            )
            for k in np.flatnonzero(failed).tolist()
        ]
        return scenarios, Course.of(truth), rejected, f"seed {settings.seed}"

    def named(self, lines: Sequence[int]) -> str:
        """Names of lines."""
        return ", ".join(self.grid.case.branches[k].id for k in lines)


@register
class SeenLines(DrawnTask):
    """Other scenarios on lines whose faults and outages training saw."""

    name = "seen_lines"
    summary = "lines that training saw"
    description = "Faults, outages and load steps on lines that training saw."


@register
class UnseenLines(DrawnTask):
    """The same on lines that neither training nor calibration saw."""

    name = "unseen_lines"
    summary = "lines that training never saw"
    description = "Faults, outages and load steps on lines that training and calibration never saw."

    def lines(self) -> Sequence[int]:
        """See the base class.

        Raises:
            InputError: Training saw all lines.
        """
        lines = self.settings.trained.untouched
        if not lines:
            raise InputError(
                "training saw every line; train with data.held_out for this task",
                rule="evaluate.lines",
            )
        return lines

    def where(self) -> str:
        """See the base class."""
        return self.named(self.lines())


@register
class UnseenLoads(DrawnTask):
    """The same on lines that training saw, at loads below and above those of the training."""

    name = "unseen_loads"
    summary = "load levels out of the range of the training"
    description = "Faults, outages and load steps at loads that training never saw."

    def where(self) -> str:
        """See the base class."""
        low, high = self.settings.trained.known_settings().data.load_level
        return f"{low - OUTSIDE:g} to {low:g} and {high:g} to {high + OUTSIDE:g}"

    def draw(self, config: DataConfig, rng: np.random.Generator, number: int) -> Scenarios:
        """See the base class."""
        low, high = config.load_level
        half = number // 2
        parts = [
            operating_points(self.grid.dae, replace(config, load_level=levels), rng, count)
            for levels, count in (
                ((low - OUTSIDE, low), half),
                ((high, high + OUTSIDE), number - half),
            )
            if count
        ]
        loads, generators = (np.concatenate([part[k] for part in parts], axis=1) for k in (0, 1))
        each = scenario_texts(self.grid.dae, self.lines(), config, rng, number)
        return self.grid.scenarios(*each, load_factor=loads, generation_factor=generators)


@register
class EveryKind(DrawnTask):
    """Every kind of disturbance in turn on any line, also those that training does not draw."""

    name = "every_kind"
    summary = "every kind of disturbance on every line"
    description = "Every kind of disturbance in turn, two at once among them, on every line."

    def lines(self) -> Sequence[int]:
        """See the base class."""
        return self.settings.trained.lines.every

    def draw(self, config: DataConfig, rng: np.random.Generator, number: int) -> Scenarios:
        """See the base class."""
        loads, generators = operating_points(self.grid.dae, config, rng, number)
        each = [kinds(self.grid, self.lines(), config, rng, k) for k in range(number)]
        return at_rest(self.grid, each, loads, generators)


def kinds(
    grid: PowerSystem,
    lines: Sequence[int],
    config: DataConfig,
    rng: np.random.Generator,
    number: int,
) -> list[Disturbance]:
    """A scenario of kind ``number`` modulo the number of kinds."""
    case = grid.case
    line = case.branches[int(rng.choice(list(lines)))]
    bus = line.from_bus if rng.random() < 0.5 else line.to_bus
    load = case.loads[int(rng.integers(len(case.loads)))].bus
    machine = grid.dae.machine_ids[int(rng.integers(len(grid.dae.machine_ids)))]
    rows = sorted({int(row) for group in grid.dae.exciters for row in group.of})
    excited = grid.dae.machine_ids[int(rng.choice(rows))] if rows else machine
    t, lasts = float(rng.uniform(0.1, 1.0)), float(rng.uniform(0.2, 1.0))
    least, most = config.clearing
    clear = float(rng.uniform(least, least + (most - least) * 0.4))
    p, by = float(rng.uniform(0.6, 1.4)), float(rng.uniform(-0.05, 0.05))
    factor = float(rng.uniform(0.85, 1.15))
    each: list[Callable[[], list[Disturbance]]] = [
        lambda: [fault(bus, t=t, clear=clear)],
        lambda: [fault(bus, t=t, clear=clear, trip=line.id)],
        lambda: [line_trip(line.id, t=t)],
        lambda: [trip_reclose(line.id, t=t, after=lasts)],
        lambda: [unsuccessful_reclose(bus, t=t, clear=0.5 * clear, trip=line.id, after=lasts)],
        lambda: [load_step(load, t=t, p=p)],
        lambda: [load_pulse(load, t=t, p=p, last=lasts)],
        lambda: [vref_step(excited, t=t, by=by) if rows else pref_step(machine, t=t, factor=p)],
        lambda: [pref_step(machine, t=t, factor=factor)],
        lambda: [generator_trip(machine, t=t)],
        lambda: [fault(bus, t=t, clear=clear, trip=line.id), load_step(load, t=t + lasts, p=p)],
        lambda: [line_trip(line.id, t=t), pref_step(machine, t=t + lasts, factor=factor)],
    ]
    return each[number % len(each)]()

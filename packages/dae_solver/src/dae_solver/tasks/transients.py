"""What all tasks share: scenarios with tight trajectories, and solvers judged by their errors."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dae_solver import metrics
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.tasks.baselines.nearest import Library, NearestTrajectory, make_library
from dae_solver.tasks.baselines.rest import AtRest
from dae_solver.tasks.solvers import RungeKutta, Solver
from dae_solver.trained import Trained
from scimind.eval import Baseline, Failure, Item, Metric, Task, TaskData
from scimind.eval.task import Direction
from scimind.typing import Float

T_END, EVERY = 5.0, 1 / 30
STEPS = (1 / 30, 1 / 15)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the tasks of an evaluation have in common.

    Attributes:
        trained: The operator.
        scenarios: Items of a task that draws them.
        seed: Of those draws.
        certify: Bound that the operator is asked for, degrees.
        nearest: Training trajectories that the nearest one is chosen from.
    """

    trained: Trained
    scenarios: int
    seed: int
    certify: float
    nearest: int

    @cached_property
    def library(self) -> Library:
        """The training trajectories."""
        return make_library(self.trained, self.nearest)


@dataclass(frozen=True, kw_only=True)
class Course:
    """One trajectory as it is judged.

    Attributes:
        t: Times, seconds.
        delta: Angles against the centre of inertia, radians.
        voltage: Magnitudes, pu.
        separated: Time of separation, infinity where there is none, seconds.
        certificate: Bound of the angle error, degrees; NaN where there is none.
    """

    t: Float[np.ndarray, " time"]
    delta: Float[np.ndarray, "time machine"]
    voltage: Float[np.ndarray, "time bus"]
    separated: float
    certificate: float

    @classmethod
    def of(cls, runs: Trajectories) -> list[Course]:
        """All trajectories of a batch."""
        with np.errstate(all="ignore"):  # of what ended too early
            delta, voltage, separated = runs.delta_coi, np.abs(runs.voltages()), runs.separated
        return [
            cls(
                t=runs.t,
                delta=delta[k],
                voltage=voltage[k],
                separated=float(separated[k]),
                certificate=float(runs.certificate[k]),
            )
            for k in range(len(separated))
        ]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A scenario of a batch, which solvers answer as a whole."""

    batch: Scenarios
    number: int


def answers(solver: Solver, items: Sequence[Item], t_end: float, every: float) -> list[Course]:
    """Trajectories of a solver for items, all in one batch."""
    batch = items[0].inputs.batch
    scenarios = batch.take(np.array([item.inputs.number for item in items]))
    return Course.of(solver.simulate(scenarios, t_end=t_end, every=every))


class TransientTask(Task):
    """Trajectories of scenarios, judged by their largest errors until separation.

    Subclasses draw or read the scenarios.

    Args:
        settings: Of the evaluation.
    """

    version = "1.0"
    primary = "angle_p90"
    t_end: float = T_END
    every: float = EVERY
    summary: ClassVar[str]

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.grid = settings.trained.grid

    @property
    def split(self) -> str:  # type: ignore[override]
        """The scenarios in words."""
        where = self.where()
        return f"{self.summary}{f': {where}' if where else ''}; {self.grid.case.name}"

    def where(self) -> str:
        """What the scenarios of this operator have in particular."""
        return ""

    @abstractmethod
    def data(self, data_root: Path) -> tuple[Scenarios, list[Course], list[Failure], str]:
        """Scenarios, tight courses, scenarios without one, and a digest of what was read."""

    def load(self, data_root: Path) -> TaskData:
        """See the base class."""
        scenarios, courses, rejected, read = self.data(data_root)
        without = {failure.item for failure in rejected}
        items = [
            Item(
                name=f"{k}: {scenarios.texts[k]}",
                inputs=Question(batch=scenarios, number=k),
                target=course,
            )
            for k, course in enumerate(courses)
        ]
        kept = tuple(item for item in items if item.name not in without)
        return TaskData(items=kept, digest=self._digest(scenarios, read), rejected=rejected)

    def _digest(self, scenarios: Scenarios, read: str) -> str:
        """Of everything that defines the items: not of what rounding may change."""
        what = {
            "case": asdict(self.grid.case),
            "load": asdict(self.grid.dae.load_model),
            "times": [self.t_end, self.every],
            "events": [[(e.name, f"{e.time:.9e}") for e in each] for each in scenarios.events],
            "loads": [[f"{value:.9e}" for value in row] for row in scenarios.load_factor.tolist()],
            "read": read,
        }
        return hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()

    def metrics(self) -> Sequence[Metric]:
        """See the base class."""
        return scores(self.settings.certify)

    def baselines(self) -> Sequence[Baseline]:
        """See the base class."""
        trained, library = self.settings.trained, self.settings.library
        found = [
            self._baseline(RungeKutta(grid=self.grid, step=step), "classical") for step in STEPS
        ]
        near = NearestTrajectory(trained, library)
        of = trained.known_settings().data.scenarios
        name = f"nearest of {len(library)} training trajectories (operator: {of})"
        found.append(self._baseline(near, "classical", name))
        return [*found, self._baseline(AtRest(self.grid, EVERY), "trivial", "state at rest")]

    def _baseline(self, solver: Solver, kind: Any, name: str = "") -> Baseline:
        return Baseline(
            name=name or solver.name,
            kind=kind,
            predict=lambda data: answers(solver, data.items, self.t_end, self.every),
        )

    def predict(self, model: Any, items: Sequence[Item]) -> list[Course]:
        """See the base class; ``model`` is a `Solver`."""
        return answers(model, items, self.t_end, self.every)


def scores(bound: float) -> tuple[Metric, ...]:
    """Quantiles of the errors, and what became of certificates and of the time of separation.

    ``separation_wrong`` is the share of scenarios that separate in one solution only, and
    ``separation_max`` the largest error of the time where both do.

    Args:
        bound: That was asked for, degrees.
    """

    def angle(found: Course, truth: Course) -> list[float]:
        return [float(metrics.angle_error(truth.t, truth.delta, found.delta, at(truth)))]

    def voltage(found: Course, truth: Course) -> list[float]:
        return [float(metrics.voltage_error(truth.t, truth.voltage, found.voltage, at(truth)))]

    def separation(found: Course, truth: Course) -> list[float]:
        return [float(metrics.separation_error(at(truth), at(found)))]

    def certified(found: Course, truth: Course) -> list[float]:
        return [*angle(found, truth), found.certificate]

    def at(course: Course) -> np.ndarray:
        return np.asarray(course.separated)

    return (
        *_quantiles("angle", "deg", angle),
        *_quantiles("voltage", "pu", voltage),
        _share("above_bound", "lower", angle, lambda e: metrics.share_above(e[:, 0], bound)),
        _share("coverage", "higher", certified, lambda e: metrics.coverage(e[:, 0], e[:, 1])),
        _share("separation_wrong", "lower", separation, lambda e: float(np.isinf(e).mean())),
        Metric(
            name="separation_max",
            direction="lower",
            statistics=separation,
            aggregate=lambda e: float(np.where(np.isinf(e), 0.0, e).max()),
            unit="s",
            bounds=(0.0, np.inf),
        ),
    )


def _quantiles(
    quantity: str, unit: str, statistics: Callable[[Course, Course], list[float]]
) -> list[Metric]:
    def of(share: float) -> Callable[[np.ndarray], float]:
        return lambda rows: metrics.quantile(rows[:, 0], share)

    return [
        Metric(
            name=f"{quantity}_{name}",
            direction="lower",
            statistics=statistics,
            aggregate=of(share),
            unit=unit,
            bounds=(0.0, np.inf),
        )
        for name, share in (("p50", 0.5), ("p90", 0.9), ("max", 1.0))
    ]


def _share(
    name: str,
    direction: Direction,
    statistics: Callable[[Course, Course], list[float]],
    aggregate: Callable[[np.ndarray], float],
) -> Metric:
    return Metric(
        name=name,
        direction=direction,
        statistics=statistics,
        aggregate=aggregate,
        bounds=(0.0, 1.0),
    )

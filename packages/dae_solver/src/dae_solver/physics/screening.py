"""Contingency screening: a fast trajectory for each, a fine one where the first leaves a doubt."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.abstention import Calibration, calibrate_near_limits
from dae_solver.physics.disturbances import Disturbance, events_of
from dae_solver.physics.looks import BATCH, Findings, FirstLook, fine
from dae_solver.physics.scenarios import Scenarios, levels
from scimind.errors import InputError
from scimind.typing import Bool, Float

if TYPE_CHECKING:
    import pandas

    from dae_solver.physics.grid import PowerSystem

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refused:
    """A contingency that is not simulated.

    Attributes:
        number: Its place in what was given.
        text: What it is.
        reason: Why, with the rule.
    """

    number: int
    text: str
    reason: str


@dataclass(kw_only=True)
class Screening:
    """Verdicts on contingencies.

    Attributes:
        grid: The system.
        scenarios: Those that were simulated.
        numbers: Their places in what was given.
        refused: Those that were not.
        alpha: Promised share of unstable ones that the first look calls stable, at most.
        limits: Margins above which the first look calls stable, and below which unstable.
        calibration: Of these limits.
        first: What the first look found.
        findings: What counts: of the fine engine where the first look abstained.
        abstained: Where it did.
        first_seconds: CPU time of the first look.
        fine_seconds: CPU time of the fine engine.
    """

    grid: PowerSystem
    scenarios: Scenarios
    numbers: np.ndarray
    refused: list[Refused]
    alpha: float
    limits: tuple[float, float]
    calibration: Calibration
    first: Findings
    findings: Findings
    abstained: Bool[np.ndarray, " scenario"]
    first_seconds: float
    fine_seconds: float

    @property
    def stable(self) -> Bool[np.ndarray, " scenario"]:
        """Which keep synchronism."""
        return self.findings.stable

    @property
    def margin(self) -> Float[np.ndarray, " scenario"]:
        """See :class:`dae_solver.physics.margins.Margins`; of the solver that decided."""
        return self.findings.margin

    @property
    def abstention(self) -> float:
        """Share of the simulated contingencies that the first look left to the fine engine."""
        return float(self.abstained.mean()) if len(self.abstained) else 0.0

    @property
    def first_verdict(self) -> list[str]:
        """``stable``, ``unstable`` or ``look at it``: what the first look says of each."""
        found = np.where(self.first.stable, "stable", "unstable").astype(object)
        verdicts: list[str] = np.where(self.abstained, "look at it", found).tolist()
        return verdicts

    @property
    def order(self) -> np.ndarray:
        """The most severe first: by margin, then by the time of separation."""
        found: np.ndarray = np.lexsort((self.findings.separated, self.margin))
        return found

    def to_pandas(self) -> pandas.DataFrame:
        """One row for each contingency, the most severe first, those not simulated at the end."""
        import pandas

        found, buses = self.findings, [bus.id for bus in self.grid.case.buses]
        table = pandas.DataFrame(
            {
                "number": self.numbers,
                "contingency": self.scenarios.texts,
                "kind": self.scenarios.kinds,
                "verdict": np.where(found.stable, "stable", "unstable"),
                "first_verdict": self.first_verdict,
                "margin": found.margin,
                "first_margin": self.first.margin,
                "largest_spread_deg": np.degrees(found.spread),
                "separated_s": found.separated,
                "lowest_voltage_pu": found.voltage,
                "at_bus": pandas.Series(
                    [buses[k] if k >= 0 else None for k in found.bus.tolist()], dtype=object
                ),
                "lowest_frequency_hz": found.nadir,
                "decided_by": np.where(self.abstained, "fine engine", self.calibration.look),
                "note": found.failure,
            }
        ).iloc[self.order]
        rest = pandas.DataFrame(
            {
                "number": [each.number for each in self.refused],
                "contingency": [each.text for each in self.refused],
                "verdict": ["not simulated"] * len(self.refused),
                "note": [each.reason for each in self.refused],
            }
        )
        table = pandas.concat([table, rest], ignore_index=True) if self.refused else table
        return table.reset_index(drop=True)


def screen(
    grid: PowerSystem,
    contingencies: Sequence[Disturbance | Sequence[Disturbance]],
    *,
    alpha: float = 0.01,
    look: FirstLook,
    calibration: Calibration | None = None,
    load_level: Any = 1.0,
    fine_step: float = 1 / 240,
    voltages: bool = True,
    draws: Mapping[str, Any],
) -> Screening:
    """Verdicts on contingencies; see :meth:`dae_solver.physics.grid.PowerSystem.screen`."""
    if not contingencies:
        raise InputError(
            "there is no contingency to screen; see dae_solver.physics.contingencies",
            rule="screen.contingency",
        )
    each = [[one] if isinstance(one, Disturbance) else list(one) for one in contingencies]
    level = levels(load_level, len(each))
    grid.scenarios([])  # topologies can be made once the grid has an operating point
    refused = _refusals(grid, each)
    without = {one.number for one in refused}
    numbers = np.array([k for k in range(len(each)) if k not in without], int)
    if not len(numbers):
        raise InputError(
            f"none of {len(each)} contingencies can be simulated; the first: {refused[0].reason}",
            rule="screen.contingency",
        )
    scenarios = grid.scenarios(*(each[k] for k in numbers.tolist()), load_level=level[numbers])
    if calibration is None:
        wanted = max(300, int(np.ceil(3.0 / alpha))) if alpha > 0 else 300
        options = {"cases": wanted, **draws}
        calibration = calibrate_near_limits(grid, look, fine_step=fine_step, **options)
    calibration.check(grid, look)
    limits = calibration.limits(alpha)
    begun = time.process_time()
    first = Findings.joined(
        [
            Findings.of(look.trajectories(grid, part), voltages=voltages)
            for part in _batches(scenarios, np.arange(len(scenarios)))
        ]
    )
    middle = time.process_time()
    abstained = doubtful(first, limits)
    findings = Findings.joined([first])
    open_ = np.flatnonzero(abstained)
    for begin in range(0, len(open_), BATCH):
        which = open_[begin : begin + BATCH]
        runs = fine(grid, scenarios.take(which), fine_step, look.t_end)
        findings.put(which, Findings.of(runs, voltages=voltages))
    found = Screening(
        grid=grid,
        scenarios=scenarios,
        numbers=numbers,
        refused=refused,
        alpha=alpha,
        limits=limits,
        calibration=calibration,
        first=first,
        findings=findings,
        abstained=abstained,
        first_seconds=middle - begun,
        fine_seconds=time.process_time() - middle,
    )
    log.info(
        "%d contingencies: %d unstable; %.1f %% by the fine engine; %d not simulated",
        len(each), int((~found.stable).sum()), 100 * found.abstention, len(refused),
    )  # fmt: skip
    return found


def doubtful(first: Findings, limits: tuple[float, float]) -> Bool[np.ndarray, " scenario"]:
    """Where a first look says nothing: in the band, or where its own certificate has a doubt."""
    above, below = limits
    clear: np.ndarray = np.where(first.stable, first.margin > above, first.margin < below)
    found: np.ndarray = ~(clear & first.decided)
    return found


def _batches(scenarios: Scenarios, which: np.ndarray) -> list[Scenarios]:
    return [scenarios.take(which[k : k + BATCH]) for k in range(0, len(which), BATCH)]


def _refusals(grid: PowerSystem, each: Sequence[Sequence[Disturbance]]) -> list[Refused]:
    """Contingencies that leave an island, which has no angle of its own to compare with."""
    found = []
    for number, disturbances in enumerate(each):
        try:
            events_of(grid.dae, disturbances)
        except InputError as error:
            if error.rule != "power.island":
                raise
            text = " and ".join(one.text for one in disturbances)
            found.append(Refused(number, text, str(error)))
    return found

"""When a first look is not enough: limits of the margin with a promised share of misses."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.clearing import Fault, critical_times
from dae_solver.physics.disturbances import fault
from dae_solver.physics.looks import BATCH, Findings, FirstLook, fine
from dae_solver.physics.scenarios import Scenarios
from scimind.errors import InputError
from scimind.eval.writing import write_whole
from scimind.seeding import numpy_generator
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.physics.grid import PowerSystem

log = logging.getLogger(__name__)

# Clearing times of calibration faults are this far from the critical one at most.
NEAR = 0.1
# About half of the faults turn out unstable: so many are drawn for one that is still wanted, from
# LEAST to MOST in each of at most ROUNDS rounds. They begin after so many seconds.
DRAWN, LEAST, MOST, ROUNDS, BEGINS = 2.2, 20, 500, 40, 0.1


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Margins that a first look gave to scenarios whose outcome the fine engine knows.

    Attributes:
        case: Name of the grid.
        load_model: How its loads depend on voltage.
        look: Which first look, see :attr:`dae_solver.physics.looks.FirstLook.name`.
        stable: Margins of the stable ones; infinity where the first look did not decide.
        unstable: Margins of the unstable ones; minus infinity where it did not.
        lines: Lines whose faults these are.
    """

    case: str
    load_model: str
    look: str
    stable: Float[np.ndarray, " stable"]
    unstable: Float[np.ndarray, " unstable"]
    lines: tuple[str, ...] = ()

    def limits(self, alpha: float) -> tuple[float, float]:
        """Margins above which a scenario may be called stable, and below which unstable.

        By split conformal prediction for each class: a new unstable scenario, exchangeable with
        those of the calibration, has a margin above the first limit with probability ``alpha`` at
        most; a new stable one below the second likewise. No limit is on the wrong side of 0, where
        the trajectory itself says otherwise.

        Raises:
            InputError: There are too few scenarios of a class to promise that.

        Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World (2005), 4.5
        (Mondrian predictors).
        """
        if not 0 < alpha < 1:
            raise InputError(f"alpha={alpha:g} is not between 0 and 1", rule="screen.alpha")
        above = quantile(self.unstable, alpha, "unstable")
        below = -quantile(-self.stable, alpha, "stable")
        return max(above, 0.0), min(below, 0.0)

    def check(self, grid: PowerSystem, look: FirstLook) -> None:
        """Refuse another grid, other loads or another first look.

        Raises:
            InputError: The calibration is not of these.
        """
        ours = (grid.case.name, str(grid.dae.load_model), look.name)
        for what, was, now in zip(
            ("case", "load", "first look"),
            (self.case, self.load_model, self.look),
            ours,
            strict=True,
        ):
            if was != now:
                raise InputError(
                    f"the calibration has the {what} {was!r} and the screen has {now!r}; "
                    "calibrate again with grid.calibrate_screen",
                    rule="screen.calibration",
                )

    def save(self, path: str | Path) -> None:
        """Write a JSON file."""
        facts: dict[str, Any] = {
            "case": self.case,
            "load_model": self.load_model,
            "look": self.look,
            "lines": self.lines,
            "stable": [None if np.isinf(m) else m for m in self.stable.tolist()],
            "unstable": [None if np.isinf(m) else m for m in self.unstable.tolist()],
        }
        write_whole(Path(path), json.dumps(facts) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what :meth:`save` wrote.

        Raises:
            InputError: There is no such file, or it is another one.
        """
        try:
            facts = json.loads(Path(path).read_text(encoding="utf-8"))
            stable, unstable = (
                np.array([other if m is None else m for m in facts[name]], float)
                for name, other in (("stable", np.inf), ("unstable", -np.inf))
            )
            names = {name: str(facts[name]) for name in ("case", "load_model", "look")}
            lines = tuple(str(line) for line in facts["lines"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is no calibration of a screen ({error!r}); "
                "python -m dae_solver.screen writes calibration.json",
                rule="screen.calibration",
            ) from None
        return cls(stable=stable, unstable=unstable, lines=lines, **names)


def quantile(margins: Float[np.ndarray, " scenario"], alpha: float, what: str) -> float:
    """The smallest limit that a new margin exceeds with probability at most ``alpha``.

    Raises:
        InputError: There are fewer than ``ceil(1 / alpha) - 1`` margins.
    """
    number = len(margins)
    rank = int(np.ceil((1.0 - alpha) * (number + 1) - 1e-9))
    if rank > number:
        raise InputError(
            f"alpha={alpha:g} needs at least {int(np.ceil(1.0 / alpha - 1e-9)) - 1} {what} "
            f"calibration scenarios; there are {number}: give more, or a larger alpha",
            rule="screen.calibration",
        )
    return float(np.sort(margins)[rank - 1])


def calibrate(
    grid: PowerSystem,
    look: FirstLook,
    scenarios: Scenarios,
    *,
    fine_step: float = 1 / 240,
    lines: tuple[str, ...] = (),
) -> Calibration:
    """Look at scenarios, and integrate them finely."""
    margin, stable = [], []
    for begin in range(0, len(scenarios), BATCH):
        part = scenarios.take(np.arange(begin, min(begin + BATCH, len(scenarios))))
        seen = Findings.of(look.trajectories(grid, part), voltages=False)
        truth = fine(grid, part, fine_step, look.t_end).stable
        margin.append(np.where(seen.decided, seen.margin, np.where(truth, np.inf, -np.inf)))
        stable.append(truth)
    every, kept = np.concatenate(margin), np.concatenate(stable)
    return Calibration(
        case=grid.case.name,
        load_model=str(grid.dae.load_model),
        look=look.name,
        stable=every[kept],
        unstable=every[~kept],
        lines=lines,
    )


def calibrate_near_limits(
    grid: PowerSystem,
    look: FirstLook,
    *,
    cases: int = 300,
    lines: tuple[str, ...] | None = None,
    calibration_load: tuple[float, float] = (0.85, 1.05),
    seed: int = 0,
    fine_step: float = 1 / 240,
) -> Calibration:
    """Calibrate with random faults that are cleared shortly before or after the critical time.

    These are harder to tell than what a list of contingencies holds, so that the promise for them
    is more than kept for others.

    Args:
        grid: The system.
        look: What is calibrated.
        cases: So many unstable scenarios at least, and so many stable ones.
        lines: Whose ends have the faults, cleared by opening them; all that leave no island by
            default.
        calibration_load: Smallest and largest load level; one that the grid has no operating point
            for is drawn again.
        seed: Of the draws.
        fine_step: Of the engine that knows, seconds.

    Raises:
        InputError: Faults on these lines have no critical clearing times between 10 ms and 1 s, or
            there is no operating point for most load levels.
    """
    chosen = _lines(grid, lines)
    ends = {branch.id: (branch.from_bus, branch.to_bus) for branch in grid.case.branches}
    parts: list[Calibration] = []
    found = tried = 0
    for round_ in range(ROUNDS):
        rng = numpy_generator(seed, "screen", round_)
        number = int(np.clip(DRAWN * (cases - found), LEAST, MOST))
        tried += number
        drawn = [chosen[int(k)] for k in rng.integers(len(chosen), size=number)]
        faults = [Fault(bus=ends[line][int(rng.integers(2))], trip=line) for line in drawn]
        level = _levels(grid, rng, calibration_load, number)
        limit = critical_times(
            grid, faults, load_level=level, tolerance=0.01, step=look.step, coarse=None,
            t_end=look.t_end,
        ).cct  # fmt: skip
        clear = limit * rng.uniform(1.0 - NEAR, 1.0 + NEAR, number)
        kept = np.flatnonzero(np.isfinite(clear) & (limit > 0.01))
        if len(kept):
            scenarios = grid.scenarios(
                *(
                    fault(faults[k].bus, t=BEGINS, clear=float(clear[k]), trip=faults[k].trip)
                    for k in kept.tolist()
                ),
                load_level=level[kept],
            )
            parts.append(calibrate(grid, look, scenarios, fine_step=fine_step, lines=chosen))
        unstable = sum(len(part.unstable) for part in parts)
        stable = sum(len(part.stable) for part in parts)
        log.info("calibration of the screen: %d unstable, %d stable scenarios", unstable, stable)
        found = min(unstable, stable)
        if found >= cases:
            break
    else:
        raise InputError(
            f"{tried} random faults on {len(chosen)} lines gave {unstable} unstable and {stable} "
            f"stable scenarios near critical times from 10 ms to 1 s, and {cases} of each are "
            "needed: give other lines, a higher load level, or scenarios of your own",
            rule="screen.calibration",
        )
    return Calibration(
        case=grid.case.name,
        load_model=str(grid.dae.load_model),
        look=look.name,
        stable=np.concatenate([part.stable for part in parts]),
        unstable=np.concatenate([part.unstable for part in parts]),
        lines=chosen,
    )


def _levels(
    grid: PowerSystem, rng: np.random.Generator, between: tuple[float, float], number: int
) -> Float[np.ndarray, " scenario"]:
    """Random load levels at which the grid can rest."""
    level, drawn = rng.uniform(*between, number), 0
    while refused := _refused(grid, level):
        place, reason = next(iter(refused.items()))
        drawn += len(refused)
        if drawn > number:
            raise InputError(
                f"most load levels from {between[0]:g} to {between[1]:g} have no operating point, "
                f"such as {level[place]:.3f} ({reason}); give another calibration_load",
                rule="screen.calibration",
            )
        log.warning(
            "%d of %d load levels from %g to %g have no operating point and are drawn again, such "
            "as %.3f: %s",
            len(refused), number, *between, level[place], reason,
        )  # fmt: skip
        level[list(refused)] = rng.uniform(*between, len(refused))
    return level


def _refused(grid: PowerSystem, level: Float[np.ndarray, " scenario"]) -> dict[int, str]:
    """Why levels have no operating point, by their numbers."""
    try:
        grid.scenarios(*([] for _ in level), load_level=level)
    except InputError as error:
        half = len(level) // 2
        if not half:
            return {0: str(error)}
        found = _refused(grid, level[:half])
        return found | {half + k: why for k, why in _refused(grid, level[half:]).items()}
    return {}


def _lines(grid: PowerSystem, lines: tuple[str, ...] | None) -> tuple[str, ...]:
    network, branches = grid.dae.network, grid.case.branches
    if lines is None:
        found = tuple(
            branch.id
            for k, branch in enumerate(branches)
            if branch.in_service and len(network.islands(network.built.without([k]))) == 1
        )
    else:
        found = tuple(branches[network.branch(line)].id for line in lines)
    if not found:
        raise InputError("no line may open without an island", rule="screen.calibration")
    return found

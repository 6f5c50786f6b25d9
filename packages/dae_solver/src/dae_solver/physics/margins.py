"""How far a trajectory is from losing synchronism."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dae_solver.physics.trajectories import Trajectories
from scimind.typing import Bool, Float, Int

# Angles at which the kinetic energy beyond the largest swing is looked at, over half a turn.
ANGLES = 91
# A swing is as large as the largest from this share of its spread on.
LARGE = 0.98
# Directions that the samples of a swing show by less than this share are left out of the fit.
SHOWN = 1e-9


@dataclass(frozen=True, kw_only=True)
class Margins:
    """Margins of trajectories; positive where they are stable, from -1 to 1.

    Attributes:
        margin: The smaller of ``swing`` and of the share of 180 degrees that the angles leave.
        swing: Decelerating less accelerating area over the accelerating one, of the two groups that
            the machines form; see :func:`margins`.
        spread: Largest distance of two angles until separation, radians.
        advanced: Machines of the group that runs ahead.
    """

    margin: Float[np.ndarray, " scenario"]
    swing: Float[np.ndarray, " scenario"]
    spread: Float[np.ndarray, " scenario"]
    advanced: Bool[np.ndarray, "scenario machine"]


@dataclass(frozen=True)
class Swing:
    """Two groups of machines as one machine, on the way to their largest distance.

    Attributes:
        angle: Distance of the groups' centres, ``[scenario, sample]``, radians.
        kinetic: Half the square of its rate, 1/s2.
        used: Samples that are on the way and after the last event.
        last: The last one of these.
    """

    angle: Float[np.ndarray, "scenario sample"]
    kinetic: Float[np.ndarray, "scenario sample"]
    used: Bool[np.ndarray, "scenario sample"]
    last: Int[np.ndarray, " scenario"]


def margins(runs: Trajectories) -> Margins:
    """Margins by the equal-area criterion for the one machine that two groups amount to.

    The groups are parted at the widest gap between angles when these are furthest apart. The
    kinetic energy ``K`` of their relative motion is a function of their distance for one machine
    against a bus: ``K = a + b δ + c cos δ + d sin δ``, which is fitted to the way out. What is left
    of it where it is smallest beyond, at the unstable equilibrium, less what the swing had at most,
    both over the latter, is the margin: ``-K_u / K_max``. It is above 0 where the energy is used up
    before. Where nothing swings, the angles alone decide.

    Args:
        runs: Trajectories of at least ten outputs a second.

    Source: Pavella, Ernst and Ruiz-Vega, Transient Stability of Power Systems: A Unified Approach
    to Assessment and Control (2000), chapter 2 (SIME); the energy instead of the power is fitted,
    so that no derivative is taken.
    """
    spread = runs.spread
    before = runs.t <= runs.separated[:, None]
    seen = np.where(before & np.isfinite(spread), spread, -1.0)
    furthest = np.where(runs.stable, _first_large_swing(seen), seen.argmax(1))
    rows = np.arange(len(seen))
    largest = seen.max(1)
    advanced = _advanced(runs.delta[rows, furthest], runs.connected[rows, furthest])
    swing = _swing(runs, advanced, furthest)
    left = _left(swing, runs.stable)
    angle = np.clip(1.0 - largest / np.pi, -1.0, 1.0)
    return Margins(
        margin=np.where(runs.stable, np.minimum(left, np.maximum(angle, 0.0)), np.minimum(left, 0)),
        swing=left,
        spread=largest,
        advanced=advanced,
    )


def _first_large_swing(spread: Float[np.ndarray, "scenario time"]) -> Int[np.ndarray, " scenario"]:
    """The first peak that is nearly the largest: later ones of it are the same swing again."""
    beside = np.pad(spread, ((0, 0), (1, 1)), constant_values=-np.inf)
    peak = (spread >= beside[:, :-2]) & (spread >= beside[:, 2:])
    large = peak & (spread >= LARGE * spread.max(1, keepdims=True))
    found: np.ndarray = large.argmax(1)
    return found


def _advanced(
    angle: Float[np.ndarray, "scenario machine"], connected: Bool[np.ndarray, "scenario machine"]
) -> Bool[np.ndarray, "scenario machine"]:
    """Machines above the widest gap."""
    sorted_ = np.sort(np.where(connected, angle, np.inf), axis=1)
    with np.errstate(invalid="ignore"):
        gaps = np.diff(sorted_, axis=1)
    place = np.argmax(np.where(np.isfinite(gaps), gaps, -1.0), axis=1)
    floor = np.take_along_axis(sorted_, place[:, None], 1)
    found: np.ndarray = (angle > floor) & connected
    return found


def _swing(
    runs: Trajectories,
    advanced: Bool[np.ndarray, "scenario machine"],
    furthest: Int[np.ndarray, " scenario"],
) -> Swing:
    rows = np.arange(len(furthest))
    connected = runs.connected[rows, furthest]
    weight = _share(runs.grid.inertia * advanced) - _share(
        runs.grid.inertia * (connected & ~advanced)
    )
    turn = 2.0 * np.pi * runs.grid.case.frequency
    t, last_event, x = runs.t, *_last_events(runs, runs.t[furthest])
    grid = runs.grid
    delta = np.concatenate([x[:, None, grid.rows("delta")], runs.delta], axis=1)
    omega = np.concatenate([x[:, None, grid.rows("omega")], runs.omega], axis=1)
    angle = np.einsum("stm,sm->st", delta, weight)
    rate = turn * np.einsum("stm,sm->st", omega, weight)
    time = np.concatenate([last_event[:, None], np.broadcast_to(t, (len(rows), len(t)))], axis=1)
    used = (time >= last_event[:, None]) & (time <= t[furthest][:, None])
    back = used & ~(rate > 0.0)
    turned = np.where(back, time, -np.inf)
    # The largest angle itself may come back already by the next sample.
    turned[rows, 1 + furthest] = -np.inf
    used &= time >= turned.max(1, keepdims=True)
    return Swing(angle=angle, kinetic=0.5 * rate**2, used=used, last=1 + furthest)


def _share(weight: Float[np.ndarray, "scenario machine"]) -> np.ndarray:
    total = weight.sum(1, keepdims=True)
    found: np.ndarray = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)
    return found


def _last_events(
    runs: Trajectories, until: Float[np.ndarray, " scenario"]
) -> tuple[Float[np.ndarray, " scenario"], Float[np.ndarray, "scenario state"]]:
    """Time and states of the last event before a time; of the start where there is none."""
    time = np.full(len(until), runs.t[0])
    x = runs.solution.x[:, 0].copy()
    for event in runs.solution.events:
        if time[event.scenario] <= event.time <= until[event.scenario]:
            time[event.scenario], x[event.scenario] = event.time, event.x_plus
    return time, x


def _left(swing: Swing, stable: Bool[np.ndarray, " scenario"]) -> Float[np.ndarray, " scenario"]:
    """Less the kinetic energy at the unstable equilibrium, over the largest one."""
    angle, kinetic, used = swing.angle, swing.kinetic, swing.used
    rows = np.arange(len(angle))
    first = np.where(used, angle, np.inf).min(1)
    last = angle[rows, swing.last]
    # Angles from the middle of the way keep the columns of the fit apart.
    middle = 0.5 * (first + last)
    columns = _columns(np.where(used, angle - middle[:, None], 0.0)) * used[..., None]
    fit = np.linalg.pinv(columns, rcond=SHOWN) @ np.where(used, kinetic, 0.0)[..., None]

    def along(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
        places = begin[:, None] + (end - begin)[:, None] * np.linspace(0.0, 1.0, ANGLES)
        found: np.ndarray = (_columns(places - middle[:, None]) @ fit)[..., 0]
        return found

    # A stable swing would need more energy up to the first valley beyond its end.
    beyond = along(last, last + np.pi)
    rising = np.diff(beyond, axis=1) > 0.0
    valley = np.where(rising.any(1), rising.argmax(1), ANGLES - 1)
    largest = np.where(used, kinetic, 0.0).max(1)
    reserve = _ratio(-beyond[rows, valley], largest, np.inf)
    # An unstable one keeps what it has in the last valley on its way; without one it has it all.
    passed = along(first, last)
    falling = np.diff(passed, axis=1) < 0.0
    valley = np.where(falling.any(1), ANGLES - 1 - falling[:, ::-1].argmax(1), 0)
    highest = np.where(np.arange(ANGLES) <= valley[:, None], passed, 0.0).max(1)
    kept = _ratio(-passed[rows, valley], np.where(valley > 0, highest, 0.0), -1.0)
    result: np.ndarray = np.clip(np.where(stable, reserve, kept), -1.0, 1.0)
    return result


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float) -> np.ndarray:
    found = np.full(len(part), otherwise)
    np.divide(part, whole, out=found, where=(whole > 0.0) & np.isfinite(part))
    return found


def _columns(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(angle), angle, np.cos(angle), np.sin(angle)], axis=-1)

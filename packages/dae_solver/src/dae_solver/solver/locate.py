"""Where, within a step, a condition passes zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dae_solver.solver.events import StateEvent
from dae_solver.solver.methods.step import Point, Trial
from dae_solver.solver.parameters import Parameters, take
from dae_solver.solver.system import DAESystem
from scimind.typing import Bool, Float, Int

# Within a step, events are looked at here too, so that one that dips below zero is not missed.
SAMPLES = (0.25, 0.5, 0.75)
# Dense output aims; the step to the place is taken anew and its size improved, so this is enough.
MOST_TRIALS, CLOSE = 60, 1e-6

Watch = Callable[[Any, Any, Any, Any], Float[np.ndarray, "condition scenario"]]


def watch(system: DAESystem, events: Sequence[StateEvent], *, kinks: bool) -> Watch | None:
    """All conditions of a simulation as one function: those of the events, then the kinks."""

    def conditions(t: Any, x: Any, y: Any, p: Parameters) -> np.ndarray:
        scenarios = x.shape[-1]
        rows = [
            np.broadcast_to(np.asarray(event.condition(t, x, y, p), float), (1, scenarios))
            for event in events
        ]
        extra = system.kinks(t, x, y, p) if kinks else None
        if extra is not None:
            rows.append(np.asarray(extra))
        return np.concatenate(rows) if rows else np.zeros((0, scenarios))

    return conditions if events or kinks else None


def shortly_after(
    conditions: Watch, point: Point, p: Parameters, h: Float[np.ndarray, " scenario"]
) -> Float[np.ndarray, "condition scenario"]:
    """The conditions a millionth of a step behind a point, along the derivative."""
    moment = 1e-6 * h
    return conditions(
        point.t + moment, point.x + moment * point.f, point.y + moment * point.slope, p
    )


def sides(
    conditions: Watch, point: Point, p: Parameters, h: Float[np.ndarray, " scenario"]
) -> Int[np.ndarray, "condition scenario"]:
    """On which side of zero each condition is just after a point: ``-1`` or ``1``.

    A condition that is zero at the point (as after its own event) is looked at a moment later,
    along the derivative.
    """
    value = conditions(point.t, point.x, point.y, p)
    side = np.sign(value)
    later = shortly_after(conditions, point, p, h)
    near = np.abs(value) <= np.abs(later - value)
    return np.where(near, np.where(later >= value, 1, -1), np.where(side == 0, 1, side)).astype(int)


def crossing(
    system: DAESystem,
    conditions: Watch,
    start: Point,
    trial: Trial,
    h: Float[np.ndarray, " scenario"],
    p: Parameters,
    side: Int[np.ndarray, "condition scenario"],
    direction: Int[np.ndarray, " condition"],
    armed: Bool[np.ndarray, "condition scenario"],
    tolerance: float,
    inner: bool,
) -> tuple[Bool[np.ndarray, " scenario"], Float[np.ndarray, " scenario"]]:
    """Which scenarios pass zero within a step, and at which share of it.

    Args:
        system: The equations, for the algebraic variables on the way.
        conditions: From :func:`watch`.
        start: Of the step.
        trial: The step.
        h: Its size.
        p: Parameters.
        side: From :func:`sides`, at the start.
        direction: Of each condition: ``-1``, ``0`` or ``1``.
        armed: Which conditions can still happen.
        tolerance: Of the algebraic equations.
        inner: Look within the step too, not only at its end.

    Returns:
        Whether one passes, and the share of the step up to just behind the first that does.
    """
    scenarios = len(h)
    passable = armed & ((direction[:, None] == 0) | (side == -direction[:, None]))

    def beyond(value: np.ndarray, which: Any) -> np.ndarray:
        """How far the conditions are on their other side, of those that may pass the farthest."""
        turned = np.where(passable[:, which], -value * side[:, which], -np.inf)
        found: np.ndarray = np.fmax.reduce(turned, axis=0, initial=-np.inf)
        return found

    def at(
        share: np.ndarray, start: Point, trial: Trial, h: np.ndarray, p: Parameters
    ) -> np.ndarray:
        x, y = trial.dense(share)
        y, _ = system.solve(start.t + share * h, x, y, p, tolerance)
        return conditions(start.t + share * h, x, y, p)

    every = slice(None)
    low, high = np.zeros(scenarios), np.full(scenarios, np.inf)
    below = beyond(conditions(start.t, start.x, start.y, p), every)
    above = np.full(scenarios, np.inf)
    if inner:
        for share in SAMPLES:
            value = beyond(at(np.full(scenarios, share), start, trial, h, p), every)
            behind = (value > 0) & np.isinf(high)
            high[behind], above[behind] = share, value[behind]
            ahead = np.isinf(high)
            low[ahead], below[ahead] = share, value[ahead]
    value = beyond(conditions(trial.end.t, trial.end.x, trial.end.y, p), every)
    behind = (value > 0) & np.isinf(high)
    high[behind], above[behind] = 1.0, value[behind]
    which = np.flatnonzero(np.isfinite(high))
    if len(which):
        part = (start.take(which), trial.take(which), h[which], take(p, which))
        high[which] = _root(
            lambda share: beyond(at(share, *part), which),
            (low[which], below[which]),
            (high[which], above[which]),
        )
    return np.isfinite(high), high


def _root(
    function: Callable[[np.ndarray], np.ndarray],
    low: tuple[np.ndarray, np.ndarray],
    high: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Just behind a change of sign, for many functions at once.

    Args:
        function: From one place for each to one value for each.
        low: Places with values that are not positive, and these.
        high: Places above them with positive values, and these.

    Source: Chandrupatla, Adv. Eng. Software 28, 145 (1997).
    """
    (x1, f1), (x2, f2) = high, low
    f2 = np.minimum(f2, 0.0)
    share = np.full(len(x1), 0.5)
    for _ in range(MOST_TRIALS):
        width = np.abs(x2 - x1)
        close = width <= CLOSE * np.maximum(x1, x2)
        if close.all():
            break
        x = np.where(close, x1, x1 + share * (x2 - x1))
        f = np.where(close, f1, function(x))
        same = (f > 0) == (f1 > 0)
        x3, f3 = np.where(same, x1, x2), np.where(same, f1, f2)
        x2, f2 = np.where(same, x2, x1), np.where(same, f2, f1)
        x1, f1 = x, f
        with np.errstate(all="ignore"):
            least = 0.25 * CLOSE * np.maximum(x1, x2) / np.abs(x2 - x1)
            xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
            smooth = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
            share = f1 / (f2 - f1) * f3 / (f2 - f3)
            share += (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
            share = np.where(smooth & np.isfinite(share), share, 0.5)
            share = np.clip(share, np.minimum(least, 0.5), np.maximum(1 - least, 0.5))
    return np.where(f1 > 0, x1, x2)

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
BISECTIONS, CLOSE = 60, 1e-6

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
    low, high = np.zeros(scenarios), np.full(scenarios, np.inf)

    def passed(value: np.ndarray, side: np.ndarray, armed: np.ndarray) -> np.ndarray:
        """Scenarios in which some armed condition is on its other side."""
        turned = (value * side < 0) & armed
        turned &= (direction[:, None] == 0) | (side == -direction[:, None])
        found: np.ndarray = turned.any(axis=0)
        return found

    def at(
        share: np.ndarray, start: Point, trial: Trial, h: np.ndarray, p: Parameters
    ) -> np.ndarray:
        x, y = trial.dense(share)
        y, _ = system.solve(start.t + share * h, x, y, p, tolerance)
        return conditions(start.t + share * h, x, y, p)

    if inner:
        for share in SAMPLES:
            value = at(np.full(scenarios, share), start, trial, h, p)
            behind = passed(value, side, armed) & np.isinf(high)
            high[behind] = share
            low[np.isinf(high)] = share
    value = conditions(trial.end.t, trial.end.x, trial.end.y, p)
    high[passed(value, side, armed) & np.isinf(high)] = 1.0
    which = np.flatnonzero(np.isfinite(high))
    if len(which):
        part = (start.take(which), trial.take(which), h[which], take(p, which))
        begin, end = low[which], high[which]
        for _ in range(BISECTIONS):
            if np.all(end - begin <= CLOSE * end):
                break
            middle = 0.5 * (begin + end)
            behind = passed(at(middle, *part), side[:, which], armed[:, which])
            end, begin = np.where(behind, middle, end), np.where(behind, begin, middle)
        high[which] = end
    return np.isfinite(high), high

"""Fixed steps and time events of a batch, laid out before it runs.

All scenarios go through the same number of rounds, one step each; a scenario that needs fewer
takes steps of zero at its end. Between events its parameters are ``scale * p + offset`` of the
given ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_solver.solver.events import TimeEvent
from scimind.errors import InputError
from scimind.typing import Float, Int


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What happens in which round.

    Attributes:
        h: Steps, ``[round, scenario]``, seconds.
        t: Times at the ends of rounds, the start first, ``[round + 1, scenario]``.
        segment: Number of the segment of each round and scenario.
        scale: Factor of the parameters, ``[segment, row]``.
        offset: What is added to them, ``[segment, row]``.
        network: Number of the topology, ``[segment]``.
    """

    h: Float[np.ndarray, "round scenario"]
    t: Float[np.ndarray, "point scenario"]
    segment: Int[np.ndarray, "round scenario"]
    scale: Float[np.ndarray, "segment row"]
    offset: Float[np.ndarray, "segment row"]
    network: Int[np.ndarray, " segment"]

    def outputs(self, times: np.ndarray) -> Int[np.ndarray, "time scenario"]:
        """The point at which each scenario is at each time.

        Raises:
            InputError: A time is not the end of a step.
        """
        found = np.empty((len(times), self.t.shape[1]), int)
        for scenario, ends in enumerate(self.t.T):
            # The first of equal times: just before an event, and before steps of zero.
            place = np.minimum(np.searchsorted(ends, times - 1e-9), len(ends) - 1)
            away = np.abs(ends[place] - times)
            if (away > 1e-9).any():
                wrong = times[int(np.argmax(away))]
                raise InputError(
                    f"the output time {wrong:g} s is not a multiple of the step; choose "
                    "every as a multiple of step",
                    rule="power.time",
                )
            found[:, scenario] = place
        return found


def plan(
    events: Sequence[Sequence[TimeEvent]],
    rows: Mapping[str, slice],
    network: np.ndarray,
    *,
    step: float,
    t_end: float,
) -> Schedule:
    """Lay out the steps as :func:`dae_solver.solver.simulate.simulate` takes them.

    Args:
        events: Of each scenario.
        rows: Of each parameter in the array of all.
        network: Topology at the start, ``[scenario]``.
        step: Fixed step; steps end at its multiples, and at events.
        t_end: The end.

    Raises:
        InputError: An event does more than set parameters, or one of a parameter that is not
            among ``rows``.
    """
    number = max((each.stop for each in rows.values()), default=0)
    segments: list[tuple[np.ndarray, np.ndarray, int]] = []
    steps: list[list[tuple[float, int]]] = []
    for scenario, its in enumerate(events):
        pending = sorted(its, key=lambda event: event.time)
        now = (np.ones(number), np.zeros(number), int(network[scenario]))
        t, taken = 0.0, list[tuple[float, int]]()
        segments.append(now)
        while True:
            changed = False
            while pending and pending[0].time <= t:
                now = _after(pending.pop(0), now, rows)
                changed = True
            if changed:
                segments.append(now)
            if t >= t_end:
                break
            stop = min(pending[0].time, t_end) if pending else t_end
            goal = (np.floor(t / step + 1e-9) + 1.0) * step
            if goal >= stop - 1e-9 * (goal - t):
                goal = stop
            taken.append((goal, len(segments) - 1))
            t = goal
        steps.append(taken)
    rounds = max(map(len, steps))
    times = np.full((rounds + 1, len(events)), t_end)
    times[0] = 0.0
    segment = np.empty((rounds, len(events)), int)
    for scenario, taken in enumerate(steps):
        times[1 : len(taken) + 1, scenario] = [goal for goal, _ in taken]
        segment[: len(taken), scenario] = [which for _, which in taken]
        segment[len(taken) :, scenario] = taken[-1][1]
    return Schedule(
        h=np.diff(times, axis=0),
        t=times,
        segment=segment,
        scale=np.array([each[0] for each in segments]),
        offset=np.array([each[1] for each in segments]),
        network=np.array([each[2] for each in segments]),
    )


def _after(
    event: TimeEvent, now: tuple[np.ndarray, np.ndarray, int], rows: Mapping[str, slice]
) -> tuple[np.ndarray, np.ndarray, int]:
    if event.reset is not None or event.condition is not None:
        raise InputError(
            f"the event {event.name!r} resets states or has a condition; a differentiable "
            "simulation takes events at given times that change parameters",
            rule="dae.events",
        )
    scale, offset, network = now[0].copy(), now[1].copy(), now[2]
    for change in event.changes:
        if change.name == "network":
            network = int(change.value)
            continue
        if change.name not in rows:
            raise InputError(
                f"the event {event.name!r} changes {change.name!r}; name it among the parameters "
                f"of the differentiable grid, which are: {', '.join(rows)}",
                rule="dae.parameter",
            )
        every = np.arange(rows[change.name].start, rows[change.name].stop)
        place: Any = every if change.row is None else every[change.row]
        if change.how == "add":
            offset[place] += change.value
        else:
            factor = change.value if change.how == "scale" else 0.0
            scale[place] *= factor
            offset[place] *= factor
            if change.how == "set":
                offset[place] = change.value
    return scale, offset, network

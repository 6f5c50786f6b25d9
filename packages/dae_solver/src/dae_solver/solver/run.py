"""The loop of a simulation: one round is one step of every scenario that is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_solver.solver.events import Condition, StateEvent, TimeEvent
from dae_solver.solver.initial import Consistency, Guess, consistent
from dae_solver.solver.locate import Watch, crossing, shortly_after, sides, watch
from dae_solver.solver.methods import Method, Point, Tolerances, Trial
from dae_solver.solver.methods.explicit import ExplicitRungeKutta
from dae_solver.solver.parameters import Parameters, some, take
from dae_solver.solver.projection import project
from dae_solver.solver.schedule import Restart, Schedule, Timetable
from dae_solver.solver.solution import Solution, Statistics
from dae_solver.solver.stretch import Stretch
from dae_solver.solver.system import DAESystem
from scimind.errors import InputError

# Bounds of the change of an adaptive step, and its margin.
SHRINK, GROW, SAFETY = 0.2, 5.0, 0.9
# So many events one after the other, with no whole step between them, accumulate.
MOST_IN_A_ROW = 100
# Conditions below this share of their largest value are zero but for rounding.
ROUNDING = 1e-9
# After so many kinks in a row (of a limit that chatters) a step goes on over them.
KINKS_IN_A_ROW = 20
# A step below this share of the time is a failure.
SMALLEST_SHARE = 16 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True, kw_only=True)
class Control:
    """How to step; see :func:`dae_solver.solver.simulate.simulate`."""

    method: Method
    step: float | None
    rtol: float
    atol: float
    first_step: float | None
    longest_step: float
    most_steps: int
    locate_kinks: bool
    tolerances: Tolerances
    guesses: tuple[tuple[str, Guess], ...]
    until: Condition | None
    single: bool


class Run:
    """A simulation under way."""

    def __init__(
        self,
        system: DAESystem,
        times: np.ndarray,
        x: np.ndarray,
        y: np.ndarray,
        p: dict[str, np.ndarray],
        control: Control,
    ) -> None:
        self.system, self.times, self.p, self.control = system, times, p, control
        scenarios = x.shape[-1]
        t = np.full(scenarios, times[0])
        # Estimates compare the methods of a step; those that have none compare with half steps.
        self.order = control.method.estimate_order or control.method.order
        self.x_out = np.empty((scenarios, len(times), len(x)))
        self.y_out = np.empty((scenarios, len(times), len(y)))
        self.failure = [""] * scenarios
        self.happened: list[Restart] = []
        self.restarts: list[Consistency] = []
        self.statistics = Statistics(
            steps=np.zeros(scenarios, int),
            refused=np.zeros(scenarios, int),
            located=np.zeros(scenarios, int),
        )
        x = self._on_invariants(t, x)
        y, self.start = consistent(
            system, t, x, y, p, guesses=control.guesses, tolerance=control.tolerances.algebraic
        )
        if not self.start.converged.any():
            raise InputError(
                "no scenario has algebraic variables that solve the equations at the start: "
                f"{self.start.text()}; give a better y0 or guesses",
                rule="dae.inconsistent",
            )
        f = np.asarray(system.f(t, x, y, p), float)
        self.point = Point(t=t, x=x, y=y, f=f, slope=np.zeros_like(y))
        self.done = ~self.start.converged
        for scenario in np.flatnonzero(self.done):
            self.failure[scenario] = "the algebraic equations have no solution at the start"
        self.ended = np.where(self.done, times[0], times[-1])
        self.next_output = np.where(self.done, 0, 1)
        self.h = np.full(scenarios, control.step or 0.0)
        self.in_a_row = np.zeros(scenarios, int)
        self.shorter = np.ones(scenarios)  # of a fixed step, where one could not be solved

    def _on_invariants(self, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Initial states on the invariants, to rounding; those that are elsewhere are an error."""
        r = self.system.invariants(t, x, self.p)
        if r is None:
            return x
        worst = np.abs(np.asarray(r))
        if not worst.max() <= 1e-6:
            row, scenario = np.unravel_index(int(np.nanargmax(worst)), worst.shape)
            hidden = getattr(self.system, "hidden", ())
            name = hidden[row] if hidden else f"invariant {row}"
            raise InputError(
                f"the initial state of scenario {scenario} violates {name} = 0: it is "
                f"{float(np.asarray(r)[row, scenario]):.3g}; give states on it",
                rule="dae.inconsistent",
            )
        return project(self.system, t, x, self.p)

    def to_end(
        self, events: Timetable | Sequence[Any], state_events: Sequence[StateEvent]
    ) -> Solution:
        """Run until every scenario has ended."""
        scenarios = len(self.done)
        self.schedule = Schedule.of(events, scenarios)
        self.due = self.schedule.next_time()
        if (early := self.due < self.times[0]).any():
            scenario = int(np.flatnonzero(early)[0])
            raise InputError(
                f"scenario {scenario} has an event at {self.due[scenario]:g}, before the start at "
                f"{self.times[0]:g}",
                rule="dae.events",
            )
        self.state_events = tuple(state_events)
        kinks = self.control.locate_kinks
        self.conditions: Watch | None = watch(self.system, self.state_events, kinks=kinks)
        alive = ~self.done
        self.x_out[alive, 0] = self.point.x[:, alive].T
        self.y_out[alive, 0] = self.point.y[:, alive].T
        number = 0
        if self.conditions is not None:
            number = len(self.conditions(self.point.t, self.point.x, self.point.y, self.p))
        self.direction = np.zeros(number, int)
        self.direction[: len(self.state_events)] = [e.direction for e in self.state_events]
        self.armed = np.ones((number, scenarios), bool)
        self.side = np.zeros((number, scenarios), int)
        self.largest = np.zeros((number, scenarios))
        self._first_steps(np.flatnonzero(alive))
        self._sides(np.flatnonzero(alive))
        self._happen(np.flatnonzero(alive), None)
        self._sides(np.flatnonzero(~self.done))
        while not self.done.all():
            self._advance(np.flatnonzero(~self.done))
        for scenario in np.flatnonzero(self.next_output < len(self.times)):
            for out in (self.x_out, self.y_out):
                out[scenario, self.next_output[scenario] :] = np.nan
        states, algebraics = self.system.output_names
        x, y = self.system.outputs(self.x_out, self.y_out)
        for one in self.happened:
            minus = self.system.outputs(one.x_minus.T, one.y_minus.T)
            plus = self.system.outputs(one.x_plus.T, one.y_plus.T)
            one.x_minus, one.y_minus = (each.T for each in minus)
            one.x_plus, one.y_plus = (each.T for each in plus)
        return Solution(
            t=self.times,
            x=np.ascontiguousarray(x),
            y=np.ascontiguousarray(y),
            states=states,
            algebraics=algebraics,
            happened=self.happened,
            start=self.start,
            restarts=self.restarts,
            ended=self.ended,
            failure=self.failure,
            statistics=self.statistics,
        )

    def _advance(self, active: np.ndarray) -> None:
        """Up to the next event at once where the system can, else by one step."""
        control, method = self.control, self.control.method
        if (
            control.step is None
            or self.conditions is not None
            or not isinstance(method, ExplicitRungeKutta)
            or not self.system.stretches(len(method.b), self.p)
        ):
            self._round(active)
            return
        # After a step that could not be solved some are on their way back to whole ones.
        at_once = self.shorter[active] == 1.0
        rest, whole = active[~at_once], active[at_once]
        if len(whole):
            stretch = self._stretch(whole, method)
            self.system.stretch(stretch, some(self.p, whole, len(self.done)))
            self.statistics.rounds += 1
            self.point.put(whole, stretch.point)
            self.next_output[whole] = stretch.next_output
            self.statistics.steps[whole] = stretch.steps
            self._finish(whole[~stretch.stuck], None)
            if stretch.stuck.any():
                rest = np.union1d(rest, whole[stretch.stuck])
        if len(rest):
            self._round(rest)

    def _stretch(self, which: np.ndarray, method: ExplicitRungeKutta) -> Stretch:
        """The steps of which scenarios up to their next event, or where they may end."""
        control, stages = self.control, len(method.b)
        point = self.point.take(which)
        if point.missed is None or point.h is None:
            point.missed = np.zeros((stages, *point.y.shape))
            point.h = np.ones(len(which))
        pause = np.full(len(which), np.inf)
        if control.until is not None:
            pause = self.times[np.minimum(self.next_output[which], len(self.times) - 1)]
        a, b, c = method.tableau()
        return Stretch(
            a=a,
            b=b,
            c=c,
            first=np.full(len(which), self.times[0]),
            step=np.full(len(which), control.step),
            stop=np.minimum(self.due[which], self.times[-1]),
            pause=pause,
            tolerance=control.tolerances.algebraic,
            point=point,
            times=self.times,
            x_out=self.x_out,
            y_out=self.y_out,
            place=which,
            next_output=self.next_output[which],
            steps=self.statistics.steps[which],
            stuck=np.zeros(len(which), bool),
            single=control.single,
        )

    def _round(self, active: np.ndarray) -> None:
        """One step of the scenarios ``active``, and whatever happens at its end."""
        self.statistics.rounds += 1
        every = len(active) == len(self.done)
        start = self.point if every else self.point.take(active)
        p = some(self.p, active, len(self.done))
        stop = np.minimum(self.due[active], self.times[-1])
        goal, h = self._goal(start.t, active, stop)
        with np.errstate(all="ignore"):
            trial, error = self._attempt(start, h, p)
        good = trial.solved & np.isfinite(trial.end.x).all(0) & np.isfinite(trial.end.y).all(0)
        if self.control.step is None:
            good = self._adapt(active, start, trial, h, good, error)
        else:
            self.shorter[active[~good]] *= 0.5
        self.statistics.refused[active[~good]] += 1
        self._give_up(active[~good], h[~good])
        if not good.any():
            return
        if not good.all():
            active, goal, h = active[good], goal[good], h[good]
            start, p, trial = start.take(good), take(p, good), trial.take(np.flatnonzero(good))
        trial.end.t = goal
        fired = None
        if self.conditions is not None:
            trial, h, fired = self._locate(active, start, trial, h, p)
        trial.end = self._projected(trial.end, p)
        self._outputs(active, start, trial, h, p)
        if len(active) == len(self.done):
            self.point = trial.end
        else:
            self.point.put(active, trial.end)
        self.statistics.steps[active] += 1
        self._finish(active, fired)

    def _goal(
        self, t: np.ndarray, active: np.ndarray, stop: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where the step is to end, and its size."""
        step = self.control.step
        if step is not None:
            first = self.times[0]
            node = first + (np.floor((t - first) / step + 1e-9) + 1.0) * step
            goal = t + (node - t) * self.shorter[active]
        else:
            goal = t + np.minimum(self.h[active], self.control.longest_step)
            # Two equal steps instead of a long and a tiny one.
            left = stop - t
            goal = np.where((goal - t > 0.5 * left) & (goal < stop), t + 0.5 * left, goal)
        near = goal >= stop - 1e-9 * np.maximum(goal - t, 0.0)
        goal = np.where(near, stop, goal)
        return goal, goal - t

    def _attempt(
        self, start: Point, h: np.ndarray, p: Parameters
    ) -> tuple[Trial, np.ndarray | None]:
        """A step, with an estimate of its error where steps adapt."""
        method, tolerances = self.control.method, self.control.tolerances
        trial = method.step(self.system, start, h, p, tolerances)
        if self.control.step is not None:
            return trial, None
        if trial.error is not None:
            return trial, trial.error
        half = method.step(self.system, start, 0.5 * h, p, tolerances)
        rest = method.step(self.system, half.end, 0.5 * h, p, tolerances)
        error = (trial.end.x - rest.end.x) / (1.0 - 0.5**method.order)
        trial.solved &= half.solved & rest.solved
        return trial, error

    def _adapt(
        self,
        active: np.ndarray,
        start: Point,
        trial: Trial,
        h: np.ndarray,
        good: np.ndarray,
        error: np.ndarray | None,
    ) -> np.ndarray:
        """Choose the next steps, and say which of these are good enough."""
        assert error is not None
        control = self.control
        largest = np.maximum(np.abs(start.x), np.abs(trial.end.x))
        weight = control.rtol * largest + control.atol * self.system.x_scale[:, None]
        size = np.sqrt(np.mean((error / weight) ** 2, axis=0))
        size = np.where(good & np.isfinite(size), size, np.inf)
        with np.errstate(divide="ignore"):
            factor = SAFETY * size ** (-1.0 / (self.order + 1))
        factor = np.clip(factor, SHRINK, GROW)
        accepted = size <= 1.0
        # A step cut short by an event says little about the next one.
        grown = np.where(
            accepted, np.maximum(h * factor, np.where(factor > 1, self.h[active], 0)), h
        )
        self.h[active] = np.where(accepted, grown, h * np.minimum(factor, 0.9))
        return accepted

    def _give_up(self, refused: np.ndarray, h: np.ndarray) -> None:
        t = self.point.t[refused]
        smallest = SMALLEST_SHARE * np.maximum(
            np.abs(t), np.abs(self.times[-1] - self.times[0]) * 1e-9
        )
        stuck = h <= smallest
        if self.control.step is not None:
            stuck |= self.shorter[refused] < 1e-4
        many = self.statistics.refused[refused] > self.control.most_steps
        for scenario, size in zip(refused[stuck | many], h[stuck | many], strict=True):
            self._fail(int(scenario), f"no step of {size:.1e} can be solved")

    def _fail(self, scenario: int, reason: str) -> None:
        self.failure[scenario] = f"at t = {self.point.t[scenario]:.6g}: {reason}"
        self.done[scenario] = True
        self.ended[scenario] = self.point.t[scenario]

    def _locate(
        self, active: np.ndarray, start: Point, trial: Trial, h: np.ndarray, p: Parameters
    ) -> tuple[Trial, np.ndarray, np.ndarray | None]:
        """Shorten the steps in which a condition passes zero; which conditions did."""
        assert self.conditions is not None
        tolerance = self.control.tolerances.algebraic
        side, armed = self.side[:, active], self.armed[:, active]
        armed[len(self.state_events) :, self.in_a_row[active] >= KINKS_IN_A_ROW] = False
        found, share = crossing(
            self.system,
            self.conditions,
            start,
            trial,
            h,
            p,
            side,
            self.direction,
            armed,
            tolerance,
            inner=bool(self.state_events),
        )
        self.in_a_row[active[~found]] = 0
        if not found.any():
            return trial, h, None
        which = np.flatnonzero(found)
        self.in_a_row[active[which]] += 1
        begin, part = start.take(which), take(p, which)
        size = share[which] * h[which]
        again = self.control.method.step(self.system, begin, size, part, self.control.tolerances)
        # The dense output aims; what is taken is a step of its own, moved onto the condition.
        again, size = self._polish(begin, again, size, part, side[:, which], armed[:, which])
        self.statistics.located[active[which]] += 1
        h = h.copy()
        h[which] = size
        trial = _joined(trial, which, again, len(active))
        value = self.conditions(again.end.t, again.end.x, again.end.y, part)
        fired = np.zeros((len(self.direction), len(active)), bool)
        fired[:, which] = self._near(
            value, begin, again, size, part, side[:, which], armed[:, which]
        )
        return trial, h, fired

    def _passable(self, side: np.ndarray, armed: np.ndarray) -> Any:
        return armed & ((self.direction[:, None] == 0) | (side == -self.direction[:, None]))

    def _polish(
        self,
        begin: Point,
        again: Trial,
        size: np.ndarray,
        p: Parameters,
        side: np.ndarray,
        armed: np.ndarray,
    ) -> tuple[Trial, np.ndarray]:
        """Newton on the size of the step, so that it ends where the condition is zero."""
        assert self.conditions is not None
        passable = self._passable(side, armed)
        for _ in range(4):
            end = again.end
            value = self.conditions(end.t, end.x, end.y, p) * side
            later = shortly_after(self.conditions, end, p, size)
            slope = (later * side - value) / (1e-6 * size)
            with np.errstate(all="ignore"):
                away = np.where(passable & (slope < 0), value / slope, np.inf)
            first = np.argmin(np.abs(away), axis=0)
            move = -away[first, np.arange(len(size))]
            move = np.where(np.isfinite(move) & (np.abs(move) < 0.1 * size), move, 0.0)
            if np.all(np.abs(move) <= 1e-13 * np.maximum(np.abs(end.t), size)):
                break
            size = size + move
            again = self.control.method.step(self.system, begin, size, p, self.control.tolerances)
        return again, size

    def _near(
        self,
        value: np.ndarray,
        begin: Point,
        again: Trial,
        size: np.ndarray,
        p: Parameters,
        side: np.ndarray,
        armed: np.ndarray,
    ) -> np.ndarray:
        """Which conditions the step ends at: zero, seen against the whole step."""
        assert self.conditions is not None
        change = np.abs(value - self.conditions(begin.t, begin.x, begin.y, p))
        later = shortly_after(self.conditions, again.end, p, size)
        nearest = np.abs(value) / np.maximum(np.maximum(change, np.abs(later - value)), 1e-300)
        passable = self._passable(side, armed) & ((later - value) * side < 0)
        nearest = np.where(passable, nearest, np.inf)
        best = nearest.min(axis=0)
        found: np.ndarray = passable & (nearest <= np.maximum(best, 1e-9))
        return found

    def _outputs(
        self, active: np.ndarray, start: Point, trial: Trial, h: np.ndarray, p: Parameters
    ) -> None:
        """Write the values at the output times that the steps pass."""
        end, last = trial.end, len(self.times) - 1
        while True:
            number = self.next_output[active]
            goal = self.times[np.minimum(number, last)]
            passed = (number <= last) & (goal <= end.t + 1e-12 * np.maximum(1.0, np.abs(end.t)))
            which = np.flatnonzero(passed)
            if not len(which):
                return
            at_end = np.abs(goal[which] - end.t[which]) <= 1e-9 * h[which]
            share = np.ones(len(active))
            share[which] = np.clip((goal[which] - start.t[which]) / h[which], 0.0, 1.0)
            x, y = end.x[:, which], end.y[:, which]
            inner = which[~at_end]
            if len(inner):
                xi, yi = trial.dense(share)
                xi, yi = xi[:, inner], yi[:, inner]
                part, t = take(p, inner), goal[inner]
                xi = project(self.system, t, xi, part)
                yi, _ = self.system.solve(t, xi, yi, part, self.control.tolerances.algebraic)
                x[:, ~at_end], y[:, ~at_end] = xi, yi
            self.x_out[active[which], number[which]] = x.T
            self.y_out[active[which], number[which]] = y.T
            self.next_output[active[which]] += 1

    def _projected(self, end: Point, p: Parameters) -> Point:
        x = project(self.system, end.t, end.x, p)
        if x is end.x:
            return end
        y, _ = self.system.solve(end.t, x, end.y, p, self.control.tolerances.algebraic)
        f = np.asarray(self.system.f(end.t, x, y, p), float)
        return Point(t=end.t, x=x, y=y, f=f, slope=end.slope)

    def _finish(self, active: np.ndarray, fired: np.ndarray | None) -> None:
        """What happens at the ends of steps: state events, time events, the end."""
        t = self.point.t[active]
        if self.control.step is not None:
            self.shorter[active] = np.minimum(1.0, 2.0 * self.shorter[active])
        turned = self._happen(active, fired)
        if self.conditions is not None:
            self.side[:, active] = self._sides_of(active)
            self._sides(turned[~self.done[turned]])
        late = self.statistics.steps[active] >= self.control.most_steps
        for scenario in active[late & ~self.done[active]]:
            self._fail(int(scenario), f"{self.control.most_steps} steps are not enough")
        for scenario in active[(self.in_a_row[active] >= MOST_IN_A_ROW) & ~self.done[active]]:
            self._fail(int(scenario), f"{MOST_IN_A_ROW} events follow without a step between them")
        self.done[active[t >= self.times[-1]]] = True
        if self.control.until is not None:
            self._leave(active, self.control.until)

    def _happen(self, active: np.ndarray, fired: np.ndarray | None) -> np.ndarray:
        """Let events happen, and those whose conditions these make leap over zero; whose did."""
        turned = np.zeros(len(active), bool)
        while True:
            if fired is not None:
                self._state_events(active, fired)
                turned |= fired.any(0)
            now = (self.due[active] <= self.point.t[active]) & ~self.done[active]
            turned |= now
            before = self._clear_sides(active[now])
            self._events(active[now])
            fired = self._leapt(active, now, before, fired)
            if fired is None:
                found: np.ndarray = active[turned]
                return found

    def _leapt(
        self, active: np.ndarray, now: np.ndarray, before: np.ndarray, fired: np.ndarray | None
    ) -> np.ndarray | None:
        """Conditions that events made leap over zero, other than those of these events."""
        if not self.state_events or not now.any():
            return None
        due, found = active[now], np.zeros((len(self.direction), len(active)), bool)
        found[:, now] = self._passable(before, self.armed[:, due])
        found[:, now] &= (before != 0) & (self._clear_sides(due) == -before)
        found[len(self.state_events) :] = False
        found &= ~self.done[active] & (self.in_a_row[active] < MOST_IN_A_ROW)
        if fired is not None:
            found &= ~fired
        self.in_a_row[active[found.any(0)]] += 1
        return found if found.any() else None

    def _leave(self, active: np.ndarray, until: Condition) -> None:
        """Scenarios of which no more is asked end at their last output."""
        t, latest = self.point.t[active], self.times[self.next_output[active] - 1]
        at_output = np.abs(t - latest) <= 1e-12 * np.maximum(1.0, np.abs(t))
        now = active[at_output & ~self.done[active]]
        if len(now):
            point, p = self.point.take(now), take(self.p, now)
            gone = now[np.asarray(until(point.t, point.x, point.y, p), bool)]
            self.done[gone] = True
            self.ended[gone] = self.point.t[gone]

    def _state_events(self, active: np.ndarray, fired: np.ndarray) -> None:
        for number, event in enumerate(self.state_events):
            for scenario in active[fired[number]].tolist():
                if event.once:
                    self.armed[number, scenario] = False
                now = float(self.point.t[scenario])
                immediate = TimeEvent(
                    time=now, changes=event.changes, reset=event.reset, name=event.name
                )
                self.schedule.add(scenario, event.delayed(now) if event.delay else immediate)
                self.due[scenario] = self.schedule.next_of(np.array([scenario]))[0]
                if event.terminal:
                    self.ended[scenario] = now
                    self._terminate(scenario)

    def _terminate(self, scenario: int) -> None:
        """A scenario ends here by an event, which still happens."""
        self._events(np.array([scenario]))
        self.done[scenario] = True

    def _values_of(self, scenarios: np.ndarray) -> np.ndarray:
        """The conditions, whose largest values are noted."""
        if self.conditions is None or not len(scenarios):
            return np.zeros((len(self.direction), len(scenarios)))
        point, p = self.point.take(scenarios), take(self.p, scenarios)
        found: np.ndarray = self.conditions(point.t, point.x, point.y, p)
        self.largest[:, scenarios] = np.maximum(self.largest[:, scenarios], np.abs(found))
        return found

    def _sides_of(self, scenarios: np.ndarray) -> np.ndarray:
        """On which side of zero the conditions are, and were where they are zero."""
        side = np.sign(self._values_of(scenarios)).astype(int)
        found: np.ndarray = np.where(side == 0, self.side[:, scenarios], side)
        return found

    def _clear_sides(self, scenarios: np.ndarray) -> np.ndarray:
        """The same, and 0 where they are zero but for rounding."""
        values = self._values_of(scenarios)
        clear = np.abs(values) > ROUNDING * self.largest[:, scenarios]
        found: np.ndarray = np.where(clear, np.sign(values), 0).astype(int)
        return found

    def _sides(self, scenarios: np.ndarray) -> None:
        """Look anew on which side of zero the conditions are."""
        if len(scenarios) and self.conditions is not None:
            point, p = self.point.take(scenarios), take(self.p, scenarios)
            h = np.maximum(self.h[scenarios], 1e-12)
            self.side[:, scenarios] = sides(self.conditions, point, p, h)

    def _events(self, scenarios: np.ndarray) -> None:
        """Let the time events happen that are due, then solve for the algebraic variables again."""
        if not len(scenarios):
            return
        before = self.point.take(scenarios)
        due = self.schedule.pop(scenarios, before.t)
        self.due[scenarios] = self.schedule.next_of(scenarios)
        due.apply(self.p)
        for place, each in due.instead.items():
            due.instead[place] = [e for e in each if self._happens(e, int(scenarios[place]))]
        places = np.flatnonzero(due.some)
        if not len(places):
            return
        changed = scenarios[places]
        p = some(self.p, changed, len(self.done))
        t, x = self.point.t[changed], self.point.x[:, changed]
        control = self.control
        y, report = consistent(
            self.system,
            t,
            x,
            self.point.y[:, changed],
            p,
            guesses=control.guesses,
            tolerance=control.tolerances.algebraic,
        )
        self.restarts.append(report)
        f = np.asarray(self.system.f(t, x, y, p), float)
        self.point.put(changed, Point(t=t, x=x, y=y, f=f, slope=np.zeros_like(y)))
        restart = Restart(
            due=due.take(places),
            t=t,
            x_minus=before.x[:, places],
            x_plus=x,
            y_minus=before.y[:, places],
            y_plus=y,
        )
        self.happened.append(restart)
        for place in np.flatnonzero(~report.converged).tolist():
            self._fail(
                int(changed[place]),
                f"the algebraic equations have no solution after {restart.name(place)!r} "
                f"(residual {report.residual[place]:.1e})",
            )
        self._first_steps(changed)

    def _happens(self, event: TimeEvent, scenario: int) -> bool:
        """Apply the changes of an event to one scenario, unless its condition is not met."""
        if event.condition is not None:
            one = np.array([scenario])
            point = self.point.take(one)
            value = event.condition(point.t, point.x, point.y, take(self.p, one))
            if not float(np.asarray(value).reshape(-1)[0]) > 0:
                return False
        for change in event.changes:
            change.apply(self.p, scenario)
        if event.reset is not None:
            one = np.array([scenario])
            point = self.point.take(one)
            x = event.reset(point.t, point.x, point.y, take(self.p, one))
            x = np.stack([np.broadcast_to(np.asarray(value, float), (1,)) for value in x])
            self.point.x[:, one] = x
        return True

    def _first_steps(self, scenarios: np.ndarray) -> None:
        """Adaptive steps at the start and after events.

        Source: Hairer, Nørsett and Wanner, Solving Ordinary Differential Equations I, II.4, without
        its second evaluation.
        """
        if self.control.step is not None or not len(scenarios):
            return
        if self.control.first_step is not None:
            self.h[scenarios] = self.control.first_step
            return
        x, f = self.point.x[:, scenarios], self.point.f[:, scenarios]
        weight = self.control.rtol * np.abs(x) + self.control.atol * self.system.x_scale[:, None]
        size = np.sqrt(np.mean((x / weight) ** 2, axis=0))
        speed = np.sqrt(np.mean((f / weight) ** 2, axis=0))
        span = self.times[-1] - self.times[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            h = np.where((size > 1e-5) & (speed > 1e-5), 0.01 * size / speed, 1e-6 * span)
        self.h[scenarios] = np.minimum(h, 0.01 * span)


def _joined(trial: Trial, which: np.ndarray, other: Trial, number: int) -> Trial:
    """A trial in which some scenarios take the step of another."""
    end = trial.end.take(np.arange(number))  # a copy
    end.put(which, other.end)

    def dense(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = trial.dense(theta)
        xo, yo = other.dense(theta[which])
        x, y = x.copy(), y.copy()
        x[:, which], y[:, which] = xo, yo
        return x, y

    return Trial(end=end, error=None, solved=trial.solved, dense=dense)

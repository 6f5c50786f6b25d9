"""The hybrid solver: windows from the operator, from the classical engine where it must be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dae_solver.hybrid.certificate import FIRST_RATE, LEAST_RATE, SLOWEST, Certificate
from dae_solver.hybrid.classical import Dense, integrate
from dae_solver.hybrid.outputs import Outputs
from dae_solver.hybrid.residual import Start, residual
from dae_solver.hybrid.solution import HybridSolution, Restart
from dae_solver.model.features import Features, turned
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.scenarios import Scenarios
from dae_solver.solver.events import Schedule
from dae_solver.solver.initial import consistent
from dae_solver.solver.parameters import take
from scimind.errors import InputError
from scimind.typing import Bool, Float, Int

ACCEPTED, CORRECTED, CLASSICAL = range(3)
# Windows shorter than so many classical steps are left to the classical engine.
SHORT = 4
# Parts of a window that may be accepted, and the share of the bound that the first may use up.
PARTS = np.array([1.0, 0.5])
AT_ONCE = 0.3


@dataclass(kw_only=True)
class Attempt:
    """Windows that are predicted and corrected.

    Attributes:
        start: Where they start.
        features: Scaled.
        coefficients: Of the trajectories, so far.
        lengths: What may be accepted, ``[part, window]``; 0 where it may not.
        score: Of what is accepted.
        accepted: Length that is accepted, 0 where none is.
        y_end: Voltages at the end of the window, as a guess.
        spread: Largest spread of the angles in what is accepted.
        moved: By the last correction, for each part.
    """

    start: Start
    features: np.ndarray
    coefficients: np.ndarray
    lengths: np.ndarray
    score: np.ndarray
    accepted: np.ndarray
    y_end: np.ndarray
    spread: np.ndarray
    moved: np.ndarray


@dataclass(kw_only=True)
class HybridRun:
    """A solution under way.

    Attributes:
        grid: The equations.
        operator: Of this grid.
        certificate: Turns residuals into bounds.
        tolerance: Of the voltages, per unit.
        refuse: Whether windows whose bound is too large are left to the classical engine; off to
            see what the networks alone would say.
    """

    grid: PowerDAE
    operator: TrajectoryOperator
    certificate: Certificate
    tolerance: float
    refuse: bool = True
    features: Features = field(init=False)

    def __post_init__(self) -> None:
        self.operator.check(self.grid)
        self.features = Features(self.grid)

    def solve(
        self, scenarios: Scenarios, times: Float[np.ndarray, " time"]
    ) -> tuple[HybridSolution, Float[np.ndarray, " scenario"]]:
        """Trajectories, and the bound of the angle error of each, degrees.

        Raises:
            InputError: No scenario has voltages that solve the network equations at the start.
        """
        grid, number = self.grid, len(scenarios)
        self.p = {name: value.copy() for name, value in scenarios.parameters.items()}
        self.t = np.full(number, times[0])
        y, start = consistent(
            grid, self.t, scenarios.x0, scenarios.y0, self.p, tolerance=self.tolerance
        )
        if not start.converged.any():
            raise InputError(
                f"no scenario has voltages at the start: {start.text()}", rule="dae.inconsistent"
            )
        self.x, self.y, self.y_start = scenarios.x0.copy(), y, y.copy()
        self.only_classical = np.zeros(number, bool)
        self.end = float(times[-1])
        self.outputs = Outputs(times, number, len(grid.states))
        self.outputs.x[start.converged, 0] = self.x.T[start.converged]
        self.score = np.zeros(number)
        self.classical, self.spread = np.zeros(number), np.zeros(number)
        self.solution = HybridSolution(
            grid=grid,
            scenarios=scenarios,
            t=times,
            x=self.outputs.x,
            start=start,
            ended=np.full(number, times[-1]),
            failure=["" if c else "no voltages at the start" for c in start.converged],
            windows=np.zeros((3, number), int),
            refused=np.zeros(number, int),
        )
        self.done = ~start.converged
        self.schedule = Schedule.of(scenarios.events, number)
        self.due = self.schedule.next_time()
        self._events(np.flatnonzero(~self.done & (self.due <= self.t)))
        while not self.done.all():
            active = np.flatnonzero(~self.done)
            self._windows(active)
            self._begin_again(active)
            now = active[~self.done[active]]
            self._events(now[self.due[now] <= self.t[now]])
            self.done[self.t >= self.end] = True
        return self.solution, np.where(self.solution.success, self._bound(), np.inf)

    def _begin_again(self, active: Int[np.ndarray, " scenario"]) -> None:
        """Scenarios whose errors may have grown beyond the bound, anew by the classical engine."""
        if not self.refuse:
            return
        above = self._bound()[active] > self.certificate.bound
        lost = active[above & (self.score[active] > 0.0)]
        if not len(lost):
            return
        scenarios, solution = self.solution.scenarios, self.solution
        self.only_classical[lost] = True
        self.t[lost] = self.outputs.times[0]
        self.x[:, lost], self.y[:, lost] = scenarios.x0[:, lost], self.y_start[:, lost]
        for name, value in scenarios.parameters.items():
            self.p[name][..., lost] = value[..., lost]
        for one in (self.score, self.classical, self.spread):
            one[lost] = 0.0
        solution.windows[:, lost] = 0
        solution.refused[lost] += 1
        solution.happened = [part for one in solution.happened if (part := one.without(lost))]
        fresh = Schedule.of([scenarios.events[k] for k in lost.tolist()], len(lost))
        for scenario, pending in zip(lost.tolist(), fresh.pending, strict=True):
            self.schedule.pending[scenario] = pending
        self.due[lost] = fresh.next_time()

    def _windows(self, active: Int[np.ndarray, " scenario"]) -> None:
        """One window of every scenario under way."""
        stop = np.minimum(self.due[active], self.end)
        horizon = self.operator.window.horizon
        whole = stop - self.t[active] <= horizon * (1 + 1e-9)
        end = np.where(whole, stop, self.t[active] + horizon)
        length = end - self.t[active]
        classical = length < SHORT * self.certificate.step
        faulted = np.array([bool(each.shunts) for each in self.grid.topologies])
        apart = np.ptp(self.x[self.operator.modes.angles][:, active], axis=0) > np.pi
        classical |= self.only_classical[active] | apart | faulted[self.p["network"][active]]
        ours = np.flatnonzero(~classical)
        if len(ours):
            length[ours], refused = self._operate(active[ours], length[ours])
            classical[ours[refused]] = True
            self.solution.refused[active[ours[refused]]] += 1
        rest = np.flatnonzero(classical)
        if len(rest):
            self._integrate(active[rest], length[rest])
        shorter = length < end - self.t[active]
        self.t[active] = np.where(shorter, self.t[active] + length, end)

    def _operate(
        self, scenarios: Int[np.ndarray, " window"], length: Float[np.ndarray, " window"]
    ) -> tuple[Float[np.ndarray, " window"], Bool[np.ndarray, " window"]]:
        """Windows by the operator: how much of each is good enough, and which are refused."""
        grid, operator = self.grid, self.operator
        p = take(self.p, scenarios)
        x, guess, angle = turned(grid, self.x[:, scenarios], self.y[:, scenarios])
        y, solved = grid.solve(0.0, x, guess, p, self.tolerance)
        seen = operator.scaling.features(self.features(x, y, np.asarray(grid.f(0.0, x, y, p)), p))
        attempt = Attempt(
            start=Start(x=x, y=y, p=p),
            features=seen,
            coefficients=operator.predict(seen),
            lengths=self._lengths(length),
            score=np.full(len(scenarios), np.inf),
            accepted=np.zeros(len(scenarios)),
            y_end=np.empty_like(y),
            spread=np.zeros(len(scenarios)),
            moved=np.full((len(PARTS), len(scenarios)), np.inf),
        )
        open_ = np.flatnonzero(solved)
        for round_ in range(self.certificate.corrections + 1):
            if len(open_):
                open_ = self._correct(attempt, open_, scenarios, round_)
        kept = np.flatnonzero(attempt.accepted)
        self._keep(scenarios[kept], attempt, kept, x[:, kept], angle[kept])
        now = scenarios[kept]
        self.score[now] += attempt.score[kept]
        self.spread[now] = np.maximum(self.spread[now], attempt.spread[kept])
        refused = attempt.accepted == 0.0
        return np.where(refused, length, attempt.accepted), refused

    def _lengths(self, length: Float[np.ndarray, " window"]) -> np.ndarray:
        """What may be accepted of windows: all, or half where that is not too short."""
        lengths = np.outer(PARTS, length)
        lengths[1:][lengths[1:] < SHORT * self.certificate.step] = 0.0
        return lengths

    def _correct(
        self,
        attempt: Attempt,
        open_: Int[np.ndarray, " open"],
        scenarios: Int[np.ndarray, " window"],
        round_: int,
    ) -> Int[np.ndarray, " open"]:
        """One correction of windows; those that are still worth another one."""
        operator, certificate = self.operator, self.certificate
        every = len(open_) == len(scenarios)
        part = attempt.start if every else attempt.start.take(open_)
        before = attempt.coefficients[:, open_]
        left = residual(self.grid, operator, part, before, self.tolerance)
        change = operator.correction(attempt.features[:, open_], before, left.coefficients)
        attempt.coefficients[:, open_] += change
        attempt.y_end[:, open_] = left.y
        up_to = certificate.moved(operator, change)
        apart = self._spread(part, attempt.coefficients[:, open_])
        times, last = operator.window.times, round_ == certificate.corrections
        lengths = attempt.lengths[:, open_]
        node = np.minimum(np.searchsorted(times, lengths - 1e-12), len(times) - 1)
        moved = np.take_along_axis(up_to, node, 0)
        with np.errstate(invalid="ignore"):
            rate = moved / attempt.moved[:, open_] if round_ else np.full(moved.shape, FIRST_RATE)
            score = certificate.score(moved, np.maximum(rate, LEAST_RATE), left.size)
        attempt.moved[:, open_] = moved
        stuck = ~(rate[0] < SLOWEST) | last
        found = np.zeros(len(open_), bool)
        spread = np.take_along_axis(apart, node, 0)
        for k, length in enumerate(lengths):
            fine = self._fits(scenarios[open_], length, score[k], spread[k])
            fine &= (length > 0.0) & ~found & ((k == 0) | stuck)
            which = open_[fine]
            attempt.accepted[which], attempt.score[which] = length[fine], score[k, fine]
            attempt.spread[which] = spread[k, fine]
            found |= fine
        np.add.at(self.solution.windows[min(round_, CORRECTED)], scenarios[open_[found]], 1)
        rest: np.ndarray = open_[~found & ~stuck]
        return rest

    def _fits(
        self,
        scenarios: Int[np.ndarray, " open"],
        length: Float[np.ndarray, " open"],
        score: Float[np.ndarray, " open"],
        spread: Float[np.ndarray, " open"],
    ) -> Bool[np.ndarray, " open"]:
        """Whether a window's score leaves enough of the bound to what follows it."""
        finite: np.ndarray = np.isfinite(score)
        if not self.refuse:
            return finite
        certificate = self.certificate
        passed = (self.t[scenarios] + length) / self.end
        allowed = certificate.bound * (AT_ONCE + (1.0 - AT_ONCE) * passed)
        grown = certificate.growth(np.maximum(self.spread[scenarios], spread))
        total = certificate.factor * grown * (self.score[scenarios] + score)
        found: np.ndarray = total + self.classical[scenarios] <= allowed
        return found

    def _spread(
        self, start: Start, coefficients: Float[np.ndarray, "mode window"]
    ) -> Float[np.ndarray, "node window"]:
        """Largest spread of the angles up to each node, radians."""
        modes = self.operator.modes
        moved = modes.angles_of(coefficients)  # [machine, node, window]
        spread = np.ptp(moved + start.x[modes.angles][:, None, :], axis=0)
        found: np.ndarray = np.maximum.accumulate(spread)
        return found

    def _bound(self) -> Float[np.ndarray, " scenario"]:
        """Of the angle errors so far, degrees."""
        grown = self.certificate.growth(self.spread)
        found: np.ndarray = self.certificate.factor * grown * self.score + self.classical
        return found

    def _keep(
        self,
        scenarios: np.ndarray,
        attempt: Attempt,
        kept: np.ndarray,
        x: np.ndarray,
        angle: np.ndarray,
    ) -> None:
        """Write accepted windows and move on to their ends."""
        if not len(scenarios):
            return
        grid, operator = self.grid, self.operator
        window, rows = operator.window, operator.modes.angles
        length = attempt.accepted[kept]
        deviation = operator.modes.decode(attempt.coefficients[:, kept])
        first, last = self.t[scenarios], self.t[scenarios] + length
        x = x.copy()
        x[rows] += angle
        self.outputs.polynomial(window, scenarios, first, last, x, deviation)
        end = deviation[:, -1]
        short = np.flatnonzero(length < window.horizon * (1 - 1e-9))
        if len(short):
            between = window.between(length[short])  # [window, node]
            end = end.copy()
            end[:, short] = np.einsum("wn,snw->sw", between, deviation[:, :, short])
        p = take(self.p, scenarios)
        reached = grid.limit(last, x + end, p)
        self.x[:, scenarios] = reached
        self.y[:, scenarios] = _turned_back(attempt.y_end[:, kept], angle)

    def _integrate(
        self, scenarios: Int[np.ndarray, " window"], length: Float[np.ndarray, " window"]
    ) -> None:
        """Windows by the classical engine."""
        grid, first = self.grid, self.t[scenarios]
        p = take(self.p, scenarios)
        y, _ = grid.solve(0.0, self.x[:, scenarios], self.y[:, scenarios], p, self.tolerance)

        def passed(some: np.ndarray, before: np.ndarray, after: np.ndarray, dense: Dense) -> None:
            begin_, end = first[some] + before, first[some] + after
            self.outputs.dense(scenarios[some], begin_, end, dense)

        x, y, good, spread = integrate(
            grid,
            self.x[:, scenarios],
            y,
            p,
            length,
            self.certificate.step,
            self.tolerance,
            passed,
        )
        self.x[:, scenarios], self.y[:, scenarios] = x, y
        self.classical[scenarios] += self.certificate.classical * length
        self.spread[scenarios] = np.maximum(self.spread[scenarios], spread)
        np.add.at(self.solution.windows[CLASSICAL], scenarios, 1)
        for scenario in scenarios[~good].tolist():
            self._fail(scenario, "the network equations have no solution")

    def _fail(self, scenario: int, reason: str) -> None:
        self.solution.failure[scenario] = f"at t = {self.t[scenario]:.6g}: {reason}"
        self.solution.ended[scenario] = self.t[scenario]
        self.outputs.x[scenario, self.outputs.times > self.t[scenario]] = np.nan
        self.done[scenario] = True

    def _events(self, scenarios: Int[np.ndarray, " scenario"]) -> None:
        """What is due happens; the states stay, the voltages are solved for again."""
        if not len(scenarios):
            return
        grid = self.grid
        before, _ = grid.solve(
            0.0,
            self.x[:, scenarios],
            self.y[:, scenarios],
            take(self.p, scenarios),
            self.tolerance,
        )
        names = []
        for scenario in scenarios.tolist():
            happened = self.schedule.pop(scenario, float(self.t[scenario]))
            for event in happened:
                for change in event.changes:
                    change.apply(self.p, scenario)
            names.append(" + ".join(event.name for event in happened))
            rest = self.schedule.pending[scenario]
            self.due[scenario] = rest[0].time if rest else np.inf
        x, t = self.x[:, scenarios], self.t[scenarios]
        y, report = consistent(
            grid, t, x, before, take(self.p, scenarios), tolerance=self.tolerance
        )
        self.y[:, scenarios] = y
        self.solution.restarts.append(report)
        self.solution.happened.append(
            Restart(scenarios=scenarios, t=t, names=names, x=x, y_minus=before, y_plus=y)
        )
        for scenario in scenarios[~report.converged].tolist():
            self._fail(scenario, "the network equations have no solution after an event")


def _turned_back(y: np.ndarray, angle: np.ndarray) -> np.ndarray:
    half = len(y) // 2
    cosine, sine = np.cos(angle), np.sin(angle)
    real, imag = y[:half], y[half:]
    return np.concatenate([real * cosine - imag * sine, real * sine + imag * cosine])

"""The hybrid solver: windows from the operator, from the classical engine where it must be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dae_solver.hybrid.certificate import Certificate
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
        self.x, self.y = scenarios.x0.copy(), y
        self.end = float(times[-1])
        self.outputs = Outputs(times, number, len(grid.states))
        self.outputs.x[start.converged, 0] = self.x.T[start.converged]
        self.score = np.zeros(number)
        self.classical = np.zeros(number)
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
            now = active[~self.done[active]]
            self._events(now[self.due[now] <= self.t[now]])
            self.done[self.t >= self.end] = True
        bound = self.certificate.factor * self.score + self.classical
        return self.solution, np.where(self.solution.success, bound, np.inf)

    def _windows(self, active: Int[np.ndarray, " scenario"]) -> None:
        """One window of every scenario under way."""
        stop = np.minimum(self.due[active], self.end)
        horizon = self.operator.window.horizon
        whole = stop - self.t[active] <= horizon * (1 + 1e-9)
        end = np.where(whole, stop, self.t[active] + horizon)
        length = end - self.t[active]
        classical = length < SHORT * self.certificate.step
        faulted = np.array([bool(each.shunts) for each in self.grid.topologies])
        classical |= faulted[self.p["network"][active]]
        ours = np.flatnonzero(~classical)
        if len(ours):
            refused = self._operate(active[ours], length[ours])
            classical[ours[refused]] = True
            self.solution.refused[active[ours[refused]]] += 1
        rest = np.flatnonzero(classical)
        if len(rest):
            self._integrate(active[rest], length[rest])
        self.t[active] = end

    def _operate(
        self, scenarios: Int[np.ndarray, " window"], length: Float[np.ndarray, " window"]
    ) -> Bool[np.ndarray, " window"]:
        """Windows by the operator; which of them are refused."""
        grid, operator, certificate = self.grid, self.operator, self.certificate
        p = take(self.p, scenarios)
        x, guess, angle = turned(grid, self.x[:, scenarios], self.y[:, scenarios])
        y, solved = grid.solve(0.0, x, guess, p, self.tolerance)
        start = Start(x=x, y=y, p=p)
        seen = operator.scaling.features(self.features(x, y, np.asarray(grid.f(0.0, x, y, p)), p))
        coefficients = operator.predict(seen)
        score = np.full(len(scenarios), np.inf)
        at_end = np.empty_like(y)
        open_ = np.arange(len(scenarios))
        done, allowed = self.score[scenarios], certificate.bound - self.classical[scenarios]
        for round_ in range(certificate.corrections + 1):
            part = start if len(open_) == len(scenarios) else start.take(open_)
            left = residual(grid, operator, part, coefficients[:, open_], self.tolerance)
            change = operator.correction(seen[:, open_], coefficients[:, open_], left.coefficients)
            coefficients[:, open_] += change
            found = certificate.score(operator, change, left.size)
            score[open_] = np.where(np.isfinite(found), found, np.inf)
            at_end[:, open_] = left.y
            fine = certificate.factor * (done[open_] + score[open_]) <= allowed[open_]
            if not self.refuse:
                fine = np.isfinite(score[open_])
            kind = ACCEPTED if round_ == 0 else CORRECTED
            np.add.at(self.solution.windows[kind], scenarios[open_[fine]], 1)
            open_ = open_[~fine]
            if not len(open_):
                break
        refused = np.zeros(len(scenarios), bool)
        refused[open_] = True
        refused |= ~solved
        kept = np.flatnonzero(~refused)
        self._keep(
            scenarios[kept],
            length[kept],
            x[:, kept],
            angle[kept],
            coefficients[:, kept],
            at_end[:, kept],
        )
        self.score[scenarios[kept]] += score[kept]
        return refused

    def _keep(
        self,
        scenarios: np.ndarray,
        length: np.ndarray,
        x: np.ndarray,
        angle: np.ndarray,
        coefficients: np.ndarray,
        at_end: np.ndarray,
    ) -> None:
        """Write accepted windows and move on to their ends."""
        if not len(scenarios):
            return
        grid, operator = self.grid, self.operator
        window, rows = operator.window, operator.modes.angles
        deviation = operator.modes.decode(coefficients)
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
        self.y[:, scenarios] = _turned_back(at_end, angle)

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

        x, y, good = integrate(
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

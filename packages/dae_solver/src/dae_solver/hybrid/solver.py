"""The hybrid solver: windows from the operator, from the classical engine where it must be."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dae_solver.hybrid.certificate import SLOWEST, Certificate
from dae_solver.hybrid.classical import integrate
from dae_solver.hybrid.marginal import FAR, checked
from dae_solver.hybrid.outputs import OperatorPiece, Outputs, Piece, SampledPiece
from dae_solver.hybrid.residual import Start, residual
from dae_solver.hybrid.shown import angles_apart, course_piece, rest_piece
from dae_solver.hybrid.solution import HybridSolution
from dae_solver.hybrid.windows import REFUSED, TOO_FAR, CompiledWindows
from dae_solver.model.features import Features, turned
from dae_solver.model.operator import TrajectoryOperator
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.separation import angle_spread
from dae_solver.physics.voltages import rotated
from dae_solver.solver.initial import consistent
from dae_solver.solver.parameters import some
from dae_solver.solver.schedule import Restart, Schedule, Timetable
from scimind.errors import InputError
from scimind.typing import Bool, Float, Int

ACCEPTED, CORRECTED, CLASSICAL = range(3)
# Windows shorter than so many classical steps are left to the classical engine.
SHORT = 4
# Parts of a window that may be accepted, and the share of the bound that the first may use up.
# Half of a window is taken where the whole does not converge, so its score is doubted.
PARTS, DOUBT = np.array([1.0, 0.5]), np.array([[1.0], [3.0]])
AT_ONCE = 0.3
# Voltages in windows may be so much less exact than in the engine, whose steps add up.
LOOSER = 10.0
# Largest residual of the voltages at the start and after events, per unit.
SETTLED = 1e-9
# Largest derivative of a grid at rest, per second.
AT_REST = 1e-7
# What steps of the engine may take, bytes; beyond it memory is asked for anew each time.
ROOM = 32 << 20
# Most faults of a scenario of the training.
FAULTS = 2
# So many refused windows, and the classical engine brings a scenario to its end: rounds with few
# scenarios cost more than its steps.
OFTEN = 2


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Where scenarios may begin again: the state of the solver there."""

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    score: np.ndarray
    classical: np.ndarray
    spread: np.ndarray


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
        moved: How far the last correction moved an angle, degrees.
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
        tolerance: Of the voltages in the engine, per unit.
        refuse: Whether windows whose bound is too large are left to the classical engine; off to
            see what the networks alone would say.
        doubling: Whether trajectories that linger near the limit of stability are checked.
    """

    grid: PowerDAE
    operator: TrajectoryOperator
    certificate: Certificate
    tolerance: float
    refuse: bool = True
    doubling: bool = True
    features: Features = field(init=False)

    def __post_init__(self) -> None:
        self.operator.check(self.grid)
        self.features = Features(self.grid)

    @property
    def in_windows(self) -> float:
        """Tolerance of the voltages in windows, per unit."""
        return LOOSER * self.tolerance

    def solve(
        self, scenarios: Scenarios, times: Float[np.ndarray, " time"]
    ) -> tuple[HybridSolution, Float[np.ndarray, " scenario"]]:
        """Trajectories, and the bound of the angle error of each, degrees.

        Scenarios of which an event has a condition or a reset are left out: they have no states
        and no bound. See :func:`dae_solver.hybrid.conditions.integrate_with`.

        Raises:
            InputError: No scenario has voltages that solve the network equations at the start.
        """
        table = scenarios.timetable
        left_out = table.asking.any(1)
        grid, number = self.grid, len(scenarios)
        self.p = {name: value.copy() for name, value in scenarios.parameters.items()}
        self.t = np.full(number, times[0])
        y, start = consistent(grid, self.t, scenarios.x0, scenarios.y0, self.p, tolerance=SETTLED)
        if not start.converged.any():
            raise InputError(
                f"no scenario has voltages at the start: {start.text()}", rule="dae.inconsistent"
            )
        self.x, self.y, self.y_start = scenarios.x0.copy(), np.ascontiguousarray(y), y.copy()
        self.only_classical, self.waiting = np.zeros((2, number), bool)
        # Where voltages solve the equations; the operator and single precision leave guesses.
        self.exact = np.ones(number, bool)
        self.end = float(times[-1])
        ended = np.where(start.converged & ~left_out, times[-1], -np.inf)
        self.outputs = Outputs(times=times, x0=scenarios.x0, ended=ended)
        self.score = np.zeros(number)
        self.classical, self.spread = np.zeros(number), np.zeros(number)
        # For how long angles were nearly as far apart as synchronism permits, and until when.
        self.lingered, self.left = np.zeros((2, number))
        # The engine's step, its error, and whether that grows with the spread of the angles.
        certificate = self.certificate
        self.step = np.full(number, certificate.step)
        self.engine = np.full(number, certificate.classical)
        self.grows = np.full(number, not certificate.alone or certificate.fine_step > 0.0)
        self.solution = HybridSolution(
            grid=grid,
            scenarios=scenarios,
            outputs=self.outputs,
            start=start,
            failure=["" if c else "no voltages at the start" for c in start.converged],
            windows=np.zeros((3, number), int),
            refused=np.full(number, int(self.certificate.idle)),
        )
        self.compiled = self._compiled()
        self.done = ~start.converged | left_out
        self.schedule = Schedule(table)
        self._note_faults(table)
        self.due = self.schedule.next_time()
        self.memory = Memory(
            t=self.t.copy(),
            x=self.x.copy(),
            y=self.y.copy(),
            score=np.zeros(number),
            classical=np.zeros(number),
            spread=np.zeros(number),
        )
        self._events(np.flatnonzero(~self.done & (self.due <= self.t)))
        self._rest()
        while not self.done.all():
            self._operate_all()
            self._integrate_all()
        bound = np.where(self.solution.success & ~left_out, self.bound(), np.inf)
        return self.solution, checked(self, bound) if self.refuse and self.doubling else bound

    def _note_faults(self, table: Timetable) -> None:
        """When the last fault of each scenario begins; too many leave it to the engine altogether.

        What the operator knows follows so many faults, and a fault makes errors before it grow.
        """
        self.fault, number = np.full(len(table), -np.inf), np.zeros(len(table), int)
        before = np.zeros(len(table), bool)
        for times, changes in zip(table.times.T, table.alike, strict=True):
            for change in changes:
                if change.name != "network":
                    continue
                faulted = self.grid.faulted(change.value.astype(int))
                struck = change.scenario[faulted & ~before[change.scenario]]
                self.fault[struck] = times[struck]
                number[struck] += 1
                before[change.scenario] = faulted
        self.fault[number > FAULTS] = np.inf
        self.solution.refused[number > FAULTS] = 1

    def _compiled(self) -> CompiledWindows | None:
        """What does whole windows, where the equations are compiled."""
        if self.certificate.idle:
            return None
        state = {name: getattr(self, name) for name in ("t", "x", "y", "score", "spread")}
        state["classical"] = self.classical
        state["at_once"], state["corrected"] = self.solution.windows[:CLASSICAL]
        return CompiledWindows.of(
            self.grid,
            self.operator,
            self.certificate,
            tolerance=self.in_windows,
            refuse=self.refuse,
            at_once=AT_ONCE,
            shortest=SHORT * self.certificate.step,
            parts=PARTS.tolist(),
            doubt=DOUBT[:, 0].tolist(),
            end=self.end,
            state=state,
            p=self.p,
        )

    def _remember(self, scenarios: Int[np.ndarray, " scenario"]) -> None:
        """Where scenarios may begin again: at the start, and after their last event."""
        memory = self.memory
        memory.t[scenarios] = self.t[scenarios]
        memory.x[:, scenarios], memory.y[:, scenarios] = self.x[:, scenarios], self.y[:, scenarios]
        for name in ("score", "classical", "spread"):
            getattr(memory, name)[scenarios] = getattr(self, name)[scenarios]

    def _begin_again(self, active: Int[np.ndarray, " scenario"]) -> None:
        """Scenarios whose errors may have grown beyond the bound, anew by the classical engine.

        They begin after their last event, or where that was tried already, at the start; where the
        engine is alone, at the start with shorter steps.
        """
        if not self.refuse:
            return
        certificate = self.certificate
        asked = active[self.grows[active] if certificate.alone else self.score[active] > 0.0]
        if not len(asked):
            return
        lost = asked[self.bound()[asked] > certificate.bound]
        if not len(lost):
            return
        if certificate.alone:
            self.step[lost], self.engine[lost] = certificate.fine_step, certificate.fine_classical
            self.grows[lost] = False
        first = lost[self.only_classical[lost] | certificate.alone]
        if len(first):
            self._forget(first)
        memory = self.memory
        self.t[lost] = memory.t[lost]
        self.x[:, lost], self.y[:, lost] = memory.x[:, lost], memory.y[:, lost]
        for name in ("score", "classical", "spread"):
            getattr(self, name)[lost] = getattr(memory, name)[lost]
        self.only_classical[lost] = self.exact[lost] = True
        self.lingered[lost] = 0.0
        self.solution.refused[lost] += 1

    def _forget(self, lost: Int[np.ndarray, " scenario"]) -> None:
        """Let scenarios begin at the start, with none of their events."""
        scenarios, solution, memory = self.solution.scenarios, self.solution, self.memory
        memory.t[lost] = self.outputs.times[0]
        memory.x[:, lost], memory.y[:, lost] = scenarios.x0[:, lost], self.y_start[:, lost]
        for name in ("score", "classical", "spread"):
            getattr(memory, name)[lost] = 0.0
        for name, value in scenarios.parameters.items():
            self.p[name][..., lost] = value[..., lost]
        solution.happened = [part for one in solution.happened if (part := one.without(lost))]
        self.schedule.again(lost)
        self.due[lost] = self.schedule.next_of(lost)

    def _rest(self) -> None:
        """Nothing moves in a grid at rest until its first event."""
        grid = self.grid
        f = np.asarray(grid.f(self.t, self.x, self.y, self.p))
        still = np.abs(f).max(0) <= AT_REST
        resting = np.flatnonzero(still & ~self.done & (self.due > self.t))
        if not len(resting):
            return
        end = np.minimum(self.due[resting], self.end)
        p, x = some(self.p, resting, len(self.t)), self.x[:, resting]
        self.outputs.pieces.append(rest_piece(grid, p, resting, self.t[resting], end, x))
        self.t[resting] = end
        self._go_on(resting)

    def _operate_all(self) -> None:
        """Windows by the operator, until all scenarios have ended or wait for the engine."""
        while True:
            active = np.flatnonzero(~self.done & ~self.waiting)
            if not len(active):
                return
            end = self._ends(active)
            self.waiting[active] = self._left_to_the_engine(active, end - self.t[active])
            ours = ~self.waiting[active]
            active, end = active[ours], end[ours]
            if not len(active):
                return
            if self.compiled:
                refused = self._advance(active, self.compiled)
            else:
                length, refused = self._operate(active, end - self.t[active])
                moved, length, end = active[~refused], length[~refused], end[~refused]
                shorter = length < end - self.t[moved]
                self.t[moved] = np.where(shorter, self.t[moved] + length, end)
                self._look(moved)
            now = active[refused]
            if len(now):
                self.solution.refused[now] += 1
                self.waiting[now] = True
                self.only_classical[now[self.solution.refused[now] >= OFTEN]] = True
            self._go_on(active[~refused])

    def _advance(
        self, scenarios: Int[np.ndarray, " scenario"], compiled: CompiledWindows
    ) -> Bool[np.ndarray, " scenario"]:
        """Windows by the library, until somebody has to look; which were refused one."""
        before = self.spread[scenarios]
        piece, why = compiled.advance(scenarios, np.minimum(self.due, self.end))
        self._lingers(scenarios, before)
        if len(piece.scenarios):
            self.outputs.pieces.append(piece)
            self.exact[piece.scenarios] = False
        if (why == TOO_FAR).any():
            self._look(scenarios[why == TOO_FAR])
        refused: np.ndarray = why == REFUSED
        return refused

    def _lingers(
        self, scenarios: Int[np.ndarray, " some"], before: Float[np.ndarray, " some"]
    ) -> None:
        """Windows of the operator may have taken angles far apart, for nobody knows how long."""
        spread = self.spread[scenarios]
        now = scenarios[(spread > FAR) & (spread > before)]
        self.lingered[now], self.left[now] = np.inf, self.end

    def _integrate_all(self) -> None:
        """One window of each scenario that waits, by the engine: all of them together.

        Those that the engine is to bring to their end come last, so that they are together too.
        """
        lasting = self.only_classical
        active = np.flatnonzero(self.waiting & ~lasting)
        if not len(active):
            active = np.flatnonzero(self.waiting)
        if not len(active):
            return
        end = self._ends(active)
        whole = lasting[active] | self._left_to_the_engine(active, end - self.t[active])
        end = np.where(whole, np.minimum(self.due[active], self.end), end)
        self._integrate(active, end - self.t[active])
        self.t[active] = np.where(self.done[active], self.t[active], end)
        self.waiting[active] = False
        there = active[~self.done[active]]
        self._look(there)
        self._go_on(there)

    def _look(self, scenarios: Int[np.ndarray, " scenario"]) -> None:
        """Whether errors or angles have become too large where windows end."""
        self._begin_again(scenarios)
        apart = self._apart(scenarios) & (self.t[scenarios] > self.memory.t[scenarios])
        if apart.any():
            self.done[scenarios[apart]] = True
            self.solution.ended[scenarios[apart]] = self.t[scenarios[apart]]

    def _go_on(self, scenarios: Int[np.ndarray, " scenario"]) -> None:
        """What happens where windows end."""
        self._events(scenarios[(self.due[scenarios] <= self.t[scenarios]) & ~self.done[scenarios]])
        self.done[scenarios] |= self.t[scenarios] >= self.end

    def _ends(self, scenarios: Int[np.ndarray, " scenario"]) -> Float[np.ndarray, " scenario"]:
        """Where windows end at most: at the horizon, an event or the end."""
        stop = np.minimum(self.due[scenarios], self.end)
        horizon = self.operator.window.horizon
        whole = stop - self.t[scenarios] <= horizon * (1 + 1e-9)
        return np.where(whole, stop, self.t[scenarios] + horizon)

    def _left_to_the_engine(
        self, scenarios: Int[np.ndarray, " scenario"], length: Float[np.ndarray, " scenario"]
    ) -> Bool[np.ndarray, " scenario"]:
        """Windows that the operator is not asked for.

        They are short, or before the last fault or during it, or there are too many, or the engine
        is to bring the scenario to its end.
        """
        if self.certificate.idle:
            return np.ones(len(scenarios), bool)
        found: np.ndarray = length < SHORT * self.certificate.step
        found |= self.grid.faulted(self.p["network"][scenarios])
        found |= self.t[scenarios] < self.fault[scenarios]
        found |= self.only_classical[scenarios]
        return found

    def _apart(self, scenarios: Int[np.ndarray, " some"]) -> Bool[np.ndarray, " some"]:
        """Where synchronism is lost."""
        online, angles = self.p.get("online"), self.operator.modes.angles[:, None]
        on = None if online is None else online[:, scenarios]
        found: np.ndarray = angle_spread(self.x[angles, scenarios], on) > np.pi
        return found

    def _operate(
        self, scenarios: Int[np.ndarray, " window"], length: Float[np.ndarray, " window"]
    ) -> tuple[Float[np.ndarray, " window"], Bool[np.ndarray, " window"]]:
        """Windows by the operator: how much of each is good enough, and which are refused."""
        grid, operator = self.grid, self.operator
        p = some(self.p, scenarios, len(self.t))
        x, guess, angle = turned(grid, self.x[:, scenarios], self.y[:, scenarios])
        y, solved = grid.solve(0.0, x, guess, p, self.in_windows)
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
            moved=np.full(len(scenarios), np.inf),
        )
        open_ = np.flatnonzero(solved & (operator.scaling.within(seen) | (not self.refuse)))
        for round_ in range(self.certificate.corrections + 1):
            if len(open_):
                open_ = self._correct(attempt, open_, scenarios, round_)
        kept = np.flatnonzero(attempt.accepted)
        self._keep(scenarios[kept], attempt, kept, x[:, kept], angle[kept])
        now = scenarios[kept]
        self.score[now] += attempt.score[kept]
        before = self.spread[now]
        self.spread[now] = np.maximum(before, attempt.spread[kept])
        self._lingers(now, before)
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
    ) -> Int[np.ndarray, " rest"]:
        """One correction of windows; those that are still worth another one."""
        operator, certificate = self.operator, self.certificate
        every = len(open_) == len(scenarios)
        part = attempt.start if every else attempt.start.take(open_)
        before = attempt.coefficients[:, open_]
        quadrature = operator.window.quadratures[round_ % 2]
        left = residual(self.grid, operator, part, before, self.in_windows, quadrature)
        change = operator.correction(attempt.features[:, open_], before, left.coefficients)
        attempt.coefficients[:, open_] += change
        attempt.y_end[:, open_] = left.y
        up_to = certificate.moved(operator, change)
        apart = self._spread(part, attempt.coefficients[:, open_])
        times, last = operator.window.times, round_ == certificate.corrections
        lengths = attempt.lengths[:, open_]
        node = np.minimum(np.searchsorted(times, lengths - 1e-12), len(times) - 1)
        moved = np.take_along_axis(up_to, node, 0)
        score = DOUBT * certificate.score(moved, left.size, first=round_ == 0)
        stuck = ~(moved[0] < SLOWEST * attempt.moved[open_]) | ~np.isfinite(left.size) | last
        attempt.moved[open_] = moved[0]
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
        grown = certificate.growth(np.maximum(self.spread[scenarios], spread))
        # Room for the error of the engine, which may be needed later.
        room = certificate.bound - grown * certificate.classical - certificate.floor
        allowed = room * (AT_ONCE + (1.0 - AT_ONCE) * passed)
        total = certificate.factor * grown * (self.score[scenarios] + score)
        found: np.ndarray = total <= allowed
        return found

    def _spread(
        self, start: Start, coefficients: Float[np.ndarray, "mode window"]
    ) -> Float[np.ndarray, "node window"]:
        """Largest spread of the angles up to each node, radians."""
        modes = self.operator.modes
        moved = modes.angles_of(coefficients)  # [machine, node, window]
        online = start.p.get("online")
        spread = angle_spread(
            moved + start.x[modes.angles][:, None, :], None if online is None else online[:, None]
        )
        found: np.ndarray = np.maximum.accumulate(spread)
        return found

    def bound(self) -> Float[np.ndarray, " scenario"]:
        """Of the angle errors so far, degrees."""
        certificate = self.certificate
        grown = np.where(self.grows, certificate.growth(self.spread), 1.0)
        floor = certificate.floor * ((self.score > 0.0) | (self.classical > 0.0))
        found: np.ndarray = grown * (certificate.factor * self.score + self.classical) + floor
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
        window, modes = operator.window, operator.modes
        length, first = attempt.accepted[kept], self.t[scenarios].copy()
        coefficients = attempt.coefficients[:, kept]
        x = x.copy()
        x[modes.angles] += angle
        piece = OperatorPiece(
            scenarios=scenarios,
            begin=first,
            end=first + length,
            window=window,
            modes=modes,
            x=x,
            coefficients=coefficients,
        )
        self.outputs.pieces.append(piece)
        moved = modes.at_end(coefficients)
        short = np.flatnonzero(length < window.horizon * (1 - 1e-9))
        if len(short):
            between = window.between(length[short])  # [window, node]
            deviation = modes.decode(coefficients[:, short])
            moved[:, short] = np.einsum("wn,snw->sw", between, deviation)
        self.x[:, scenarios] = grid.limit(0.0, x + moved, some(self.p, scenarios, len(self.t)))
        self.y[:, scenarios] = rotated(attempt.y_end[:, kept], np.cos(angle), np.sin(angle))
        self.exact[scenarios] = False

    def _voltages(self, scenarios: Int[np.ndarray, " some"]) -> Float[np.ndarray, "algebraic some"]:
        """Those that solve the equations."""
        y: np.ndarray = self.y[:, scenarios]
        if not self.exact[scenarios].all():
            p = some(self.p, scenarios, len(self.t))
            y, _ = self.grid.solve(0.0, self.x[:, scenarios], y, p, self.tolerance)
        return y

    def _integrate(
        self, scenarios: Int[np.ndarray, " window"], length: Float[np.ndarray, " window"]
    ) -> None:
        """Windows by the classical engine, in parts whose steps there is room for."""
        nodes = float((length / self.step[scenarios] + 1.0).sum())
        room = 2.0 * np.dtype(float).itemsize * len(self.grid.states) * nodes
        if room <= ROOM:
            self._pieces(scenarios, length, sampled=False)
            return
        order = np.argsort(self.p["network"][scenarios], kind="stable")
        for part in np.array_split(order, int(np.ceil(room / ROOM))):
            self._pieces(scenarios[part], length[part], sampled=True)

    def _pieces(
        self,
        scenarios: Int[np.ndarray, " window"],
        length: Float[np.ndarray, " window"],
        *,
        sampled: bool,
    ) -> None:
        """Windows by the classical engine; what is `sampled` does not keep its steps."""
        grid, first = self.grid, self.t[scenarios]
        p = some(self.p, scenarios, len(self.t))
        x, y, step = self.x[:, scenarios], self._voltages(scenarios), self.step[scenarios]
        single = self.certificate.single
        course = integrate(grid, x, y, p, length, step, self.tolerance, single=single)
        piece: Piece = course_piece(grid, p, scenarios, first, first + length, course)
        if sampled:
            piece = SampledPiece.of(piece, self.outputs.times, len(grid.states))
        self.outputs.pieces.append(piece)
        self.x[:, scenarios], self.y[:, scenarios] = course.end, course.y
        self.exact[scenarios] = not single
        self.classical[scenarios] = self.engine[scenarios]
        spread, far, last = angles_apart(grid, p, course, FAR)
        self.spread[scenarios] = np.maximum(self.spread[scenarios], spread)
        h = length / course.steps
        self.lingered[scenarios] += far * h
        self.left[scenarios] = np.where(far > 0, first + last * h, self.left[scenarios])
        np.add.at(self.solution.windows[CLASSICAL], scenarios, 1)
        for scenario in scenarios[~course.good].tolist():
            self._fail(scenario, "the network equations have no solution")

    def _fail(self, scenario: int, reason: str) -> None:
        self.solution.failure[scenario] = f"at t = {self.t[scenario]:.6g}: {reason}"
        self.solution.ended[scenario] = self.t[scenario]
        self.done[scenario] = True

    def _events(self, scenarios: Int[np.ndarray, " scenario"]) -> None:
        """What is due happens; the states stay, the voltages are solved for again."""
        if not len(scenarios):
            return
        grid = self.grid
        before, x, t = self.y[:, scenarios], self.x[:, scenarios], self.t[scenarios]
        due = self.schedule.pop(scenarios, t)
        self.due[scenarios] = self.schedule.next_of(scenarios)
        due.apply(self.p)
        y, report = consistent(
            grid, t, x, before, some(self.p, scenarios, len(self.t)), tolerance=SETTLED
        )
        self.y[:, scenarios], self.exact[scenarios] = y, True
        self.solution.restarts.append(report)
        self.solution.happened.append(
            Restart(due=due, t=t, x_minus=x, x_plus=x, y_minus=before, y_plus=y)
        )
        self._remember(scenarios)
        for scenario in scenarios[~report.converged].tolist():
            self._fail(scenario, "the network equations have no solution after an event")

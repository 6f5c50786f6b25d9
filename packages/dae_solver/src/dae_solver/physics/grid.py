"""A power system that can be simulated."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from dae_solver.physics.abstention import Calibration, calibrate, calibrate_near_limits
from dae_solver.physics.case import BusId, Case
from dae_solver.physics.clearing import ClearingTimes, Fault, critical_times
from dae_solver.physics.dae import PowerDAE
from dae_solver.physics.disturbances import Disturbance
from dae_solver.physics.looks import FirstLook, check_solver
from dae_solver.physics.models.loads import LoadModel
from dae_solver.physics.scenarios import Scenarios, build
from dae_solver.physics.screening import Screening, screen
from dae_solver.physics.smallsignal import Modes, modes
from dae_solver.physics.terms import Term
from dae_solver.physics.trajectories import Trajectories
from dae_solver.physics.trial_faults import fitting
from dae_solver.solver import StateEvent, simulate
from scimind.errors import InputError
from scimind.typing import Float

if TYPE_CHECKING:
    from dae_solver.model.operator import TrajectoryOperator

log = logging.getLogger(__name__)

# What the classical engine is told by default.
ENGINE: dict[str, Any] = {"method": "rk4", "step": 1 / 120, "tolerance": 1e-10}
# What the hybrid solver does where nothing else is said, see PowerSystem.simulate.
CERTIFY, AUDIT = 3.0, 0.02
# Part of the distance of outputs by which t_end may be off their multiples.
NEARLY = 0.01


class PowerSystem:
    """A case with its equations.

    >>> from dae_solver.physics import PowerSystem, fault, load_step
    >>> grid = PowerSystem.load("wscc9")
    >>> runs = grid.simulate(grid.scenarios(fault(7, t=1.0, clear=0.1), load_step(5, t=1.0, p=1.2)))
    >>> runs.stable
    array([ True,  True])

    Args:
        case: The records.
        load: How all loads depend on their voltage.
        terms: Added to the equations, see :class:`dae_solver.physics.terms.Term`.
        parameters: Values that replace those of the case, such as ``{"TGOV1.R": [0.04, 0.05]}``.
    """

    def __init__(
        self,
        case: Case,
        load: LoadModel | str | None = None,
        *,
        terms: Sequence[Term] = (),
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.case = case
        model = LoadModel.parse(load) if isinstance(load, str) else load
        from dae_solver.compiled import CompiledDAE

        self.dae: PowerDAE = CompiledDAE(case, model, terms=terms, parameters=parameters)

    @classmethod
    def load(
        cls, path: str | Path, *, load: LoadModel | str | None = None, dyr: str | Path | None = None
    ) -> PowerSystem:
        """Read a case.

        Args:
            path: An ANDES ``.xlsx`` or ``.json``, a PSS/E ``.raw``, our own ``.json``, or the name
                of a built-in case.
            load: How loads depend on voltage, such as ``"zip 0.4 0.3 0.3"``; impedances by default.
            dyr: The PSS/E ``.dyr`` beside a ``.raw``.

        Raises:
            InputError: The file is none of these, or breaks a rule of its format.
        """
        from dae_solver.physics.io import read_case

        case = read_case(path, dyr=dyr)
        for note in case.notes:
            log.info("%s: %s", path, note)
        return cls(case, load)

    def scenarios(
        self,
        *disturbances: Disturbance | Sequence[Disturbance],
        load_level: Any = 1.0,
        load_factor: Any = None,
        generation_factor: Any = None,
        parameters: dict[str, Any] | None = None,
    ) -> Scenarios:
        """A batch, one scenario for each argument.

        Args:
            *disturbances: A disturbance, or several that happen in one scenario.
            load_level: Multiplies all loads and the schedules of all generators, for all scenarios
                or one for each.
            load_factor: ``[load, scenario]`` instead.
            generation_factor: ``[generator, scenario]`` instead.
            parameters: Of the equations, such as ``{"TGOV1.R": …}``, for all or one for each.

        Raises:
            InputError: A bus, line or machine does not exist, the network falls apart, or the
                power flow does not converge.
        """
        return build(
            self.dae,
            disturbances,
            load_level=load_level,
            load_factor=load_factor,
            generation_factor=generation_factor,
            parameters=parameters,
        )

    def eigs(self, *, load_level: Any = 1.0) -> Modes:
        """Eigenvalues at the operating point, or at several load levels.

        Args:
            load_level: One, or one for each operating point.
        """
        level = np.atleast_1d(np.asarray(load_level, float))
        return modes(self.dae, self.scenarios(*([] for _ in level), load_level=level))

    def cct(
        self, bus: BusId | Fault | Sequence[BusId | Fault], *, trip: Any = None, **options: Any
    ) -> ClearingTimes:
        """Critical clearing time of a fault, or of many at once.

        Args:
            bus: Where the fault is, or a list of such places; each may be a
                :class:`dae_solver.physics.clearing.Fault`.
            trip: Lines that open when it is cleared, of all faults that are given by their bus.
            **options: See :func:`dae_solver.physics.clearing.critical_times`.

        Raises:
            InputError: A :class:`~dae_solver.physics.clearing.Fault` and ``trip`` are given, or see
                there.
        """
        given = cast("Any", bus)
        places = [given] if np.ndim(given) == 0 else list(given)
        faults = [
            each if isinstance(each, Fault) else Fault(bus=each, trip=trip) for each in places
        ]
        if trip is not None and any(isinstance(each, Fault) for each in places):
            raise InputError(
                f"trip={trip!r} is for faults that are given by their bus; give Fault(trip=…)",
                rule="power.clearing",
            )
        return critical_times(self, faults, **options)

    def screen(
        self,
        contingencies: Sequence[Disturbance | Sequence[Disturbance]],
        *,
        alpha: float = 0.01,
        solver: Literal["classical", "hybrid"] = "classical",
        step: float | None = None,
        operator: TrajectoryOperator | str | Path | None = None,
        certify: float = 3.0,
        t_end: float = 5.0,
        calibration: Calibration | None = None,
        load_level: Any = 1.0,
        fine_step: float = 1 / 240,
        voltages: bool = True,
        **draws: Any,
    ) -> Screening:
        """Which contingencies lose synchronism, and how close the others come to it.

        Every verdict rests on a trajectory. A fast one is believed where its margin is outside a
        band, and where its certificate, if it has one, leaves no doubt; the others are integrated
        finely, so that no case stays open. The band is calibrated so that a share of ``alpha`` of
        unstable scenarios like those of the calibration is called stable at most.

        Args:
            contingencies: Such as :func:`dae_solver.physics.contingencies.line_trips` lists. Those
                that leave an island are listed as not simulated.
            alpha: The promise.
            solver: Of the first look: integration with long steps, or a learned operator.
            step: Of the first look by integration, seconds; by default the longest of 1/15, 1/30 …
                with which trial faults come out as the fine engine says.
            operator: See :meth:`simulate`.
            certify: See :meth:`simulate`.
            t_end: How long each is watched, seconds.
            calibration: From :meth:`calibrate_screen`, or of a screening before; made anew from
                random faults by default, which takes longer than a small screen.
            load_level: Operating point, or one for each contingency.
            fine_step: Step of the fine engine, seconds.
            voltages: Whether the lowest voltages are worked out.
            **draws: Of a calibration that is made, see
                :func:`dae_solver.physics.abstention.calibrate_near_limits`.

        Raises:
            InputError: There are too few calibration scenarios for ``alpha``, the calibration is
                of something else, no contingency can be simulated, one names what is not there, or
                no step is short enough.
        """
        look = self._look(
            step, fine_step, solver=solver, operator=operator, certify=certify, t_end=t_end
        )
        return screen(
            self,
            contingencies,
            alpha=alpha,
            look=look,
            calibration=calibration,
            load_level=load_level,
            fine_step=fine_step,
            voltages=voltages,
            draws=draws,
        )

    def calibrate_screen(
        self,
        scenarios: Scenarios | None = None,
        *,
        solver: Literal["classical", "hybrid"] = "classical",
        step: float | None = None,
        operator: TrajectoryOperator | str | Path | None = None,
        certify: float = 3.0,
        t_end: float = 5.0,
        fine_step: float = 1 / 240,
        **options: Any,
    ) -> Calibration:
        """How far the margins of a first look can be trusted.

        Args:
            scenarios: To calibrate with; faults cleared near the critical time by default, see
                :func:`dae_solver.physics.abstention.calibrate_near_limits`.
            solver: See :meth:`screen`; this and what follows must be the same there.
            step: Likewise.
            operator: Likewise.
            certify: Likewise.
            t_end: Likewise.
            fine_step: Likewise.
            **options: Of the default scenarios.

        Raises:
            InputError: The scenarios do not suffice, or no step is short enough.
        """
        look = self._look(
            step, fine_step, solver=solver, operator=operator, certify=certify, t_end=t_end
        )
        if scenarios is not None:
            return calibrate(self, look, scenarios, fine_step=fine_step)
        return calibrate_near_limits(self, look, fine_step=fine_step, **options)

    def _look(self, step: float | None, fine_step: float, **how: Any) -> FirstLook:
        if step is not None:
            return FirstLook(step=step, **how)
        look = FirstLook(**how)
        return replace(look, step=fitting(self, FirstLook(t_end=look.t_end), fine_step).step)

    def in_numpy(self) -> PowerSystem:
        """The same grid, whose equations NumPy evaluates: several times slower, to compare with.

        Its scenarios are those of the grid itself.
        """
        found = copy.copy(self)
        found.dae = self.dae.in_numpy()
        return found

    def simulate(
        self,
        scenarios: Scenarios,
        *,
        t_end: float = 5.0,
        every: float = 1 / 60,
        method: str = ENGINE["method"],
        step: float | None = ENGINE["step"],
        tolerance: float = ENGINE["tolerance"],
        state_events: Sequence[StateEvent] = (),
        solver: Literal["classical", "hybrid"] = "classical",
        operator: TrajectoryOperator | str | Path | None = None,
        certify: float | None = None,
        audit: float | None = None,
        **options: Any,
    ) -> Trajectories:
        """Solve a batch, by integration or with a learned operator.

        Args:
            scenarios: From :meth:`scenarios`.
            t_end: Last time, seconds.
            every: Distance of output times, seconds: they are its multiples, and ``t_end``. A
                hundredth of it is made up for, so that 0.0333 s is 150 times in 5 s.
            method: See :data:`dae_solver.solver.METHODS`.
            step: Fixed step, seconds; None adapts it.
            tolerance: Of the voltages at every stage, pu.
            state_events: Such as under-frequency relays. The hybrid solver integrates the scenarios
                whose trajectories come near to one.
            solver: ``classical`` integrates with ``method`` and ``step``. ``hybrid`` takes each
                window from the operator, and integrates where its certificate refuses it.
            operator: What ``python -m dae_solver.train`` made for this grid: its folder, its file
                or the loaded operator.
            certify: Angle error that every trajectory of the hybrid solver stays within until
                separation, degrees, 3 by default; windows are refused that do not. Where no step
                of the engine is short enough, at the limit of stability, the certificate is
                infinite.
            audit: Share of the scenarios of the hybrid solver that are integrated again to see
                whether their certificates hold, a fiftieth by default.
            **options: Further arguments of :func:`dae_solver.solver.simulate`. The hybrid solver
                takes none of these, nor ``method``, ``step`` and ``tolerance``.

        Raises:
            InputError: A time or option is wrong, or the scenarios are of another grid.
        """
        check_solver(solver, operator=operator, certify=certify, audit=audit)
        scenarios.check(self.dae)
        if not (t_end > 0 and every > 0):
            raise InputError(
                f"t_end={t_end:g} s and every={every:g} s must be positive", rule="power.time"
            )
        times = _outputs(t_end, every)
        _tell_of_late_events(scenarios, t_end)
        if solver == "hybrid":
            from dae_solver.hybrid.simulate import simulate_hybrid

            given = {"method": method, "step": step, "tolerance": tolerance}
            ignored = [name for name, value in given.items() if value != ENGINE[name]]
            if ignored := [*ignored, *options]:
                raise InputError(
                    f"the hybrid solver has no option {', '.join(ignored)}; it has operator, "
                    "certify, audit, t_end and every: leave it out, or use solver='classical'",
                    rule="operator.option",
                )
            return simulate_hybrid(
                self,
                scenarios,
                times,
                operator=operator,
                certify=CERTIFY if certify is None else certify,
                audit=AUDIT if audit is None else audit,
                state_events=state_events,
            )
        solution = simulate(
            self.dae,
            times,
            scenarios.x0.T,
            y0=scenarios.y0.T,
            parameters=scenarios.parameters,
            events=scenarios.timetable,
            state_events=state_events,
            method=method,
            step=step,
            algebraic_tolerance=tolerance,
            **options,
        )
        return Trajectories(
            grid=self.dae,
            scenarios=scenarios,
            solution=solution,
            source=["classical"] * len(scenarios),
            certificate=np.full(len(scenarios), np.nan),
        )


def _outputs(t_end: float, every: float) -> Float[np.ndarray, " time"]:
    """Multiples of ``every``, and ``t_end``."""
    number = t_end / every
    if abs(number - round(number)) <= NEARLY:
        return np.linspace(0.0, t_end, round(number) + 1)
    return np.append(every * np.arange(int(number) + 1), t_end)


def _tell_of_late_events(scenarios: Scenarios, t_end: float) -> None:
    times = scenarios.timetable.times
    late = np.isfinite(times) & (times > t_end)
    if late.any():
        scenario, number = np.argwhere(late)[0].tolist()
        event = scenarios.timetable.events[scenario][number]
        log.warning(
            "events after t_end=%g s do not happen: %d, the first: %s at %g s (%s)",
            t_end, late.sum(), event.name, event.time, scenarios.texts[scenario],
        )  # fmt: skip

"""Simulation of a batch: each scenario takes its own steps, from event to event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dae_solver.solver.events import Condition, StateEvent, TimeEvent
from dae_solver.solver.initial import Guess
from dae_solver.solver.methods import Tolerances, method_of
from dae_solver.solver.methods.explicit import ExplicitRungeKutta
from dae_solver.solver.run import Control, Run
from dae_solver.solver.schedule import Timetable
from dae_solver.solver.solution import Solution
from dae_solver.solver.system import DAESystem
from scimind.errors import InputError


def simulate(
    system: DAESystem,
    t: Any,
    x0: Any = None,
    *,
    y0: Any = None,
    parameters: Mapping[str, Any] | None = None,
    events: Timetable | Sequence[TimeEvent] | Sequence[Sequence[TimeEvent]] = (),
    state_events: Sequence[StateEvent] = (),
    method: str = "radau3",
    step: float | None = None,
    rtol: float = 1e-6,
    atol: float = 1e-9,
    first_step: float | None = None,
    longest_step: float = np.inf,
    most_steps: int = 1_000_000,
    locate_kinks: bool = False,
    algebraic_tolerance: float = 1e-11,
    guesses: Sequence[tuple[str, Guess]] = (),
    until: Condition | None = None,
    single: bool = False,
) -> Solution:
    """Integrate a batch of scenarios of one system.

    Time events end a step exactly; state events are located to rounding of the dense output and
    the step up to them is taken anew. They happen as well where another event makes their condition
    leap over zero. After each event the algebraic variables are solved for
    again while the states stay (but for a ``reset``).

    Args:
        system: The equations.
        t: Output times, increasing; the first is the start.
        x0: ``[state]`` or ``[scenario, state]``; by default that of the system.
        y0: First guess of the algebraic variables, shaped alike.
        parameters: By name, for all scenarios or with the scenario as the last axis.
        events: One list for all scenarios, one list for each, or their timetable.
        state_events: For all scenarios.
        method: A name of :data:`dae_solver.solver.methods.METHODS`.
        step: Fixed step; steps end at multiples of it, and at events. None adapts the step.
        rtol: Relative tolerance of an adaptive step.
        atol: Absolute tolerance of an adaptive step, in units of ``system.x_scale``.
        first_step: First adaptive step; chosen from the derivative by default.
        longest_step: Limit of an adaptive step.
        most_steps: A scenario that needs more fails.
        locate_kinks: End steps where ``system.kinks`` changes sign.
        algebraic_tolerance: Largest residual of the algebraic equations.
        guesses: For the algebraic variables at the start and after events, tried in order.
        until: ``until(t, x, y, p) -> [scenario]``; a scenario for which it is true at an output
            time at which a step ends has its last output there, and NaN from then on.
        single: Whether fixed steps of an explicit method may be taken in single precision, where
            the system has it: compiled grids, in batches. Steps without state events only.

    Returns:
        The trajectories. A scenario that fails has its reason in ``failure`` and NaN from there
        on; the others are complete.

    Raises:
        InputError: An argument is wrong, or no scenario has consistent algebraic variables at the
            start.
    """
    times = np.asarray(t, float)
    if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all():
        raise InputError(
            "output times must be at least two increasing numbers; the first is the start",
            rule="dae.times",
        )
    if step is not None and not step > 0:
        raise InputError(f"step is {step}; give a positive step, or None", rule="dae.step")
    chosen = method_of(method)
    if single and (step is None or state_events or not isinstance(chosen, ExplicitRungeKutta)):
        raise InputError(
            f"single precision is for fixed steps of an explicit method without state events; "
            f"method={method!r}, step={step}, {len(state_events)} state events",
            rule="dae.single",
        )
    start = system.x0 if x0 is None else np.asarray(x0, float)
    if start is None:
        raise InputError("the system has no initial state; give x0", rule="dae.initial")
    scenarios = _count(start, parameters or {}, system, events)
    x = _batch(start, scenarios, len(system.states), "x0")
    guess = np.zeros(len(system.algebraics)) if system.y0 is None else system.y0
    y = _batch(guess if y0 is None else np.asarray(y0, float), scenarios, len(guess), "y0")
    control = Control(
        method=chosen,
        step=step,
        rtol=rtol,
        atol=atol,
        first_step=first_step,
        longest_step=longest_step,
        most_steps=most_steps,
        locate_kinks=locate_kinks,
        # Where steps adapt, the equations within one are solved to a part of its tolerance.
        tolerances=Tolerances(algebraic=algebraic_tolerance)
        if step is not None
        else Tolerances(algebraic=algebraic_tolerance, rtol=0.01 * rtol, atol=0.01 * atol),
        guesses=tuple(guesses),
        until=until,
        single=single,
    )
    run = Run(system, times, x, y, system.batch(scenarios, parameters), control)
    return run.to_end(events, state_events)


def _count(
    start: np.ndarray,
    parameters: Mapping[str, Any],
    system: DAESystem,
    events: Timetable | Sequence[Any],
) -> int:
    """The number of scenarios, from whatever has one value for each."""
    found = {"x0": len(start)} if start.ndim == 2 else {}
    for name, value in parameters.items():
        value = np.asarray(value)
        if name in system.defaults and value.ndim == np.ndim(system.defaults[name]) + 1:
            found[name] = value.shape[-1]
    if isinstance(events, Timetable) or (events and not isinstance(events[0], TimeEvent)):
        found["events"] = len(events)
    several = {name: number for name, number in found.items() if number != 1}
    if len(set(several.values())) > 1:
        listed = ", ".join(f"{name} has {number}" for name, number in several.items())
        raise InputError(f"numbers of scenarios differ: {listed}", rule="dae.scenarios")
    return next(iter(several.values()), 1)


def _batch(values: np.ndarray, scenarios: int, number: int, what: str) -> np.ndarray:
    if values.shape not in ((number,), (scenarios, number), (1, number)):
        raise InputError(
            f"{what} has shape {values.shape}; give [{number}] or [{scenarios}, {number}]",
            rule="dae.shape",
        )
    return np.array(np.broadcast_to(values, (scenarios, number)).T)

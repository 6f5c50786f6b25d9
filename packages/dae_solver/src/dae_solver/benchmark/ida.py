"""IDA of SUNDIALS on the same equations, one scenario at a time: an adaptive implicit integrator.

Its residual is a Python function of one scenario, as users of such integrators write it; its
Jacobian is by finite differences. It needs scikit-sundae: ``pip install
'scimind-dae-solver[ref]'``.

Source: Hindmarsh et al., ACM Trans. Math. Softw. 31, 363 (2005).
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np

from dae_solver.physics.grid import PowerSystem
from dae_solver.physics.scenarios import Scenarios
from dae_solver.physics.trajectories import Trajectories
from dae_solver.solver.initial import consistent
from dae_solver.solver.parameters import take
from dae_solver.solver.schedule import Schedule
from dae_solver.tasks.sampled import Sampled, trajectories
from scimind.typing import Float


def is_available() -> bool:
    """Whether scikit-sundae is installed."""
    return importlib.util.find_spec("sksundae") is not None


@dataclass(frozen=True, kw_only=True)
class Ida:
    """Integrates each scenario from event to event.

    Attributes:
        grid: The system.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
    """

    grid: PowerSystem
    rtol: float = 1e-6
    atol: float = 1e-8

    @property
    def name(self) -> str:
        """For tables."""
        return f"IDA, rtol {self.rtol:g}"

    def simulate(self, scenarios: Scenarios, *, t_end: float, every: float) -> Trajectories:
        """See `dae_solver.tasks.solvers.Solver`."""
        grid, number = self.grid.dae, len(scenarios)
        times = np.linspace(0.0, t_end, round(t_end / every) + 1)
        p = {name: value.copy() for name, value in scenarios.parameters.items()}
        y, start = consistent(grid, np.zeros(number), scenarios.x0, scenarios.y0, p)
        x = np.full((number, len(times), len(grid.states)), np.nan)
        failure = [
            self._scenario(scenarios, k, y[:, [k]], take(p, np.array([k])), times, x[k])
            for k in range(number)
        ]
        return trajectories(
            grid, scenarios, Sampled.of(times, x), start=start, failure=failure, source="ida"
        )

    def _scenario(
        self,
        scenarios: Scenarios,
        number: int,
        y: Float[np.ndarray, "algebraic one"],
        p: dict[str, Any],
        times: Float[np.ndarray, " time"],
        out: Float[np.ndarray, "time state"],
    ) -> str:
        """Fill in one scenario; why it failed, or nothing."""
        grid, x = self.grid.dae, scenarios.x0[:, [number]]
        p = {name: value.copy() for name, value in p.items()}
        schedule = Schedule(scenarios.timetable.take(np.array([number])))
        now, end = 0.0, float(times[-1])
        out[0] = x[:, 0]
        while now < end:
            schedule.pop(np.zeros(1, int), np.array([now])).apply(p)
            y, report = consistent(grid, np.array([now]), x, y, p)
            if not report.converged[0]:
                return f"at t = {now:.6g}: the network equations have no solution"
            stop = min(float(schedule.next_time()[0]), end)
            inside = np.flatnonzero((times > now + 1e-12) & (times <= stop + 1e-12))
            asked = np.unique(np.concatenate([[now], np.minimum(times[inside], stop), [stop]]))
            states, last = self._integrate(x, y, p, asked)
            if states is None:
                return f"IDA failed between {now:.6g} and {stop:.6g} s"
            out[inside] = states[np.searchsorted(asked, np.minimum(times[inside], stop))]
            x, y, now = states[-1][:, None], last, stop
        return ""

    def _integrate(
        self, x: np.ndarray, y: np.ndarray, p: dict[str, Any], times: np.ndarray
    ) -> tuple[np.ndarray | None, np.ndarray]:
        from sksundae.ida import IDA

        grid, states = self.grid.dae, len(x)

        def residual(t: float, z: np.ndarray, slope: np.ndarray, res: np.ndarray) -> None:
            at, v = z[:states, None], z[states:, None]
            res[:states] = slope[:states] - np.asarray(grid.f(t, at, v, p))[:, 0]
            res[states:] = np.asarray(grid.g(t, at, v, p))[:, 0]

        slope = np.zeros(states + len(y))
        slope[:states] = np.asarray(grid.f(0.0, x, y, p))[:, 0]
        solver = IDA(
            residual,
            algebraic_idx=list(range(states, states + len(y))),
            rtol=self.rtol,
            atol=self.atol,
            max_num_steps=100_000,
        )
        found = solver.solve(times, np.concatenate([x[:, 0], y[:, 0]]), slope)
        if not found.success or len(found.t) != len(times):
            return None, y
        z = np.asarray(found.y)
        return z[:, :states], z[-1, states:, None]

"""HTML reports of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scimind.eval.report import Report

if TYPE_CHECKING:
    from dae_solver.physics import ClearingTimes, PowerSystem, Trajectories


def simulation_report(
    grid: PowerSystem, runs: Trajectories, *, shown: int, seconds: float, method: str
) -> Report:
    """What happened in each scenario, its trajectories, and the modes of the grid at rest.

    Args:
        grid: The system.
        runs: Its trajectories.
        shown: Scenarios that are plotted, unstable ones first.
        seconds: CPU time of the simulation.
        method: Of the integration.
    """
    case, solution = grid.case, runs.solution
    report = Report(
        f"Transients of {case.name}",
        subtitle=f"{len(case.buses)} buses, {len(grid.dae.machine_ids)} machines, "
        f"{len(grid.dae.states)} states, {len(runs.scenarios)} scenarios",
    )
    spread = np.degrees(np.nanmax(np.ptp(runs.delta, axis=-1), axis=1))
    report.add_table(
        "Scenarios",
        ["scenario", "stable", "separates at, s", "largest angle spread, deg", "found by"],
        [
            [text, bool(stable), float(time) if np.isfinite(time) else None, float(angle), source]
            for text, stable, time, angle, source in zip(
                runs.scenarios.texts,
                runs.stable,
                runs.separated,
                spread,
                runs.source,
                strict=True,
            )
        ],
    )
    for text, reason in zip(runs.scenarios.texts, solution.failure, strict=True):
        if reason:
            report.add_text("Scenarios", f"{text}: {reason}", warning=True)
    order = np.argsort(runs.separated, kind="stable")
    for scenario in sorted(order[:shown].tolist()):
        report.add_figure(
            "Trajectories",
            runs.plot([scenario]),
            alt=f"Rotor angles, speeds and bus voltages: {runs.scenarios.texts[scenario]}",
        )
    modes = grid.eigs()
    names = modes.to_pandas()["states"].tolist()
    swing = np.flatnonzero(modes.values[0].imag > 1e-6)
    report.add_table(
        "Modes at rest",
        ["frequency, Hz", "damping", "states"],
        [[float(modes.frequency[0, k]), float(modes.damping[0, k]), names[k]] for k in swing],
        caption="Oscillations of the linearised system at load level 1, the least damped first.",
    )
    restarts = [report_.residual.max(initial=0.0) for report_ in solution.restarts]
    report.add_facts(
        "Solution",
        {
            "method": method,
            "steps of a scenario": f"{int(solution.statistics.steps.max())} at most",
            "steps that were tried again": int(solution.statistics.refused.sum()),
            "CPU time, s": f"{seconds:.3g}",
            "algebraic equations at the start": solution.start.text(),
            "largest residual after events": f"{max(restarts, default=0.0):.1e}",
        },
    )
    return report


def clearing_report(grid: PowerSystem, times: ClearingTimes, *, seconds: float) -> Report:
    """Critical clearing times, the shortest first.

    Args:
        grid: The system.
        times: What was found.
        seconds: CPU time of the search.
    """
    from matplotlib.figure import Figure

    report = Report(
        f"Critical clearing times of {grid.case.name}",
        subtitle=f"{len(times.faults)} faults, {times.simulations} simulations, "
        f"{seconds:.3g} s of CPU time",
    )
    order = np.argsort(times.cct, kind="stable")
    names = [str(times.faults[k]) for k in order.tolist()]
    report.add_table(
        "Times",
        ["fault", "critical time, ms", "stable up to, ms", "unstable from, ms", "monotonic"],
        [
            [
                name,
                1e3 * float(times.cct[k]) if np.isfinite(times.cct[k]) else None,
                1e3 * float(times.stable[k]),
                1e3 * float(times.unstable[k]) if np.isfinite(times.unstable[k]) else None,
                bool(times.monotonic[k]),
            ]
            for name, k in zip(names, order.tolist(), strict=True)
        ],
        caption="A dash: stable at the longest time that was tried.",
    )
    finite = [k for k in order.tolist() if np.isfinite(times.cct[k])][:40]
    if finite:
        figure = Figure(figsize=(7.0, 0.8 + 0.22 * len(finite)), layout="constrained")
        axis = figure.subplots()
        axis.barh([str(times.faults[k]) for k in finite], 1e3 * times.cct[finite])
        axis.invert_yaxis()
        axis.set_xlabel("critical clearing time, ms")
        axis.tick_params(labelsize=7)
        report.add_figure("Times", figure, alt="Critical clearing times, the shortest first")
    return report

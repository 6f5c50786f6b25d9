"""HTML reports of the commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.solver.solution import Solution
from scimind.eval.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dae_solver.finish import Score
    from dae_solver.hybrid.simulate import Audit
    from dae_solver.hybrid.solution import HybridSolution
    from dae_solver.physics import ClearingTimes, PowerSystem, Trajectories
    from scimind.train import RunFolder


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
        f"{len(grid.dae.states)} states, {len(grid.dae.algebraics)} algebraic variables, "
        f"{len(runs.scenarios)} scenarios",
    )
    spread = np.degrees(np.nanmax(runs.spread, axis=1))
    certified = not np.isnan(runs.certificate).all()
    report.add_table(
        "Scenarios",
        [
            "scenario",
            "stable",
            "separates at, s",
            "largest angle spread, deg",
            "found by",
            *(["within, deg"] if certified else []),
        ],
        [
            [
                text,
                bool(stable),
                float(time) if np.isfinite(time) else None,
                float(angle),
                source,
                *([float(certificate)] if certified else []),
            ]
            for text, stable, time, angle, source, certificate in zip(
                runs.scenarios.texts,
                runs.stable,
                runs.separated,
                spread,
                runs.source,
                runs.certificate,
                strict=True,
            )
        ],
    )
    for text, reason in zip(runs.scenarios.texts, solution.failure, strict=True):
        if reason:
            report.add_text("Scenarios", f"{text}: {reason}", warning=True)
    if runs.audit is not None:
        _add_audit(report, runs.audit)
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
            "equations": grid.dae.evaluated_by,
            **({} if isinstance(solution, Solution) else {"networks": grid.dae.networks_by}),
            **_work(solution),
            "CPU time, s": f"{seconds:.3g}",
            "algebraic equations at the start": solution.start.text(),
            "largest residual after events": f"{max(restarts, default=0.0):.1e}",
        },
    )
    return report


def _add_audit(report: Report, audit: Audit) -> None:
    report.add_text(
        "Scenarios",
        f"Audit: {len(audit.scenarios)} scenarios were integrated again, to "
        f"{audit.reference.max():.1e} deg. The largest error is {audit.error.max():.3g} deg; "
        f"{audit.above} are further off than their certificate says.",
        warning=audit.above > 0,
    )


def _work(solution: Solution | HybridSolution) -> dict[str, Any]:
    if isinstance(solution, Solution):
        return {
            "steps of a scenario": f"{int(solution.statistics.steps.max())} at most",
            "steps that were tried again": int(solution.statistics.refused.sum()),
        }
    net, corrected, classical = solution.windows.sum(1).tolist()
    return {
        "windows accepted at once": net,
        "windows after more corrections": corrected,
        "windows by the classical engine": classical,
    }


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
        subtitle=f"{len(times.faults)} faults, {times.simulations} simulations and {times.coarse} "
        "by the solver that looks first, "
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
        figure = Figure(figsize=(7.0, max(2.4, 0.8 + 0.22 * len(finite))), layout="constrained")
        axis = figure.subplots()
        axis.barh([str(times.faults[k]) for k in finite], 1e3 * times.cct[finite])
        axis.invert_yaxis()
        axis.set_xlabel("critical clearing time, ms")
        axis.tick_params(labelsize=7)
        report.add_figure("Times", figure, alt="Critical clearing times, the shortest first")
    return report


def training_report(
    grid: PowerSystem,
    truth: Trajectories,
    outcomes: Sequence[tuple[Score, Trajectories]],
    results: Mapping[str, Any],
    run: RunFolder,
) -> Report:
    """How good and how fast the hybrid solver is on lines that training did not see.

    Args:
        grid: The system.
        truth: Tight trajectories of the test scenarios.
        outcomes: For each bound, its score and its trajectories.
        results: What ``results.json`` holds.
        run: The run folder.
    """
    from scimind.eval.result_report import add_curves

    spent = results["cpu_seconds"]
    report = Report(
        f"A trajectory operator for {grid.case.name}",
        subtitle=f"{len(grid.dae.machine_ids)} machines, {len(grid.dae.states)} states; tested on "
        f"{len(truth.scenarios)} scenarios on lines never seen: "
        f"{', '.join(results['test_lines'])}",
    )
    report.add_table(
        "Test",
        [
            "asked for, deg",
            "median error, deg",
            "90 %, deg",
            "largest, deg",
            "above what was asked",
            "above its certificate",
            "windows at once",
            "corrected",
            "classical",
            "scenarios flagged",
            "CPU time, ms",
            "with all states and voltages, ms",
            "of RK4 1/30 s, ms",
            "in single precision, ms",
            "in NumPy, ms",
            "times faster",
            "with all states and voltages",
            "than single precision",
            "than NumPy",
        ],
        [
            [
                s.bound,
                s.p50_deg,
                s.p90_deg,
                s.max_deg,
                s.above_bound,
                s.above_certificate,
                f"{100 * s.accepted:.1f} %",
                f"{100 * s.corrected:.1f} %",
                f"{100 * s.classical:.1f} %",
                f"{100 * s.flagged:.1f} %",
                s.cpu_ms,
                s.whole_cpu_ms,
                s.compiled_cpu_ms,
                s.single_cpu_ms,
                s.baseline_cpu_ms,
                s.faster_than_compiled,
                s.faster_whole,
                s.faster_than_single,
                s.faster,
            ]
            for s, _ in outcomes
        ],
        caption="Errors are the largest of a trajectory: of any angle against the centre of "
        "inertia, at any time until separation. No scenario is left out. CPU times are those "
        "until the angles at all outputs are there; Runge-Kutta works out all states and voltages "
        "anyway.",
    )
    for score, runs in outcomes:
        report.add_figure(
            "Certificates",
            certificates(truth, runs, score.bound),
            alt=f"Error against certificate of every test scenario, asked for {score.bound:g} deg",
        )
    _, runs = outcomes[0]
    order = np.argsort(-runs.certificate)
    for which, place in (("largest", 0), ("median", len(order) // 2), ("smallest", -1)):
        report.add_figure(
            "Trajectories",
            bands(truth, runs, int(order[place])),
            alt=f"Angles with the {which} certificate against a tight trajectory: "
            f"{truth.scenarios.texts[order[place]]}",
        )
    report.add_facts(
        "Cost",
        {
            **{f"CPU time of {name}, s": value for name, value in spent.items()},
            "scenarios that earn it back": ", ".join(
                f"{s.bound:g} deg: {'never' if n is None else f'{n:,}'}"
                for (s, _), n in zip(outcomes, results["break_even_scenarios"], strict=True)
            ),
        },
    )
    add_curves(report, run.metrics)
    return report


def certificates(truth: Trajectories, runs: Trajectories, bound: float) -> Figure:
    """Error against certificate, by how each scenario was found."""
    from matplotlib.figure import Figure

    from dae_solver.hybrid.calibration import angle_errors

    error = np.maximum(angle_errors(truth, runs.solution.x), 1e-6)
    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axis = figure.subplots()
    for source in ("net", "corrected", "classical"):
        of = np.array([each == source for each in runs.source])
        if of.any():
            axis.loglog(runs.certificate[of], error[of], ".", label=f"{source} ({of.sum()})")
    ends = [1e-4, max(10.0, 2 * bound)]
    axis.loglog(ends, ends, "0.5", lw=1, label="error = certificate")
    axis.axhline(bound, color="tab:red", lw=1, ls=":", label=f"asked for: {bound:g} deg")
    axis.set_xlabel("certificate, deg")
    axis.set_ylabel("error, deg")
    axis.legend(fontsize=7)
    return figure


def bands(truth: Trajectories, runs: Trajectories, scenario: int) -> Figure:
    """Angles with their certificate as a band, over the tight ones."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.2), layout="constrained")
    axis = figure.subplots()
    angle, band = np.degrees(runs.delta_coi[scenario]), runs.certificate[scenario]
    for machine in range(angle.shape[1]):
        axis.fill_between(runs.t, angle[:, machine] - band, angle[:, machine] + band, alpha=0.3)
        axis.plot(truth.t, np.degrees(truth.delta_coi[scenario, :, machine]), "k:", lw=0.8)
    for event in runs.solution.events_of(scenario):
        axis.axvline(event.time, color="0.6", lw=0.8, ls=":")
    axis.set_title(
        f"{truth.scenarios.texts[scenario]}\n{runs.source[scenario]}, within {band:.2g} deg",
        fontsize=7,
    )
    axis.set_xlabel("time, s")
    axis.set_ylabel("angle to centre of inertia, deg")
    return figure

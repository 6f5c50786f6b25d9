"""The report of an identification, and how well it does on scenarios that were held back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dae_solver.physics.terms import AT_REST, LOADS
from dae_solver.unknown.measurements import Measurements
from dae_solver.unknown.problem import predicted, signals
from dae_solver.unknown.truth import true_term
from scimind.eval.report import Report

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from dae_solver.physics import PowerSystem
    from dae_solver.unknown.result import Identified

_UNIT = {"v": "pu", "angle": "rad", "delta": "rad", "omega": "pu"}


def page(fit: Identified, test: Measurements | None, hidden: PowerSystem | None) -> Report:
    """Values, choices, curves, residuals and the check on held-out scenarios."""
    problem = fit.problem
    data = problem.data
    kinds = ", ".join(f"{c.kind} at {len(c.places)}" for c in data.channels)
    report = Report(
        f"Unknown equations of {problem.grid.case.name}",
        subtitle=f"{len(data)} scenarios of {data.t[-1]:g} s, {problem.number:,} samples "
        f"({kinds}), {fit.seconds:.3g} s of CPU time",
    )
    report.add_text("Result", fit.formula)
    report.add_text(
        "Result",
        f"Mean square of the residuals: {fit.reduced_chi2:.4g} of what the noise explains.",
    )
    if not fit.explained:
        report.add_text(
            "Result",
            "The measurements are not explained to within their noise: the form of the unknown "
            "is wrong, something else is unknown too, or sigma is too small.",
            warning=True,
        )
    if not fit.fit.converged:
        report.add_text("Result", "The search ended without converging.", warning=True)
    _values(report, fit)
    if fit.choices:
        table = fit.choices_table()
        report.add_table(
            "Choice of candidates",
            ["candidates", "chi squared", "criterion"],
            table.to_numpy().tolist(),
            caption="Sets that were fitted by simulation; the smallest criterion is taken.",
            emphasis=[0],
        )
    for number, unknown in enumerate(problem.unknowns):
        figure = curve(fit, number, hidden)
        if figure is not None:
            report.add_figure(
                "Terms", figure, alt=f"The term {unknown.name} by its signal, with its band"
            )
    report.add_figure("Trajectories", _residuals(fit, data), alt="Residuals of each signal")
    if test is not None:
        rows = held_out(fit, test)
        report.add_table(
            "Held-out scenarios",
            list(rows.columns),
            rows.to_numpy().tolist(),
            caption="Root mean square of simulated less measured signals, noise included.",
        )
        report.add_figure("Held-out scenarios", _residuals(fit, test), alt="Residuals held out")
    return report


def _values(report: Report, fit: Identified) -> None:
    table = fit.table()
    if len(table) <= 40 and np.isinf([c.prior for c in fit.problem.coefficients]).any():
        report.add_table(
            "Values",
            ["number", "nominal", "value", "std", "95 % from", "to", "std by scenarios", "kept"],
            [
                [
                    r.coefficient,
                    r.nominal,
                    r.value,
                    r.std,
                    r.low,
                    r.high,
                    r.std_by_scenarios,
                    r.kept,
                ]
                for r in table.itertuples()
            ],
            caption="Standard deviations by the noise, and by drawing scenarios again.",
        )


def held_out(fit: Identified, test: Measurements) -> pandas.DataFrame:
    """Residuals of each signal in other scenarios, nominal and identified.

    Args:
        fit: What was found.
        test: Measurements that it was not found from.

    Returns:
        One row for each signal: ``signal``, ``unit``, ``nominal``, ``identified`` (root mean
        squares) and ``noise`` (its sigma).
    """
    import pandas

    problem = fit.check(test)
    values = problem.residuals(np.stack([problem.start, fit.fit.theta]))
    rows, first = [], 0
    for channel in test.channels:
        end = first + int(test.used(channel).sum())
        rms = channel.sigma * np.sqrt(np.mean(values[:, first:end] ** 2, axis=1))
        first = end
        unit = _UNIT.get(channel.kind, "pu")
        rows.append([channel.kind, unit, float(rms[0]), float(rms[1]), channel.sigma])
    return pandas.DataFrame(rows, columns=["signal", "unit", "nominal", "identified", "noise"])


def curve(fit: Identified, number: int, hidden: PowerSystem | None) -> Figure | None:
    """What a term adds by its first signal, the others at rest; the true one beside it."""
    from matplotlib.figure import Figure

    unknown: Any = fit.problem.unknowns[number]
    if unknown.term() is None or unknown.states:
        return None
    loads = unknown.where in LOADS
    runs = fit.problem.run(fit.fit.theta[None])
    along = signals(fit.problem.grid, runs, loads)
    rest = AT_REST["load" if loads else "machine"]
    name = getattr(unknown, "inputs", ("v",) if loads else ("speed",))[0]
    u = np.linspace(float(np.nanmin(along[name])), float(np.nanmax(along[name])), 200)
    seen = {key: np.full((1, 200), value) for key, value in rest.items()}
    seen |= {
        name: u[None],
        "gain": np.full((1, 200), float(np.max(fit.problem.grid.dae.terms.gain))),
    }
    middle, std = fit.band(number, seen)
    figure = Figure(figsize=(5.5, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(u, middle, lw=1.5, label="identified")
    axis.fill_between(
        u, middle - 2 * std, middle + 2 * std, alpha=0.3, label="two standard deviations"
    )
    nominal, where = fit.problem.nominal, unknown.where
    true = None if hidden is None else true_term(hidden, nominal, where, name, u)
    if true is not None:
        axis.plot(u, true, "k--", lw=1, label="true")
    axis.legend(fontsize=7)
    axis.set_xlabel(
        {"v": "voltage by that at rest", "speed": "speed deviation, pu"}.get(name, name)
    )
    axis.set_ylabel(f"added at {unknown.where}")
    axis.grid(alpha=0.3)
    return figure


def _residuals(fit: Identified, data: Measurements) -> Figure:
    """Root mean square over places of simulated less measured, by time, in the worst scenario."""
    from matplotlib.figure import Figure

    problem = fit.check(data)
    both = [problem.run(theta[None]) for theta in (problem.start, fit.fit.theta)]
    figure = Figure(figsize=(7.0, 2.0 * min(4, len(data.channels))), layout="constrained")
    axes = np.atleast_1d(figure.subplots(min(4, len(data.channels)), 1, sharex=True))
    for axis, channel in zip(axes, data.channels, strict=False):
        used = data.used(channel)
        curves = []
        for runs in both:
            volts = runs.voltages() if channel.kind in ("v", "angle") else None
            difference = predicted(channel, runs, volts) - channel.values
            if channel.kind == "angle":
                difference = np.mod(difference + np.pi, 2 * np.pi) - np.pi
            square = np.where(used, difference**2, 0.0).sum(-1) / np.maximum(used.sum(-1), 1)
            curves.append(np.where(used.any(-1), np.sqrt(square), np.nan))
        worst = int(np.argmax([np.nanmax(each) for each in curves[0]]))
        axis.semilogy(data.t, curves[0][worst], lw=0.8, label="nominal")
        axis.semilogy(data.t, curves[1][worst], lw=0.8, label="identified")
        axis.axhline(channel.sigma, color="0.6", lw=0.8, ls=":")
        axis.set_ylabel(f"{channel.kind}, {_UNIT.get(channel.kind, 'pu')}", fontsize=7)
        axis.set_title(data.scenarios.texts[worst], fontsize=7)
    axes[0].legend(fontsize=7)
    axes[-1].set_xlabel("time, s")
    return figure

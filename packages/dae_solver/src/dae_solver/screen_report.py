"""HTML report of a contingency screening."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dae_solver.physics.abstention import Calibration
from dae_solver.physics.roc import operating_points, rates
from scimind.eval.report import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dae_solver.physics import Screening

# Rows of the table and bars of the chart.
ROWS, BARS = 300, 40
COLOURS = {"stable": "tab:blue", "unstable": "tab:red"}


def screening_report(found: Screening) -> Report:
    """Verdicts, margins, and how far the first look can be trusted.

    Args:
        found: The screening.
    """
    number, unstable = len(found.scenarios), int((~found.stable).sum())
    report = Report(
        f"Contingencies of {found.grid.case.name}",
        subtitle=f"{number + len(found.refused)} contingencies: {unstable} lose synchronism, "
        f"{number - unstable} keep it, {len(found.refused)} are not simulated",
    )
    above, below = found.limits
    report.add_facts(
        "Screening",
        {
            "first look": found.calibration.look,
            "equations": found.grid.dae.evaluated_by,
            "called stable above a margin of": f"{above:.4f}",
            "called unstable below a margin of": f"{below:.4f}",
            "share of unstable ones called stable, at most": f"{found.alpha:g}",
            "left to the fine engine": f"{int(found.abstained.sum())} of {number} "
            f"({100 * found.abstention:.1f} %)",
            "CPU time of the first look, ms per contingency": 1e3 * found.first_seconds / number,
            "CPU time of the fine engine, ms per contingency left to it": 1e3
            * found.fine_seconds
            / max(1, int(found.abstained.sum())),
        },
        caption="The promise is for unstable scenarios like those of the calibration.",
    )
    report.add_figure("Margins", _bars(found), alt="Margins, the smallest first")
    _table(report, found)
    if found.refused:
        report.add_table(
            "Not simulated",
            ["contingency", "reason"],
            [[each.text, each.reason] for each in found.refused],
        )
    report.add_figure(
        "Calibration",
        _roc(found.calibration),
        alt="Unstable scenarios called stable against stable ones called unstable",
        caption=f"{len(found.calibration.unstable)} unstable and {len(found.calibration.stable)} "
        "stable scenarios whose outcome the fine engine knows. Left: the first look without "
        "abstention, for every limit. Right: one half of them gives the limits, the other half "
        "tells the shares.",
    )
    return report


def _table(report: Report, found: Screening) -> None:
    findings, buses = found.findings, [bus.id for bus in found.grid.case.buses]
    report.add_table(
        "Contingencies",
        [
            "contingency",
            "verdict",
            "margin",
            "largest spread, deg",
            "separates at, s",
            "lowest voltage, pu",
            "at bus",
            "lowest frequency, Hz",
            "decided by",
        ],
        [
            [
                found.scenarios.texts[k],
                findings.failure[k] or ("stable" if findings.stable[k] else "unstable"),
                float(findings.margin[k]),
                float(np.degrees(findings.spread[k])),
                _number(findings.separated[k]),
                _number(findings.voltage[k]),
                str(buses[findings.bus[k]]) if findings.bus[k] >= 0 else None,
                _number(findings.nadir[k]),
                "fine engine" if found.abstained[k] else "first look",
            ]
            for k in found.order[:ROWS].tolist()
        ],
        caption="The most severe first"
        + (
            f"; the first {ROWS} of {len(found.scenarios)}." if len(findings.stable) > ROWS else "."
        ),
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _bars(found: Screening) -> Figure:
    from matplotlib.figure import Figure

    shown = found.order[:BARS].tolist()
    figure = Figure(figsize=(7.5, 1.0 + 0.22 * len(shown)), layout="constrained")
    axis = figure.subplots()
    verdict = ["stable" if found.stable[k] else "unstable" for k in shown]
    axis.barh(
        range(len(shown)),
        found.margin[shown],
        color=[COLOURS[each] for each in verdict],
        hatch=["///" if found.abstained[k] else "" for k in shown],
        edgecolor="white",
    )
    axis.set_yticks(range(len(shown)), [found.scenarios.texts[k] for k in shown], fontsize=6)
    axis.invert_yaxis()
    axis.axvline(0.0, color="0.3", lw=0.8)
    axis.axvspan(found.limits[1], found.limits[0], color="0.85", zorder=0)
    axis.set_xlabel("margin (hatched: by the fine engine; grey: the first look abstains)")
    return figure


def _roc(calibration: Calibration) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    missed, alarms = rates(calibration)
    left.step(alarms, 1.0 - missed, where="post")
    left.set_xlabel("stable ones called unstable")
    left.set_ylabel("unstable ones called unstable")
    points = operating_points(calibration)
    alpha = [point.alpha for point in points]
    right.semilogx(alpha, [point.abstained for point in points], "o-", label="abstains")
    right.semilogx(alpha, [point.missed for point in points], "s-", label="unstable called stable")
    right.semilogx(alpha, [point.alarms for point in points], "^-", label="stable called unstable")
    right.semilogx(alpha, alpha, "k:", lw=0.8, label="alpha")
    right.set_xlabel("alpha")
    right.set_ylabel("share")
    right.legend(fontsize=7)
    return figure

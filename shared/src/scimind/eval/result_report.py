"""The report of evaluated results: scores, baselines, failures, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scimind.eval.plots import curve_panel, predicted_against_true, read_curves, score_bars
from scimind.eval.report import Report
from scimind.eval.result import MetricValue, Result
from scimind.eval.runner import Evaluation


def write_report(
    evaluations: Sequence[Evaluation],
    path: Path,
    *,
    title: str,
    metrics_log: Path | None = None,
    downloads: Sequence[Path] = (),
) -> Report:
    """Writes the HTML report of one model on one or more tasks.

    Args:
        evaluations: What ``scimind.eval.run`` returned.
        path: The HTML file.
        title: Its heading.
        metrics_log: ``metrics.jsonl`` of the training run, for the curves.
        downloads: Files to offer, such as predictions and structures.

    Returns:
        The report, which the caller may extend and write again.
    """
    models = sorted({evaluation.result.model for evaluation in evaluations})
    report = Report(title, subtitle=", ".join(models))
    for evaluation in evaluations:
        add_evaluation(report, evaluation)
    if metrics_log is not None and metrics_log.is_file():
        add_curves(report, metrics_log)
    if downloads:
        report.add_downloads("Downloads", downloads)
    for evaluation in evaluations:
        add_provenance(report, evaluation.result)
    report.write(path)
    return report


def add_evaluation(report: Report, evaluation: Evaluation) -> None:
    """Scores with intervals beside the baselines, plots, and what failed."""
    result = evaluation.result
    section = f"{result.task} {result.version}"
    report.add_text(section, f"{result.split}: {result.items} items; ranked by {result.primary}.")
    names = [result.primary, *(name for name in result.metrics if name != result.primary)]
    rows = [[result.model, *(_score(result.metrics[name]) for name in names)]]
    for row in result.baselines:
        scores = [_score(row.metrics.get(name)) for name in names]
        rows.append([f"{row.name} ({row.kind}){' – ' + row.source if row.source else ''}", *scores])
    columns = ["", *(_heading(name, result.metrics[name]) for name in names)]
    method = result.metrics[result.primary].method
    report.add_table(section, columns, rows, caption=f"Intervals: {method}.", emphasis=(0,))
    if result.metrics[result.primary].value is not None:
        figure, alt = score_bars(result, result.primary)
        report.add_figure(section, figure, alt=alt)
    _add_scatter(report, section, evaluation)
    _add_failures(report, section, result)


def add_curves(report: Report, metrics_log: Path) -> None:
    """Loss curves together, every other logged metric in a panel of its own (at most 12)."""
    curves = read_curves(metrics_log)
    losses = [name for name in curves if "loss" in name.lower()]
    if losses:
        figure, alt = curve_panel(curves, losses, "Losses")
        report.add_figure("Training", figure, alt=alt)
    others = [name for name in curves if name not in losses]
    for name in others[:12]:
        figure, alt = curve_panel(curves, [name], name)
        report.add_figure("Training", figure, alt=alt)
    if len(others) > 12:
        report.add_text("Training", f"Not plotted: {', '.join(others[12:])}.")


def add_provenance(report: Report, result: Result) -> None:
    """Where the numbers come from, and what limits them."""
    section = "Provenance"
    facts = {
        "model": f"{result.model}, {result.parameters:,} parameters",
        "data digest": result.data_digest,
        "checkpoint": result.checkpoint_hash or "none",
        "config": result.config_hash or "none",
        "commit": f"{result.commit or 'unknown'}{' with uncommitted changes' * result.dirty}",
        "hardware": ", ".join(f"{key} {value}" for key, value in result.hardware.items()),
        "versions": ", ".join(f"{key} {value}" for key, value in result.versions.items()),
        "precision, seed": f"{result.precision}, {result.seed}",
        "seconds": f"{result.seconds_wall:.1f} wall, {result.seconds_cpu:.1f} process CPU",
        "date": result.date,
        "command": result.command or "not recorded",
    }
    report.add_facts(section, facts, caption=f"{result.task} {result.version}")
    for note in result.notes:
        report.add_text(section, note, warning=True)


def _heading(name: str, metric: MetricValue) -> str:
    return f"{name}{f' ({metric.unit})' if metric.unit else ''}, {metric.direction} is better"


def _score(metric: MetricValue | None) -> str:
    if metric is None or metric.value is None:
        return "–"
    if metric.ci_low is None or metric.ci_high is None:
        return f"{metric.value:.4g}"
    return f"{metric.value:.4g} [{metric.ci_low:.4g}, {metric.ci_high:.4g}]"


def _add_scatter(report: Report, section: str, evaluation: Evaluation) -> None:
    """Only for one number per item: other targets have no such plot."""
    try:
        x = np.array(
            [np.asarray(item.target, dtype=float).reshape(()) for item in evaluation.items]
        )
        y = np.array([np.asarray(p, dtype=float).reshape(()) for p in evaluation.predictions])
    except (TypeError, ValueError):
        return
    if len(np.unique(x)) < 3:
        return
    unit = evaluation.result.metrics[evaluation.result.primary].unit
    figure, alt = predicted_against_true(y, x, quantity=evaluation.result.task, unit=unit)
    report.add_figure(section, figure, alt=alt)


def _add_failures(report: Report, section: str, result: Result) -> None:
    if result.failures:
        fate = "left out of the scores" if result.excluded else "scored as the task prescribes"
        report.add_text(
            section,
            f"{len(result.failures)} of {result.items} items have no prediction ({fate}).",
            warning=True,
        )
        rows = [[failure.item, failure.rule, failure.reason] for failure in result.failures]
        report.add_table(section, ["item", "rule", "reason"], rows, caption="Failures")
    if result.rejected:
        counts = Counter(failure.rule for failure in result.rejected)
        report.add_table(
            section,
            ["rule", "records"],
            [[rule, count] for rule, count in counts.most_common()],
            caption="Records of the data files that are no items",
        )

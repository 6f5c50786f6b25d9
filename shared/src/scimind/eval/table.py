"""A result as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from scimind.eval.result import BaselineRow, MetricValue, Result


def text_table(result: Result, *, items: str = "items") -> str:
    """The scores of a result and its baselines as plain text.

    Args:
        result: The result.
        items: What its items are called.
    """
    names = [result.primary, *(name for name in result.metrics if name != result.primary)]
    head = ["", *(_title(name, result.metrics[name]) for name in names)]
    rows = [[result.model, *(_score(result.metrics[name]) for name in names)]]
    rows += [_baseline(row, names) for row in result.baselines]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [f"{result.task} {result.version}, {result.split}: {result.items} {items}"]
    for row in [head, *rows]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    if result.failures:
        fate = "left out" if result.excluded else "scored as failures"
        lines.append(f"{len(result.failures)} {items} without prediction, {fate}")
    return "\n".join(lines) + "\n"


def _baseline(row: BaselineRow, names: Sequence[str]) -> list[str]:
    return [f"{row.name} ({row.kind})", *(_score(row.metrics.get(name)) for name in names)]


def _title(name: str, metric: MetricValue) -> str:
    arrow = "↑" if metric.direction == "higher" else "↓"
    return f"{name}{f' ({metric.unit})' if metric.unit else ''} {arrow}"


def _score(metric: MetricValue | None) -> str:
    if metric is None or metric.value is None:
        return "–"
    if metric.ci_low is None or metric.ci_high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} [{metric.ci_low:.3f}, {metric.ci_high:.3f}]"
